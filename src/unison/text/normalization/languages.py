"""Who reads a number: in a text of two languages, each number and sign goes with its neighbours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from unison.text.normalization.rules import alternatives
from unison.text.normalization.tables import table
from unison.text.symbols import HAN

ENGLISH, MANDARIN = "english", "mandarin"

_HAN = re.compile(f"[{HAN}]")
_LATIN = re.compile("[A-Za-zÀ-ɏ]")
_SCRIPT = {MANDARIN: _HAN, ENGLISH: _LATIN}
# What stands together without a space, a Chinese character or Chinese punctuation; an atom has a digit or a sign.
_CHUNK = re.compile(rf"[^\s{HAN}，。、！？；：（）【】《》“”‘’「」『』…—·]+")
_NEEDS_A_READER = re.compile(r"[0-9%&@+=#$€£¥°±×÷√≈≠≤≥<>→∞π^]|www\.|\.(?:com|cn|org|net)\b")
_SENTENCE = re.compile(r"[^。！？\n]*?(?:[。！？\n]+|[.!?]+(?=\s)|\Z)")
_WORD = re.compile("[A-Za-zÀ-ɏ]{2,}|[A-Za-z]'[A-Za-z]")
_WORDS = re.compile("[A-Za-zÀ-ɏ]+(?:'[a-z]+)?")
# Between an atom and its neighbour: nothing that counts, or a mark that sets them apart.
_APART = re.compile(r"[,，:：、;；()（）—…]")
_ADDRESS = re.compile(r"https?:|www\.|@|\.(?:com|cn|org|net)\b", re.IGNORECASE)
_NAME_NUMBER = re.compile(r"[A-Z]{0,3}-?\d+(?:\.\d+)*[A-Za-z]?")
_AMOUNT = re.compile(r"[$€£]?\d[\d,.]*[A-Z]?")
_QUOTES = "\"'()[]{}.,!?"
_YEN = re.compile("(?<![A-Z])¥")
_FAR = 200
"""Characters: a word further away is no neighbour."""


@dataclass(frozen=True)
class _Neighbour:
    """The nearest word on one side of an atom."""

    language: str
    word: str
    text: str
    """What stands on that side, from the atom outwards."""
    near: bool
    """Whether no punctuation and no other number stand between."""
    touches: bool


def pieces(text: str) -> list[tuple[str, str]]:
    """``text`` cut into (language, piece) so that each number and sign is in a piece of who reads it."""
    if not _HAN.search(text):
        return [(ENGLISH, text)]
    if not _LATIN.search(text):
        return [(MANDARIN, text)]
    result: list[tuple[str, str]] = []
    for sentence in _SENTENCE.finditer(text):
        result += _pieces(sentence[0], _of_sentence(sentence[0]) or _of_sentence(text) or MANDARIN)
    # Beside Chinese the sign is that of the yuan.
    return [(language, _YEN.sub("CN¥", piece) if language == ENGLISH else piece) for language, piece in result]


def _pieces(sentence: str, default: str) -> list[tuple[str, str]]:
    """The pieces of a sentence; cut where, between two numbers, the script turns to the second one's."""
    result: list[tuple[str, str]] = []
    language, start, end = default, 0, 0
    atoms = [chunk for chunk in _CHUNK.finditer(sentence) if _NEEDS_A_READER.search(chunk[0])]
    for number, atom in enumerate(atoms):
        own = _language(sentence, atom, default)
        if number and own != language:
            turn = _SCRIPT[own].search(sentence, end, atom.start())
            cut = turn.start() if turn else atom.start()
            result.append((language, sentence[start:cut]))
            start = cut
        language, end = own, atom.end()
    return [*result, (language, sentence[start:])]


def _language(sentence: str, atom: re.Match[str], default: str) -> str:
    if not _ADDRESS.search(atom[0]) and (own := _of_letters(atom[0])):
        return own
    left = _neighbour(sentence, atom.start(), -1)
    right = _neighbour(sentence, atom.end(), 1)
    sides = [side for side in (left, right) if side]
    if not sides:
        return default
    if near := [side for side in sides if side.near]:
        sides = near
    if len({side.language for side in sides}) == 1:
        return sides[0].language
    if not left or not right:
        return default
    if left.language == MANDARIN:
        # 买了3 apples: it counts what follows; a time or a date with Chinese before it belongs to that.
        counts = _AMOUNT.fullmatch(atom[0].strip(_QUOTES)) and _is_word(right.word) and not left.text.startswith("第")
        return ENGLISH if counts else MANDARIN
    # iPhone 15发布: part of a name, unless a measure word follows or the name is an abbreviation.
    measured = _measures().match(right.text)
    named = _NAME_NUMBER.fullmatch(atom[0].strip(_QUOTES)) and not (left.word.isupper() and len(left.word) < 4)
    if measured or (right.touches and not named):
        return MANDARIN
    return ENGLISH


def _of_letters(atom: str) -> str | None:
    """English where an atom has a word in it (iPhone15, 21st, COVID-19); none for units, A4, 5G, GPT-4 and the like."""
    if re.search(r"\d(?:st|nd|rd|th|s)\b", atom) or re.search(r"[A-Za-z]\s?&\s?[A-Za-z]", atom):
        return ENGLISH
    words = [word for word in _WORDS.findall(atom) if word not in _unit_names() and not _is_half_of_day(word)]
    return ENGLISH if any(_is_word(word) for word in words) else None


def _is_word(word: str) -> bool:
    return len(word) > 3 or (len(word) > 1 and not word.isupper()) or word == "I"


def _is_half_of_day(word: str) -> bool:
    return word.lower() in ("am", "pm")


def _neighbour(sentence: str, place: int, step: int) -> _Neighbour | None:
    """The nearest word to the right (step 1) or left (step -1) of a place."""
    outwards = sentence[place : place + _FAR] if step > 0 else sentence[max(0, place - _FAR) : place][::-1]
    found = [match for match in (_HAN.search(outwards), _WORD.search(outwards)) if match]
    if not found:
        return None
    nearest = min(found, key=lambda match: match.start())
    between = outwards[: nearest.start()]
    word = _WORDS.match(outwards, nearest.start())
    letters = (word[0] if word else nearest[0])[::step]
    language = MANDARIN if _HAN.match(nearest[0]) else ENGLISH
    near = not _APART.search(between) and not any(character.isdigit() for character in between)
    return _Neighbour(language, letters, outwards.lstrip(), near, not between)


def _of_sentence(sentence: str) -> str | None:
    """The language that most of a sentence is in; Mandarin where it has as much of it."""
    chinese, latin = len(_HAN.findall(sentence)), len(_WORDS.findall(sentence))
    if not chinese and not latin:
        return None
    return MANDARIN if chinese >= latin else ENGLISH


@lru_cache(maxsize=1)
def _unit_names() -> frozenset[str]:
    units = {name for row in table("units") for name in _WORDS.findall(row["symbol"])}
    return frozenset(units | {row["symbol"] for row in table("currencies")} | {"No"})


@lru_cache(maxsize=1)
def _measures() -> re.Pattern[str]:
    return re.compile("[年月日号时]|" + alternatives([row["word"] for row in table("measures")]))
