"""Normalisation: text to the words that are read aloud."""

from __future__ import annotations

import re

from unison.errors import UnisonError
from unison.text.normalization.folding import fold
from unison.text.normalization.languages import ENGLISH, MANDARIN, pieces
from unison.text.symbols import HAN

__all__ = ["VERSION", "normalize"]

VERSION = "1"
"""Changes whenever the same text may be read in other words; part of the frontends' versions."""

_LANGUAGES = {"auto": "auto", "english": ENGLISH, "en": ENGLISH, "mandarin": MANDARIN, "zh": MANDARIN}
_LETTER = re.compile(f"[A-Za-zÀ-ɏ{HAN}]")
_FULL_WIDTH = re.compile("[\u3000-\u303f\uff01-\uff5e\uffe5]")
_LATIN = re.compile("[A-Za-z]")
_SPACES = re.compile(r"(?<=\w) ([,.;:!?，。；：！？、）)](?=\s|$))")


def normalize(text: str, language: str = "auto") -> str:
    """The words of ``text`` as they are read aloud: no digits, symbols, abbreviations or emoji are left.

    Args:
        text: anything.
        language: who reads the numbers and symbols. ``auto`` decides for each by its neighbours, Chinese characters
            or Latin words, and by the sentence where it has none; ``mandarin`` (``zh``) and ``english`` (``en``) read
            all of them in one language. Latin words stay English words in Mandarin.

    Returns:
        Words between single spaces in English, none between Chinese characters; punctuation stays where it was.
        What replaces something is lower case, without hyphens or commas, and American: ``one hundred five``,
        ``nineteen eighty four``, ``minus five``. Letters that are read by their names are single capitals:
        ``F B I``, ``three thirty P M``. Mandarin has 两 where it counts (两个, 两千, 两百), 二 elsewhere (二十, 第二,
        二百五十), and 幺 for the one of a telephone number. Emoji are left out, except the few that stand for a word
        (``data/emoji.tsv``). Normalising twice changes nothing more.

    Raises :class:`UnisonError` for a language that is not known; never for a text.
    """
    if language not in _LANGUAGES:
        raise UnisonError(f"language={language!r}: expected one of {', '.join(_LANGUAGES)}")
    wanted = _LANGUAGES[language]
    folded = fold(text)
    if wanted == "auto" and _FULL_WIDTH.search(text) and not _LETTER.search(folded):
        wanted = MANDARIN
    parts = pieces(folded) if wanted == "auto" else [(wanted, folded)]
    # Imported here: the tables of a language are not read for the other.
    if any(language == MANDARIN for language, _ in parts):
        from unison.text.normalization import mandarin

        folded = "".join(mandarin.read(part) if language == MANDARIN else part for language, part in parts)
    if _LATIN.search(folded) or any(language == ENGLISH for language, _ in parts):
        from unison.text.normalization import english

        folded = english.read(folded)
    return _tidy(folded)


def _tidy(text: str) -> str:
    """Single spaces, none before a mark that ends something."""
    return _SPACES.sub(lambda match: match[1], " ".join(text.split()))
