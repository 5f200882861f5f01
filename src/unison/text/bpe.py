"""Byte-level byte pairs: any text as numbers below a bound, by rules learnt from a corpus.

A text is normalised, cut into words, and the UTF-8 bytes of each word are joined pair by pair: always the pair
whose joined bytes have the lowest rank, the leftmost first. The ranks are the whole definition, as in tiktoken and
in MetaVoice's checkpoints.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from unison.config.validate import validate
from unison.errors import UnisonError

PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?[\p{L}\p{M}]+| ?\p{N}+| ?[^\s\p{L}\p{M}\p{N}]+|\s+(?!\S)|\s+"
"""Words as GPT-2 cuts them, each with the space before it; vowel signs stay with their letters."""
END = "<|endoftext|>"
"""The end token's name in tiktoken's tables."""

_ALIKE = {
    "'": "\u00b4\u2018\u2019\u1fef\u1ffd\u1ffe\u2032\u2035",
    '"': "\u201c\u201d\u201f\u2033\u2036",
    "-": "\u2010\u2011\u2012\u2013\u2014\u2015",
    "`": "\u201b",
    ",": "\u201a",
    ".": "\u2024",
    "||": "\u2016",
    ",,": "\u201e",
    "..": "\u2025",
    "...": "\u2026",
    "TM": "\u2122",
    " ": "*",
}
_TYPED = {ord(mark): typed for typed, marks in _ALIKE.items() for mark in marks}


def normalise(text: str) -> str:
    """A text as the tokenizer reads it; of ASCII, only asterisks and white space are changed.

    Typographic quotes, dashes and dots become those of a keyboard, characters take their composed form (NFC), white
    space is collapsed, and half a surrogate pair becomes U+FFFD. Nothing is rejected.
    """
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return " ".join(unicodedata.normalize("NFC", whole.translate(_TYPED)).split())


@dataclass(frozen=True)
class BytePairs:
    """A byte-pair tokenizer: ids are ranks in `tokens`, and `end` stands above them."""

    pattern: str
    """What a word is, as a regular expression."""
    tokens: tuple[bytes, ...] = field(repr=False)
    """The bytes of every token in the order of their ranks; every single byte is among them."""
    end: int
    """The id of the end token: as many ids are below it, whether the corpus gave so many tokens or fewer."""

    def __post_init__(self) -> None:
        problems = []
        missing = {bytes([byte]) for byte in range(256)}.difference(self.tokens)
        if missing:
            problems.append(f"tokenizer: {len(missing)} of the 256 bytes have no token, the first is {min(missing)!r}")
        if len(set(self.tokens)) < len(self.tokens):
            problems.append(f"tokenizer: {len(self.tokens) - len(set(self.tokens))} tokens occur twice")
        if self.end < len(self.tokens):
            problems.append(f"tokenizer: the end token is {self.end}; expected at least {len(self.tokens)}")
        try:
            Regex(self.pattern)
        except Exception as error:  # the library raises nothing narrower
            problems.append(f"tokenizer: the pattern {self.pattern!r} is no regular expression ({error})")
        if problems:
            raise UnisonError(problems)

    @classmethod
    def train(cls, texts: Iterable[str], ranks: int = 512) -> BytePairs:
        """Learn a tokenizer from texts; the same texts give the same tokenizer.

        Args:
            texts: the corpus.
            ranks: bound of the ids, at least 256. Pairs that occur once are not joined, so that a small corpus
                gives fewer tokens; the end token's id is `ranks` all the same.
        """
        if ranks < 256:
            raise UnisonError(f"a byte-pair tokenizer needs a rank for each of the 256 bytes; found ranks={ranks}")
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = _words(PATTERN)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=ranks, min_frequency=2, initial_alphabet=alphabet, special_tokens=[], show_progress=False
        )
        tokenizer.train_from_iterator(map(normalise, texts), trainer)
        vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
        learnt = [bytes(_BYTES[letter] for letter in name) for name, _ in vocabulary if len(name) > 1]
        return cls(PATTERN, (*(bytes([byte]) for byte in range(256)), *learnt), ranks)

    @classmethod
    def from_tiktoken(cls, meta: Mapping[str, Any]) -> BytePairs:
        """The tokenizer of a MetaVoice checkpoint.

        Args:
            meta: `pat_str`, `mergeable_ranks` (bytes to rank) and `special_tokens` with `<|endoftext|>`; that is
                `checkpoint["meta"]["tokenizer"]`.
        """
        try:
            pattern, ranks, end = str(meta["pat_str"]), dict(meta["mergeable_ranks"]), int(meta["special_tokens"][END])
        except (KeyError, TypeError, ValueError) as error:
            raise UnisonError(
                f"tokenizer: expected pat_str, mergeable_ranks and special_tokens with {END}, "
                f"found {', '.join(map(str, meta)) or 'nothing'} ({error!r})"
            ) from error
        if sorted(ranks.values()) != list(range(len(ranks))) or not all(isinstance(token, bytes) for token in ranks):
            raise UnisonError("tokenizer: mergeable_ranks: expected bytes with the ranks 0, 1, 2, … without a gap")
        return cls(pattern, tuple(sorted(ranks, key=ranks.__getitem__)), end)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BytePairs:
        """The tokenizer from what `to_dict` gave; raises UnisonError that names what does not fit."""
        stored = validate(values, _Stored, "tokenizer")
        try:
            tokens = tuple(token.encode("latin-1") for token in stored.tokens)
        except UnicodeEncodeError as error:
            raise UnisonError(f"tokenizer.tokens: {error.object!r} holds characters above U+00FF") from error
        return cls(stored.pattern, tokens, stored.end)

    def to_dict(self) -> dict[str, Any]:
        """The tokenizer as JSON primitives, tokens as text with a character for each byte."""
        return {"pattern": self.pattern, "tokens": [token.decode("latin-1") for token in self.tokens], "end": self.end}

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without the end token; `<|endoftext|>` in the text is text like any other."""
        ids: list[int] = self._tokenizer.encode(normalise(text), add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The normalised text of ids; bytes that are no UTF-8 become U+FFFD.

        Raises ValueError for an id that has no token.
        """
        unknown = [i for i in ids if not 0 <= i < len(self.tokens)]
        if unknown:
            raise ValueError(f"ids {unknown[:5]} have no token; expected 0 to {len(self.tokens) - 1}")
        return b"".join(self.tokens[i] for i in ids).decode("utf-8", "replace")

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        vocabulary = {_name(token): rank for rank, token in enumerate(self.tokens)}
        # Every way to join two tokens into a third, by the third's rank: a rank alone doesn't say how it was learnt.
        joins = [
            (name[:i], name[i:])
            for name in vocabulary
            for i in range(1, len(name))
            if name[:i] in vocabulary and name[i:] in vocabulary
        ]
        # tiktoken looks for the whole word first
        tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=joins, ignore_merges=True))
        tokenizer.pre_tokenizer = _words(self.pattern)
        return tokenizer


@dataclass
class _Stored:
    pattern: str
    tokens: list[str]
    end: int


def _words(pattern: str) -> pre_tokenizers.PreTokenizer:
    """Cuts a text by a regular expression and writes each byte as one visible letter."""
    cut = pre_tokenizers.Split(Regex(pattern), "isolated")
    return pre_tokenizers.Sequence([cut, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def _byte_letters() -> dict[int, str]:
    """GPT-2's letter for each byte: Latin-1's where it is visible, else the next one from U+0100 on."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {byte: chr(256 + i) for i, byte in enumerate(hidden)}


_LETTERS = _byte_letters()
_BYTES = {letter: byte for byte, letter in _LETTERS.items()}


def _name(token: bytes) -> str:
    return "".join(_LETTERS[byte] for byte in token)
