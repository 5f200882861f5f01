"""Mandarin: text to initials and toned finals as EmotiVoice writes them, with prosodic breaks.

``w an2 sp0 h ua2``: a syllable is its initial (where it has one) and its final with the tone 1-5. ``sp0`` stands
within a prosodic word, ``sp1`` between two, ``sp2`` between two phrases of a clause, ``sp3`` for commas and the like,
``sp4`` for the end of a sentence within the text, as DataBaker's #0 to #4; a final break is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from unison.text import sandhi
from unison.text.frontend import LanguageFrontend
from unison.text.markup import PINYIN, Piece, Said, Text, between_breaks
from unison.text.phrasing import grouped
from unison.text.pinyin import syllable
from unison.text.polyphones import Syllables, readings_of
from unison.text.reading import PLAIN, Prosody, Word
from unison.text.segmentation import Cut, is_erhua, segment
from unison.text.symbols import HAN

__all__ = ["MandarinFrontend", "readings", "syllable", "words"]

_COMMAS = set("，、；：,;:—–…·()（）[]【】{}《》〈〉<>/~～|-")
_ENDS = set("。！？.!?｡")
_SILENT = set("\"'“”‘’「」『』`_ 　")
_HAN = re.compile(f"[{HAN}]")
_TOKEN = re.compile(f"[{HAN}]+|.", re.DOTALL)


@dataclass
class _Entry:
    """A word on its way: its syllables, one a character (empty where it has none), and the break behind it."""

    syllables: Syllables
    prosody: Prosody = PLAIN
    level: int = 1
    """0 … 4, see above."""
    given: str | None = None
    """What it stands for, where its pronunciation is the text's own and stays."""
    silence: float | None = None


class MandarinFrontend(LanguageFrontend):
    """Chinese text to initials, toned finals and breaks."""

    name = "mandarin"
    own_version = "2"
    alphabet = PINYIN

    def words(self, pieces: Sequence[Piece]) -> tuple[list[Word], list[str], float]:
        """The words of pieces of normalised text, the characters that can't be read, and seconds before the first."""
        entries: list[_Entry] = []
        skipped: list[str] = []

        def take(piece: Text | Said) -> None:
            if isinstance(piece, Said):
                # a character that no rule knows stands for each syllable
                cut = Cut("□" * len(piece.phones), "x")
                entries.append(_Entry(Syllables(cut, list(piece.phones), piece.why), piece.prosody, given=piece.text))
            else:
                _read(piece.text, piece.prosody, entries, skipped)

        lead = between_breaks(pieces, entries, take)
        for clause in _clauses(entries):
            _pronounce(clause)
        return [_word(entry) for entry in entries], skipped, lead


def readings(run: str, third_tones: bool = True) -> list[list[tuple[str, str]]]:
    """The words of a run of Chinese characters, as (character, pinyin) pairs, as they are spoken.

    The 儿 of erhua joins the syllable before it (("玩儿", "wanr2")); a character without a reading is left out.

    Args:
        run: nothing but Chinese characters.
        third_tones: whether third tones change in a row.
    """
    entries: list[_Entry] = []
    _read(run, PLAIN, entries, [])
    _pronounce(entries, third_tones)
    result: list[list[tuple[str, str]]] = []
    for entry in entries:
        pairs: list[tuple[str, str]] = []
        for character, pinyin in zip(entry.syllables.cut.text, entry.syllables.pinyin, strict=True):
            if pinyin:
                pairs.append((character, pinyin))
            elif pairs:
                pairs[-1] = (pairs[-1][0] + character, pairs[-1][1])
        result.append(pairs)
    return result


def words(run: str) -> list[str]:
    """A run of Chinese characters cut into words."""
    return [cut.text for cut in segment(run)]


def _read(text: str, prosody: Prosody, entries: list[_Entry], skipped: list[str]) -> None:
    """Add the words of a text to those before, with the breaks that its punctuation asks for."""
    for match in _TOKEN.finditer(text):
        token = match[0]
        if _HAN.match(token):
            for syllables in readings_of(segment(token)):
                unknown = _without_unknown(syllables)
                skipped += unknown
                if len(unknown) < len(syllables.pinyin):
                    entries.append(_Entry(syllables, prosody))
        elif token in _ENDS or token in _COMMAS:
            # Of several breaks the longest stays; those before the first word are dropped.
            if entries:
                entries[-1].level = max(entries[-1].level, 4 if token in _ENDS else 3)
        elif token not in _SILENT and not token.isspace():
            skipped.append(token)


def _without_unknown(syllables: Syllables) -> list[str]:
    """Leave out what is no syllable, in place; gives those characters."""
    unknown = []
    for i, pinyin in enumerate(syllables.pinyin):
        try:
            syllable(pinyin)
        except ValueError:
            unknown.append(syllables.cut.text[i])
            syllables.pinyin[i] = ""
    return unknown


def _clauses(entries: Sequence[_Entry]) -> list[list[_Entry]]:
    """Words between two pauses that the text asks for."""
    clauses: list[list[_Entry]] = [[]]
    for entry in entries:
        clauses[-1].append(entry)
        if entry.level > 2 or entry.silence is not None:
            clauses.append([])
    return [clause for clause in clauses if clause]


def _pronounce(clause: Sequence[_Entry], third_tones: bool = True) -> None:
    """Bring the words of a clause to how they are spoken in a row, with the breaks between them, in place."""
    syllables = [entry.syllables for entry in clause]
    given = [list(word.pinyin) for word in syllables]
    before = [list(word.pinyin) for word in syllables]
    _erhua(syllables)
    sandhi.yi_and_bu(syllables)
    sandhi.neutral(syllables)
    breaks = grouped([word.cut for word in syllables])
    for entry, level in zip(clause[:-1], breaks, strict=False):
        entry.level = level
    if third_tones:
        for phrase in _split(syllables, breaks, 2):
            sandhi.third_tones(phrase)
    for entry, own, plain in zip(clause, given, before, strict=True):
        if entry.given is not None:
            entry.syllables.pinyin = own
        elif changes := _changes(plain, entry.syllables.pinyin):
            entry.syllables.why += f"; {changes}"


def _split(syllables: Sequence[Syllables], breaks: Sequence[int], level: int) -> list[list[list[Syllables]]]:
    """Phrases of prosodic words of words: a phrase ends at a break of `level`, a prosodic word at any but 0."""
    phrases: list[list[list[Syllables]]] = [[[]]]
    for word, behind in zip(syllables, breaks, strict=True):
        phrases[-1][-1].append(word)
        if behind >= level:
            phrases.append([[]])
        elif behind:
            phrases[-1].append([])
    return [[group for group in phrase if group] for phrase in phrases]


def _erhua(syllables: Sequence[Syllables]) -> None:
    """Let the 儿 of erhua colour the syllable before it, in place."""
    run = "".join(word.cut.text for word in syllables)
    place = 0
    for word in syllables:
        for i, character in enumerate(word.cut.text):
            if character == "儿" and i and word.pinyin[i - 1] and is_erhua(run, place + i):
                tail = word.pinyin[i - 1]
                word.pinyin[i - 1] = f"{tail[:-1].removesuffix('r')}r{tail[-1]}" if tail[:-1] != "er" else tail
                word.pinyin[i] = ""
        place += len(word.cut.text)


def _changes(before: Sequence[str], after: Sequence[str]) -> str:
    """What tones have become of the dictionary's, for people."""
    changed = [f"{a} → {b}" for a, b in zip(before, after, strict=True) if b and a != b]
    return ", ".join(changed)


def _word(entry: _Entry) -> Word:
    symbols: list[str] = []
    for pinyin in entry.syllables.pinyin:
        if pinyin:
            symbols += [*syllable(pinyin), "sp0"]
    text = entry.syllables.cut.text if entry.given is None else entry.given
    pause = f"sp{max(entry.level, 3) if entry.silence is not None else entry.level}"
    return Word(text, tuple(symbols[:-1]), entry.syllables.why, pause, entry.prosody, entry.silence)
