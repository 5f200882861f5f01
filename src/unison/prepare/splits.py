"""Which clips are held out: whole texts and, where asked for, whole speakers, by hashes that nothing else moves."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Collection, Mapping, Sequence

from unison.config.validate import nearest
from unison.data.manifest import Utterance
from unison.errors import UnisonError

UNUSED = "unused"
"""Clips of a held-out speaker whose text others are learnt with: in neither split."""


def what_is_said(text: str, symbols: Sequence[str]) -> str:
    """A text without what is not heard (case, punctuation, width), so that each is held out in all its spellings."""
    spoken = unicodedata.normalize("NFKC", text).casefold()
    bare = "".join(character for character in spoken if unicodedata.category(character)[0] in "LMN")
    return bare or " ".join(symbols)


def held_out_speakers(names: Collection[str], asked: float | list[str]) -> set[str]:
    """The speakers that `data.valid_speakers` holds out: those named, or a share by a hash of their names.

    Raises:
        UnisonError: one that is named is not there; nobody would be left to learn from.
    """
    if isinstance(asked, list):
        if unknown := sorted({*asked} - {*names}):
            raise UnisonError(
                [f"data.valid_speakers: the corpus has no speaker {name}{nearest(name, names)}" for name in unknown]
            )
        held_out = {*asked}
    else:
        held_out = {name for name in names if _rank(name) < asked}
    if held_out and held_out == {*names}:
        raise UnisonError(
            f"data.valid_speakers={asked}: all {len(names)} speakers are held out, none is left to learn from"
        )
    return held_out


def splits(
    utterances: Sequence[Utterance],
    given: Mapping[str, str | None],
    share: float,
    apart: Collection[str] = (),
    earlier: Mapping[str, str] | None = None,
) -> list[str]:
    """The split of every utterance: train, valid or :data:`UNUSED`.

    All clips of a text go to one side, so what is added to a corpus moves nothing that was there.

    Args:
        utterances: of the whole corpus.
        given: what the corpus itself says, by key: such clips go where it says, and their texts' other clips with
            them, to the held-out side where it has both.
        share: of the texts, which their hashes hold out.
        apart: speakers who are held out; none of their clips is learnt, whatever the corpus says.
        earlier: by :func:`what_is_said`, the sides that texts had in an earlier preparation, which they keep.

    As far as that lets it be, every other speaker has a text to train on, and where each of them can spare one, some
    text is held out.
    """
    earlier = earlier or {}
    said = {u.key: what_is_said(u.text, u.symbols) for u in utterances}
    words = {u.key: given.get(u.key) for u in utterances}
    sides = {t: earlier.get(t) or ("valid" if _rank(t) < share else "train") for t in said.values()}
    for side in ("train", "valid"):
        sides |= {said[key]: side for key, word in words.items() if word == side}

    texts: dict[str, set[str]] = {}
    for u in utterances:
        if words[u.key] is None and u.speaker not in apart:
            texts.setdefault(u.speaker, set()).add(said[u.key])
    for u in utterances:
        if words[u.key] == "train":  # has something to train on
            texts.pop(u.speaker, None)
    for speaker in sorted(texts):
        new = texts[speaker] - earlier.keys()
        if new and all(sides[text] == "valid" for text in texts[speaker]):
            sides[max(new, key=_rank)] = "train"
    if "valid" not in sides.values():
        needed = {text for own in texts.values() if len(own) == 1 for text in own}
        free = {said[key] for key, word in words.items() if word is None}
        if spare := free - needed - earlier.keys():
            sides[min(spare, key=_rank)] = "valid"

    split = {u.key: words[u.key] or sides[said[u.key]] for u in utterances}
    learnt = {said[u.key] for u in utterances if split[u.key] == "train" and u.speaker not in apart}
    for u in utterances:
        if u.speaker in apart and words[u.key] != "valid":
            split[u.key] = UNUSED if said[u.key] in learnt else "valid"
    return [split[u.key] for u in utterances]


def _rank(name: str) -> float:
    """A number in [0, 1) that follows from the name alone."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
