"""Pronunciations that a Mandarin corpus brings itself: pinyin beside characters with prosodic breaks.

Breaks are DataBaker's: #1 ends a prosodic word, #2 a prosodic phrase, #3 an intonation phrase, #4 a sentence.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from unison.text.mandarin import syllable
from unison.text.symbols import BOUNDARY

_MARK = re.compile(r"#(\d)")


class Unfit(Exception):
    """The text can't be read, or the pinyin does not fit it."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        """A few words to count by."""


def unmarked(marked: str) -> str:
    """The text without its breaks."""
    return _MARK.sub("", marked)


def symbols_of(marked: str, syllables: Sequence[str]) -> list[str]:
    """The symbols of a text with breaks (``卡尔普#2陪外孙#1玩滑梯#4。``) that is read as these syllables (``ka2``).

    Erhua is an r at the end of a syllable, with or without a 儿 in the text.

    Raises:
        Unfit: the text has no character or others than Chinese ones; there are more or fewer syllables than
            characters, or one is no syllable.
    """
    characters, breaks, foreign = _characters(marked)
    if foreign:
        raise Unfit("unreadable text", f"'{unmarked(marked)}' has {', '.join(dict.fromkeys(foreign))}")
    if not characters:
        raise Unfit("no text", f"'{marked}' has no character")
    try:
        return _symbols(characters, breaks, syllables)
    except Unfit as problem:
        raise Unfit(problem.reason, f"{problem} ('{unmarked(marked)}', '{' '.join(syllables)}')") from problem


def characters_of(marked: str) -> list[str]:
    """The characters that are spoken."""
    return _characters(marked)[0]


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


def _symbols(characters: list[str], breaks: list[int], syllables: Sequence[str]) -> list[str]:
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
            raise Unfit("pinyin does not fit", f"{len(characters)} characters, {len(syllables)} syllables")
        try:
            symbols += syllable(syllables[place])
        except ValueError as error:
            raise Unfit("unknown syllable", str(error)) from error
        symbols.append(f"sp{level}")
        r_waits = re.fullmatch(r"(?!er).*r\d?", syllables[place]) is not None
        place += 1
    if place < len(syllables):
        raise Unfit("pinyin does not fit", f"{len(characters)} characters, {len(syllables)} syllables")
    return [BOUNDARY, *symbols[:-1], BOUNDARY]
