"""The user's own words: a file of pronunciations that come before every other.

One entry a line, word and pronunciation separated by a tab (or several spaces); ``#`` at the beginning or behind a
space begins a comment::

    重庆	chong2 qing4
    GIF	JH IH1 F
    SQL	=sequel
    乐天	le4 tian1

A pronunciation is pinyin with tones, ARPAbet with stress, or ``=`` and other words that are read instead. It is said
as it stands: no tone of it changes. A word in small letters is found in any case, another only as it is written. The
longest entry that fits a place counts; Latin words are found whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from unison.errors import UnisonError
from unison.text.markup import Break, Marked, Piece, Said, Text, spoken

_MOST = 5
_COMMENT = re.compile(r"(?:^|\s)#")
_ENTRY = re.compile(r"(\S(?:.*?\S)?)\s*(?:\t| {2,})\s*(\S.*)")
_READABLE = re.compile(r"[^\W_]")
_LATIN = re.compile(r"[A-Za-z0-9À-ɏ]")
_OWNER = re.compile(r"['’][sS](?![A-Za-z])")


@dataclass(frozen=True)
class Lexicon:
    """Words, each with its pronunciation."""

    entries: Mapping[str, str] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash(self.content)

    @classmethod
    def read(cls, path: str | Path) -> Lexicon:
        """The entries of a file.

        Raises:
            UnisonError: it can't be read, or a line is no entry; all such lines at once.
        """
        try:
            content = Path(path).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else f"not UTF-8 (byte {error.start})"
            raise UnisonError(f"lexicon={path}: {reason}; expected a text file of words and pronunciations") from None
        return cls.parse(content, f"lexicon={path}")

    @classmethod
    def of(cls, path: str | Path | None) -> Lexicon:
        """The entries of a file, as :meth:`read`; none without a file."""
        return cls() if path is None else cls.read(path)

    @classmethod
    def parse(cls, content: str, source: str = "lexicon") -> Lexicon:
        """The entries of a lexicon's text.

        Raises:
            UnisonError: a line is no entry, or a word has two pronunciations.
        """
        entries: dict[str, str] = {}
        problems = []
        for number, line in enumerate(content.splitlines(), 1):
            line = _COMMENT.split(line)[0].strip()
            if not line:
                continue
            match = _ENTRY.fullmatch(line)
            word, said = (match[1], " ".join(match[2].split())) if match else (line, "")
            if not match:
                problems.append(f"{source}, line {number}: {line!r}: expected a word, a tab and its pronunciation")
            elif not _READABLE.search(word):
                problems.append(f"{source}, line {number}: {word!r} has no letter, digit or character")
            elif not (said.startswith("=") and said[1:].strip()) and spoken(said, "") is None:
                problems.append(
                    f"{source}, line {number}: {said!r} is no pronunciation: expected pinyin (chong2 qing4), ARPAbet"
                    " (R EH1 D) or = and other words"
                )
            elif entries.get(word, said) != said:
                problems.append(f"{source}, line {number}: {word!r} has another pronunciation above ({entries[word]})")
            entries[word] = said
        if len(problems) > _MOST:
            problems = [*problems[:_MOST], f"{source}: and {len(problems) - _MOST} more such lines"]
        if problems:
            raise UnisonError(problems)
        return cls(entries)

    @property
    def content(self) -> str:
        """Its text, one line an entry, sorted: what a contract keeps; empty without entries."""
        return "".join(f"{word}\t{said}\n" for word, said in sorted(self.entries.items()))

    def joined(self, other: Lexicon) -> Lexicon:
        """These entries and those of `other`, which come first."""
        return Lexicon({**self.entries, **other.entries})

    def applied(self, marked: Marked) -> Marked:
        """A text in which these words bring their pronunciations."""
        if not self.entries:
            return marked
        return Marked([new for piece in marked.pieces for new in self._replaced(piece)], marked.warnings)

    def _replaced(self, piece: Piece) -> Iterator[Piece]:
        if isinstance(piece, Said | Break):
            yield piece
            return
        text, place, start = piece.text, 0, 0
        while start < len(text):
            word = self._at(text, start)
            if word is None:
                start += 1
                continue
            if start > place:
                yield Text(text[place:start], piece.prosody)
            said = self._said(word)
            start += len(word)
            if said.startswith("="):
                yield Text(said[1:].strip(), piece.prosody)
            else:
                known = spoken(said, "lexicon", word, piece.prosody)
                assert known is not None
                if owner := _OWNER.match(text, start):
                    known, start = known.possessive(), owner.end()
                yield known
            place = start
        if place < len(text):
            yield Text(text[place:], piece.prosody)

    def _at(self, text: str, start: int) -> str | None:
        """The longest word that stands at a place, whole where its edge is Latin."""
        if start and _LATIN.match(text[start]) and _LATIN.match(text[start - 1]):
            return None
        for length in self._lengths:
            word = text[start : start + length]
            if len(word) == length and self._said(word):
                after = text[start + length : start + length + 1]
                if not (_LATIN.match(word[-1]) and _LATIN.match(after)):
                    return word
        return None

    def _said(self, word: str) -> str:
        return self.entries.get(word) or self.entries.get(word.lower(), "")

    @cached_property
    def _lengths(self) -> list[int]:
        return sorted({len(word) for word in self.entries}, reverse=True)
