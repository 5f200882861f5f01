"""DataBaker's Mandarin corpus (BZNSYP): 10,000 sentences by one speaker, with pinyin and prosodic breaks.

``Wave/000001.wav …`` and ``ProsodyLabeling/000001-010000.txt``, two lines an utterance::

    000001<TAB>卡尔普#2陪外孙#1玩滑梯#4。
    <TAB>ka2 er2 pu3 pei2 wai4 sun1 wan2 hua2 ti1

#1 ends a prosodic word, #2 a prosodic phrase, #3 an intonation phrase, #4 a sentence. The phone boundaries of
``PhoneLabeling/*.interval`` are not read: models learn their own alignment.
"""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

from unison.errors import UnisonError
from unison.prepare.clip import Clip, Reject
from unison.prepare.config import DataConfig
from unison.text.mandarin import syllable
from unison.text.symbols import BOUNDARY

LABELS = "ProsodyLabeling/000001-010000.txt"
SPEAKER = "BZNSYP"

_ENTRY = re.compile(r"(\d{6})\s+(\S.*)")
_MARK = re.compile(r"#(\d)")
# Another odd entry, 005107 with 嗯 labelled ng1, needs nothing: that syllable is read as en1.
_KNOWN_BAD = {"002365": "its text has a Latin letter, read in English"}


def read(config: DataConfig) -> list[Clip | Reject]:
    """The folder that holds ``Wave/`` and ``ProsodyLabeling/``, or its parent that holds ``BZNSYP/``."""
    raw = Path(config.raw)
    root = next((folder for folder in (raw, raw / "BZNSYP") if (folder / LABELS).is_file()), None)
    if root is None:
        raise UnisonError(
            f"{raw}: no DataBaker corpus; expected {LABELS} and Wave/ there or in {raw / 'BZNSYP'}; "
            "set data.raw to the unpacked BZNSYP (to be had from data-baker.com)"
        )
    return read_folder(root, config.speaker or SPEAKER)


def read_folder(root: Path, speaker: str) -> list[Clip | Reject]:
    """The entries of one folder in DataBaker's layout."""
    labels, waves = root / LABELS, root / "Wave"
    if not waves.is_dir():
        raise UnisonError(f"{waves}: there is no such folder; expected the recordings 000001.wav … there")
    # One listing instead of a look at each of ten thousand files.
    recordings = set(os.listdir(waves))
    entries: list[Clip | Reject] = []
    for key, text, pinyin in _utterances(labels):
        entry = _entry(key, text, pinyin, waves / f"{key}.wav", speaker)
        if isinstance(entry, Clip) and f"{key}.wav" not in recordings:
            entry = Reject(key, "missing audio", f"{entry.audio}: there is no such file")
        entries.append(entry)
    return entries


def _utterances(labels: Path) -> list[tuple[str, str, str | None]]:
    """(key, marked text, pinyin or None) of each utterance; raises when the file has none."""
    try:
        lines = [line.strip() for line in labels.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise UnisonError(f"{labels}: not UTF-8 (byte {error.start}); save it as UTF-8") from error
    lines = [line for line in lines if line]
    utterances: list[tuple[str, str, str | None]] = []
    strays: list[str] = []
    place = 0
    while place < len(lines):
        match = _ENTRY.fullmatch(lines[place])
        place += 1
        if not match:
            strays.append(lines[place - 1])
            continue
        has_pinyin = place < len(lines) and not _ENTRY.fullmatch(lines[place])
        utterances.append((match[1], match[2], lines[place] if has_pinyin else None))
        place += has_pinyin
    if not utterances or len(strays) > len(utterances):
        raise UnisonError(
            f"{labels}: {len(utterances)} utterances found and {len(strays)} other lines; expected "
            "two lines an utterance: a six-digit number with the text, then the pinyin"
        )
    return utterances


def _entry(key: str, marked: str, pinyin: str | None, audio: Path, speaker: str) -> Clip | Reject:
    if key in _KNOWN_BAD:
        return Reject(key, "known bad entry", _KNOWN_BAD[key])
    if pinyin is None:
        return Reject(key, "no pinyin", f"'{marked}' is not followed by a line of pinyin")
    text = _MARK.sub("", marked)
    characters, breaks, foreign = _characters(marked)
    if not characters and not foreign:
        return Reject(key, "no text", f"'{marked}' has no character")
    if foreign:
        return Reject(key, "unreadable text", f"'{text}' has {', '.join(dict.fromkeys(foreign))}")
    try:
        symbols = _symbols(characters, breaks, pinyin.split())
    except _Unfit as problem:
        return Reject(key, problem.reason, f"{problem} ('{text}', '{pinyin}')")
    return Clip(key=key, audio=audio, text=text, speaker=speaker, symbols=symbols)


class _Unfit(Exception):
    """The pinyin does not fit the characters."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def _characters(marked: str) -> tuple[list[str], list[int], list[str]]:
    """The characters, the break after each (0 for none), and what is neither a character nor punctuation."""
    characters: list[str] = []
    breaks: list[int] = []
    foreign: list[str] = []
    pieces = _MARK.split(marked)
    for piece, level in zip(pieces[::2], [*pieces[1::2], None], strict=True):
        for character in piece:
            kind = unicodedata.category(character)
            if kind == "Lo":
                characters.append(character)
                breaks.append(0)
            elif kind[0] not in "PZSC":
                foreign.append(character)
        if level is not None and breaks:
            breaks[-1] = min(int(level), 4)
    return characters, breaks, foreign


def _symbols(characters: list[str], breaks: list[int], syllables: list[str]) -> list[str]:
    symbols: list[str] = []
    place = 0
    r_waits = False  # the last syllable ends in an r, as huar1, whose 儿 has not come yet
    for character, level in zip(characters, breaks, strict=True):
        # Erhua: this 儿, or one without a syllable er of its own, is the r of the syllable before; its break goes there
        own = place < len(syllables) and syllables[place].startswith("er")
        if character == "儿" and symbols and (r_waits or not own):
            symbols[-1] = f"sp{level}"
            r_waits = False
            continue
        if place == len(syllables):
            raise _Unfit("pinyin does not fit", f"{len(characters)} characters, {len(syllables)} syllables")
        try:
            symbols += syllable(syllables[place])
        except ValueError as error:
            raise _Unfit("unknown syllable", str(error)) from error
        symbols.append(f"sp{level}")
        r_waits = re.fullmatch(r"(?!er).*r\d?", syllables[place]) is not None
        place += 1
    if place < len(syllables):
        raise _Unfit("pinyin does not fit", f"{len(characters)} characters, {len(syllables)} syllables")
    return [BOUNDARY, *symbols[:-1], BOUNDARY]
