"""The registry of frontends: each turns text into the symbols that a model reads."""

from __future__ import annotations

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import ClassVar

from unison.errors import UnisonError
from unison.text.lexicon import Lexicon
from unison.text.markup import ARPABET, Break, Marked, Piece, Said, Text, parse
from unison.text.normalization import VERSION as WORDS_VERSION
from unison.text.normalization import normalize
from unison.text.reading import Reading, Word, named
from unison.text.symbols import HAN

FRONTENDS = ("auto", "english", "mandarin", "characters")
_VERSION = "2"
"""Of what all frontends have in common: markup and lexicon."""
_HAN = re.compile(f"[{HAN}]")
_LATIN_RUN = re.compile(r"[A-Za-zÀ-ɏ]+(?:[^\S\n]*[A-Za-zÀ-ɏ'’.,;:!?\-]+)*")
_LETTER = re.compile(f"[{HAN}A-Za-zÀ-ɏ]")
NO_WORDS = Lexicon()

log = logging.getLogger(__name__)


class Frontend(ABC):
    """Text in, symbols out: ``<sos/eos>`` at both ends, phones and breaks between."""

    name: ClassVar[str]

    def __init__(self, lexicon: Lexicon = NO_WORDS) -> None:
        self.lexicon = lexicon

    @property
    @abstractmethod
    def version(self) -> str:
        """Changes whenever the same text may give other symbols."""

    @property
    def identity(self) -> dict[str, str]:
        """What decides the symbols of a text: name, version and the user's own words; what a contract keeps."""
        content = self.lexicon.content
        return {"name": self.name, "version": self.version} | ({"lexicon": content} if content else {})

    @abstractmethod
    def read(self, text: str | Marked) -> Reading:
        """How a text is read, step by step: see :mod:`unison.text.markup` for what it may say about that.

        Raises:
            UnisonError: there is nothing to read.
        """

    def symbols(self, text: str) -> list[str]:
        """The symbols of ``text``; what can't be read is left out, with a warning.

        Raises:
            UnisonError: there is nothing to read.
        """
        reading = self.read(text)
        for warning in reading.warnings:
            log.warning("%s", warning)
        return reading.symbols


class LanguageFrontend(Frontend):
    """One language's."""

    own_version: ClassVar[str]
    alphabet: ClassVar[str]
    """What pronunciations are given in."""

    @property
    def version(self) -> str:
        return f"{self.own_version}.{_VERSION}, words {WORDS_VERSION}"

    @abstractmethod
    def words(self, pieces: Sequence[Piece]) -> tuple[list[Word], list[str], float]:
        """Normalised text and what is said about it, read.

        Returns:
            the words, the characters that can't be read, and the seconds of silence before the first word.
        """

    def read(self, text: str | Marked) -> Reading:
        marked = self.lexicon.applied(parse(text) if isinstance(text, str) else text)
        who = f"the {self.name.capitalize()} frontend"
        foreign = [piece for piece in marked.pieces if isinstance(piece, Said) and piece.alphabet != self.alphabet]
        if foreign:
            warnings = [f"{piece.text}: {who} has no {piece.alphabet}: left out" for piece in foreign]
            own = [piece for piece in marked.pieces if piece not in foreign]
            marked = Marked(own, [*marked.warnings, *warnings])
        pieces = _normalised(marked, self.name)
        words, skipped, lead = self.words(pieces)
        return _reading(marked, pieces, words, skipped, lead, who)


class AutoFrontend(Frontend):
    """Mandarin for Chinese characters, English elsewhere, with markers where the language changes."""

    name = "auto"

    @property
    def version(self) -> str:
        return "; ".join(f"{name} {_language(name).version}" for name in ("mandarin", "english"))

    def read(self, text: str | Marked) -> Reading:
        """How ``text`` is read; ``eng_cn_sp`` and ``cn_eng_sp`` stand where the language changes without a pause."""
        marked = self.lexicon.applied(parse(text) if isinstance(text, str) else text)
        pieces = _normalised(marked, "auto")
        words: list[Word] = []
        skipped: list[str] = []
        lead, spoken = 0.0, ""
        for language, run in _runs(pieces):
            found, unknown, silence = _language(language).words(run)
            changes = bool(words and found) and language != spoken
            spoken = language if found else spoken
            if changes and words[-1].pause[-1] < "2" and not silence:
                words[-1] = replace(words[-1], pause="eng_cn_sp" if language == "mandarin" else "cn_eng_sp")
            if words and silence:
                words[-1] = replace(words[-1], silence=(words[-1].silence or 0.0) + silence)
            else:
                lead += silence
            words += found
            skipped += unknown
        return _reading(marked, pieces, words, skipped, lead, "the frontend")


class CharactersFrontend(Frontend):
    """The characters themselves, of any language: for models that read text through a tokenizer, or not at all."""

    name = "characters"
    version = "1"

    def read(self, text: str | Marked) -> Reading:
        """The characters of ``text`` after :func:`unison.text.bpe.normalise`, markup among them."""
        from unison.text.bpe import normalise

        plain = text if isinstance(text, str) else text.text
        characters = normalise(plain)
        return Reading(plain, characters, [Word(characters, tuple(characters), "characters", "")])


@cache
def frontend(name: str, lexicon: Lexicon = NO_WORDS) -> Frontend:
    """The frontend called ``name``: one of :data:`FRONTENDS`; with the user's own words."""
    if name == "auto":
        return AutoFrontend(lexicon)
    if name == "characters":
        if lexicon.entries:
            raise UnisonError("lexicon: the characters frontend has no pronunciations; leave it out")
        return CharactersFrontend()
    if name in FRONTENDS:
        return _language(name, lexicon)
    raise UnisonError(f"there is no text frontend '{name}'; use one of {', '.join(FRONTENDS)}")


@cache
def _language(name: str, lexicon: Lexicon = NO_WORDS) -> LanguageFrontend:
    # Imported here: the dictionary of one language is not loaded for the other.
    if name == "mandarin":
        from unison.text.mandarin import MandarinFrontend

        return MandarinFrontend(lexicon)
    from unison.text.english import EnglishFrontend

    return EnglishFrontend(lexicon)


def _normalised(marked: Marked, language: str) -> list[Piece]:
    """Its texts in words; a stretch without a letter of its own is read in the language of the whole."""
    if language == "auto" and not _LETTER.search(marked.text):
        language = "english"
    whole = language if language != "auto" else "mandarin" if _HAN.search(marked.text) else "english"
    pieces: list[Piece] = []
    for piece in marked.pieces:
        if isinstance(piece, Text):
            own = language if _LETTER.search(piece.text) else whole
            pieces.append(replace(piece, text=normalize(piece.text, own)))
        else:
            pieces.append(piece)
    return pieces


def _reading(
    marked: Marked, pieces: Sequence[Piece], words: list[Word], skipped: list[str], lead: float, who: str
) -> Reading:
    skipped = list(dict.fromkeys(skipped))
    text, warnings = marked.text, list(marked.warnings)
    if skipped:
        warnings.append(f"{who} can't read {named(skipped)} in '{text[:60]}': left out")
    if not words:
        can_not = f"{who} can't read {named(skipped)}: " if skipped else ""
        raise UnisonError(f"{can_not}there is nothing to read in '{text[:60]}'")
    normalised = " ".join(" ".join(piece.text for piece in pieces if not isinstance(piece, Break)).split())
    return Reading(text, normalised, words, skipped, warnings, lead)


def _runs(pieces: Sequence[Piece]) -> list[tuple[str, list[Piece]]]:
    """(language, pieces) runs; what has no letter or digit goes with what it follows."""
    runs: list[tuple[str, list[Piece]]] = []
    waiting: list[Piece] = []  # what stands before the first word
    for language, piece in _by_language(pieces):
        if language is None and not runs:
            waiting.append(piece)
        elif language is None or (runs and runs[-1][0] == language):
            runs[-1][1].append(piece)
        else:
            runs.append((language, [*waiting, piece]))
            waiting = []
    return runs or [("english", waiting)]


def _by_language(pieces: Sequence[Piece]) -> Iterator[tuple[str | None, Piece]]:
    """Pieces cut where the language changes; None for what belongs to neither."""
    for piece in pieces:
        if isinstance(piece, Break):
            yield None, piece
        elif isinstance(piece, Said):
            yield "english" if piece.alphabet == ARPABET else "mandarin", piece
        else:
            end = 0
            for match in _LATIN_RUN.finditer(piece.text):
                yield from _part(piece, end, match.start(), "mandarin")
                yield "english", replace(piece, text=match[0])
                end = match.end()
            yield from _part(piece, end, len(piece.text), "mandarin")


def _part(piece: Text, start: int, end: int, language: str) -> Iterator[tuple[str | None, Piece]]:
    part = piece.text[start:end]
    if part:
        yield language if any(c.isalnum() for c in part) else None, replace(piece, text=part)
