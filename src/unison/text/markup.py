"""What a text says about how it is read: pronunciations, pauses, and a subset of SSML.

======================================================  ==============================================================
``{chong2 qing4}``                                      pinyin with tones 1-5, said as it stands
``[R EH1 D]``                                           ARPAbet, vowels with their stress 0-2
``<break 300ms>`` ``<break time="0.3s"/>``              a pause of that length; ``strength="weak"`` … has a length too
``<phoneme alphabet="pinyin" ph="chong2 qing4">重庆``   the same as braces (``arpabet``: as brackets), up to its end tag
``<sub alias="…">``                                     what is read instead
``<prosody rate="80%" pitch="+2st" volume="-6dB">``     how what it holds is spoken
``<speak>`` ``<p>`` ``<s>``                             a document, a paragraph, a sentence
======================================================  ==============================================================

What is not understood is read as plain text, with a warning.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Protocol

from unison.text.arpabet import CONSONANTS, VOWELS, with_s
from unison.text.pinyin import syllable
from unison.text.reading import PLAIN, Prosody
from unison.text.sentences import sentences

LONGEST_BREAK = 60.0
"""Seconds."""
RATES, PITCHES, VOLUMES = (0.25, 4.0), (-12.0, 12.0), (0.0, 4.0)
"""What rate, pitch (semitones) and volume (factor) may come to, nested spans together."""

PINYIN, ARPABET = "pinyin", "arpabet"

_MARK = re.compile(
    r"\{(?P<braces>[^{}<>\[\]]{1,200})\}"
    r"|\[(?P<brackets>[A-Z][A-Z0-2 ]{0,200})\]"
    r"|<(?P<close>/)?(?P<tag>[a-zA-Z][\w:-]*)(?P<rest>(?:\s[^<>]*)?)(?P<empty>/)?>"
    r"|<(?:!--.{0,2000}?--|\?[^<>]*\?|![A-Za-z][^<>]*)>",
    re.DOTALL,
)
_ATTRIBUTE = re.compile(r"""([\w:-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'/>]+))""")
_TIME = re.compile(r"\+?(\d{1,9}(?:\.\d{1,9})?|\.\d{1,9})\s*(ms|s)", re.IGNORECASE)
_NUMBER = re.compile(r"([+-]?)(\d{1,6}(?:\.\d{1,6})?|\.\d{1,6})\s*(%|st|db|hz)?", re.IGNORECASE)
_SPACE = re.compile(r"\s+")

_STRUCTURE = ("speak", "p", "s", "paragraph", "sentence", "mark")
_UNSUPPORTED = ("say-as", "emphasis", "audio", "voice", "lang", "lexicon", "metadata", "meta", "w", "token", "desc")
_STRENGTHS = {"none": 0.0, "x-weak": 0.1, "weak": 0.2, "medium": 0.4, "strong": 0.7, "x-strong": 1.0}
_RATES = {"x-slow": 0.5, "slow": 0.75, "medium": 1.0, "default": 1.0, "fast": 1.25, "x-fast": 1.6}
_PITCHES = {"x-low": -6.0, "low": -3.0, "medium": 0.0, "default": 0.0, "high": 3.0, "x-high": 6.0}
_DECIBELS = {"silent": -math.inf, "x-soft": -12.0, "soft": -6.0, "medium": 0.0, "default": 0.0, "loud": 6.0,
             "x-loud": 12.0}  # fmt: skip


@dataclass(frozen=True)
class Text:
    """Words to be read."""

    text: str
    prosody: Prosody = PLAIN


@dataclass(frozen=True)
class Said:
    """A pronunciation that is given."""

    text: str
    """What it stands for, or the pronunciation itself."""
    alphabet: str
    """pinyin or arpabet."""
    phones: tuple[str, ...]
    """Syllables with tones, or phones."""
    why: str
    prosody: Prosody = PLAIN

    def possessive(self) -> Said:
        """The same with an English 's behind it; pinyin stays as it is."""
        if self.alphabet == PINYIN:
            return self
        return replace(self, text=f"{self.text}'s", phones=with_s(self.phones))


@dataclass(frozen=True)
class Break:
    """A pause of so many seconds."""

    seconds: float


Piece = Text | Said | Break


class Spoken(Protocol):
    """A word on its way."""

    silence: float | None
    """Seconds behind it."""


def between_breaks(pieces: Iterable[Piece], words: Sequence[Spoken], take: Callable[[Text | Said], None]) -> float:
    """Give all but the breaks to `take`, which adds to `words`; a break is the silence behind the last word by then.

    Returns:
        seconds of silence before the first word.
    """
    lead = 0.0
    for piece in pieces:
        if not isinstance(piece, Break):
            take(piece)
        elif words:
            words[-1].silence = (words[-1].silence or 0.0) + piece.seconds
        else:
            lead += piece.seconds
    return lead


@dataclass(frozen=True)
class Marked:
    """A text with what it says about how it is read."""

    pieces: list[Piece]
    warnings: list[str] = field(default_factory=list)
    """What was not understood."""

    @property
    def text(self) -> str:
        """The words without what is said about them."""
        return "".join(piece.text for piece in self.pieces if not isinstance(piece, Break))

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing but words."""
        return all(isinstance(piece, Text) and piece.prosody == PLAIN for piece in self.pieces)

    def sentences(self, max_chars: int) -> list[Marked]:
        """Its sentences as :func:`unison.text.sentences.sentences` cuts them; nothing that is marked is lost."""
        # a letter stands for a pronunciation, what is no letter for a break: places, not characters, tell them apart
        flat = "".join(_flat(piece) for piece in self.pieces)
        starts, place = [], 0
        for sentence in sentences(flat, max_chars):
            place = flat.index(sentence, place)
            starts.append(place)
            place += len(sentence)
        bounds = [0, *starts[1:], len(flat)]
        cut = [Marked(self._slice(a, b)) for a, b in pairwise(bounds)] if starts else []
        return [replace(cut[0], warnings=self.warnings), *cut[1:]] if cut else []

    def _slice(self, start: int, end: int) -> list[Piece]:
        found: list[Piece] = []
        place = 0
        for piece in self.pieces:
            length = len(_flat(piece))
            first, last = max(start - place, 0), min(end - place, length)
            if first < last:
                found.append(replace(piece, text=piece.text[first:last]) if isinstance(piece, Text) else piece)
            place += length
        return found


def parse(text: str) -> Marked:
    """The pieces of a text that may hold markup; anything is a text, and white space is collapsed."""
    return _Parser().parse(text)


def spoken(text: str, why: str, label: str | None = None, prosody: Prosody = PLAIN) -> Said | None:
    """A pronunciation in pinyin or ARPAbet by its looks; None when it is neither.

    Args:
        text: ``chong2 qing4`` or ``R EH1 D``.
        why: where it comes from.
        label: what it stands for; None takes the pronunciation itself.
        prosody: how it is spoken.
    """
    tokens = tuple(text.split())
    for alphabet, fits in ((PINYIN, _is_pinyin), (ARPABET, _is_arpabet)):
        if fits(tokens):
            return Said(label or text, alphabet, tokens, why, prosody)
    return None


class _Parser:
    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.warnings: list[str] = []
        self.open: list[Prosody] = []

    def parse(self, text: str) -> Marked:
        document = re.search(r"<speak[\s>]", text) is not None
        place = 0
        for match in _MARK.finditer(text):
            if match.start() < place:  # within what was not read
                continue
            self._text(text[place : match.start()], document)
            place = match.end()
            if match["braces"] is not None:
                self._said(match[0], match["braces"], PINYIN)
            elif match["brackets"] is not None:
                self._said(match[0], match["brackets"], ARPABET)
            elif match["tag"] is None:
                if not document:
                    self._text(match[0], document)
            else:
                place = self._tag(match, text, document)
        self._text(text[place:], document)
        if self.open:
            self._warn("<prosody> has no end tag: it holds to the end of the text")
        return Marked(_tidy(self.pieces), self.warnings)

    @property
    def prosody(self) -> Prosody:
        return self.open[-1] if self.open else PLAIN

    def _warn(self, warning: str) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)

    def _text(self, text: str, document: bool) -> None:
        if text:
            self.pieces.append(Text(html.unescape(text) if document else text, self.prosody))

    def _said(self, whole: str, content: str, alphabet: str) -> None:
        said = spoken(content, "as written in the text", None, self.prosody)
        if said is not None and said.alphabet == alphabet:
            self.pieces.append(said)
            return
        if alphabet == PINYIN:
            self._warn(f"{whole}: no pinyin (syllables with tones 1-5), read as text")
        elif re.search(r"\b(?:[A-Z]{2}[0-2]) ?", content) or _is_stressless(content.split()):
            self._warn(f"{whole}: no ARPAbet (phones, vowels with their stress 0-2), read as text")
        self._text(whole, False)

    def _tag(self, match: re.Match[str], text: str, document: bool) -> int:
        """Take a tag; gives the place behind it, or behind its end tag where its content is not read."""
        name, rest, end = match["tag"].lower(), match["rest"].rstrip("/").strip(), match.end()
        empty = bool(match["empty"]) or match["rest"].rstrip().endswith("/")
        if name == "break":
            if not match["close"]:
                self._break(match[0], rest)
        elif name in ("phoneme", "sub"):
            if not match["close"] and not empty:
                return self._replaced(match, name, rest, text, document)
        elif name == "prosody":
            self._prosody(match, rest, empty)
        elif name in _STRUCTURE:
            if name != "mark" and name != "speak":
                self.pieces.append(Text("\n"))
        elif name in _UNSUPPORTED:
            if not match["close"]:
                self._warn(f"<{name}> is not supported: what it holds is read as plain text")
        else:
            self._text(match[0], False)
        return end

    def _break(self, whole: str, rest: str) -> None:
        attributes = _attributes(rest)
        given = attributes.get("time") or (rest if rest and not attributes else None)
        if given is not None:
            time = _TIME.fullmatch(given.strip())
            if time is None:
                self._warn(f"{whole}: expected a time such as 300ms or 0.3s; passed over")
                return
            seconds = float(time[1]) / (1000 if time[2].lower() == "ms" else 1)
        else:
            strength = attributes.get("strength", "medium")
            if strength not in _STRENGTHS:
                self._warn(f"{whole}: strength is one of {', '.join(_STRENGTHS)}; passed over")
                return
            seconds = _STRENGTHS[strength]
        if seconds > LONGEST_BREAK:
            self._warn(f"{whole}: no break is longer than {LONGEST_BREAK:g} s; it is that long")
        if seconds:
            self.pieces.append(Break(min(seconds, LONGEST_BREAK)))

    def _replaced(self, match: re.Match[str], name: str, rest: str, text: str, document: bool) -> int:
        close = re.compile(rf"</{name}\s*>", re.IGNORECASE).search(text, match.end())
        if close is None:
            self._warn(f"{match[0]}: there is no </{name}>; passed over")
            return match.end()
        content = re.sub(r"<[^<>]*>", "", text[match.end() : close.start()])
        content = html.unescape(content) if document else content
        attributes = _attributes(rest)
        if name == "sub":
            alias = html.unescape(attributes.get("alias", ""))
            if not alias:
                self._warn(f"{match[0]}: has no alias; what it holds is read")
            self.pieces.append(Text(alias or content, self.prosody))
            return close.end()
        alphabet = attributes.get("alphabet", "").lower()
        said = spoken(attributes.get("ph", ""), "phoneme tag", content or None, self.prosody)
        if said is None or alphabet not in _ALPHABETS.get(said.alphabet, ()):
            self._warn(
                f"{match[0]}: alphabet is pinyin (chong2 qing4) or arpabet (R EH1 D), with ph to suit; read as text"
            )
            self.pieces.append(Text(content, self.prosody))
        else:
            self.pieces.append(said)
        return close.end()

    def _prosody(self, match: re.Match[str], rest: str, empty: bool) -> None:
        if match["close"]:
            if self.open:
                self.open.pop()
            else:
                self._warn("</prosody> without a <prosody>: passed over")
            return
        if empty:
            return
        values: dict[str, float] = {}
        attributes = _attributes(rest)
        for name, read in _PROSODY.items():
            if name in attributes:
                value = read(attributes[name].strip().lower())
                if value is None:
                    self._warn(f"{name}={attributes[name]!r}: {_EXPECTED[name]}; passed over")
                else:
                    values[name] = value
        for name in attributes:
            if name not in _PROSODY:
                self._warn(f"<prosody {name}=…> is not supported: passed over")
        wanted = Prosody(**values).within(self.prosody)
        kept = Prosody(
            *(
                _within(value, *limits)
                for value, limits in zip(
                    (wanted.rate, wanted.pitch, wanted.volume), (RATES, PITCHES, VOLUMES), strict=True
                )
            )
        )
        if kept != wanted:
            self._warn(
                f"{match[0]}: beyond what is spoken: rate {kept.rate:g}, pitch {kept.pitch:+g} semitones, volume"
                f" {kept.volume:g}"
            )
        self.open.append(kept)


def _tidy(pieces: Iterable[Piece]) -> list[Piece]:
    """White space collapsed, across pieces too; neighbouring texts of one prosody joined, empty ones dropped."""
    tidy: list[Piece] = []
    space = True
    for piece in pieces:
        if isinstance(piece, Text):
            text = _SPACE.sub(lambda match: "\n" if "\n" in match[0] else " ", piece.text)
            text = text.lstrip(" ") if space else text
            if not text:
                continue
            space = text[-1] in " \n"
            last = tidy[-1] if tidy else None
            if isinstance(last, Text) and last.prosody == piece.prosody:
                tidy[-1] = replace(last, text=last.text + text)
            else:
                tidy.append(replace(piece, text=text))
        else:
            tidy.append(piece)
            space = False
    return tidy


def _flat(piece: Piece) -> str:
    if isinstance(piece, Text):
        return piece.text
    return "\uffa0" if isinstance(piece, Said) else "\ue000"


def _attributes(rest: str) -> dict[str, str]:
    return {name.lower(): a or b or c for name, a, b, c in _ATTRIBUTE.findall(rest)}


def _rate(value: str) -> float | None:
    if value in _RATES:
        return _RATES[value]
    match = _NUMBER.fullmatch(value)
    if match is None or match[3] not in ("%", None):
        return None
    number = float(match[2]) / (100 if match[3] else 1)
    if match[1] and match[3]:
        number = 1 + (number if match[1] == "+" else -number)
    return number if number > 0 else None


def _pitch(value: str) -> float | None:
    if value in _PITCHES:
        return _PITCHES[value]
    match = _NUMBER.fullmatch(value)
    if match is None or match[3] not in ("%", "st"):
        return None
    number = float(match[1] + match[2])
    if match[3] == "st":
        return number
    factor = 1 + number / 100 if match[1] else number / 100
    return 12 * math.log2(factor) if factor > 0 else None


def _volume(value: str) -> float | None:
    if value in _DECIBELS:
        return 10 ** (_DECIBELS[value] / 20)
    match = _NUMBER.fullmatch(value)
    if match is None or match[3] not in ("%", "db"):
        return None
    number = float(match[1] + match[2])
    if match[3] == "db":
        return 10.0 ** (number / 20)
    factor = 1 + number / 100 if match[1] else number / 100
    return max(factor, 0.0)


def _within(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def _is_pinyin(tokens: tuple[str, ...]) -> bool:
    try:
        return bool(tokens) and all(syllable(token) for token in tokens)
    except ValueError:
        return False


def _is_arpabet(tokens: tuple[str, ...]) -> bool:
    stressed = [token[-1] in "012" and token[:-1] in VOWELS for token in tokens]
    return any(stressed) and all(vowel or token in CONSONANTS for vowel, token in zip(stressed, tokens, strict=True))


def _is_stressless(tokens: list[str]) -> bool:
    """Whether these are phones of which a vowel lacks its stress, as R EH D."""
    return len(tokens) > 1 and not VOWELS.isdisjoint(tokens) and all(t in VOWELS or t in CONSONANTS for t in tokens)


_PROSODY: dict[str, Callable[[str], float | None]] = {"rate": _rate, "pitch": _pitch, "volume": _volume}
_EXPECTED = {
    "rate": f"expected a factor (1.2), a percentage (80%, +20%) or one of {', '.join(_RATES)}",
    "pitch": f"expected semitones (+2st), a percentage (-10%) or one of {', '.join(_PITCHES)}",
    "volume": f"expected decibels (-6dB), a percentage (50%, +20%) or one of {', '.join(_DECIBELS)}",
}
_ALPHABETS = {
    PINYIN: ("pinyin", "x-pinyin", "py"),
    ARPABET: ("arpabet", "x-arpabet", "cmu", "x-cmu-arpabet", "cmu-arpabet"),
}
