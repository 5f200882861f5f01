"""What the tokens mean: codes of several codebooks, an end and a text, numbered through.

    0 … codebook_size - 1        codes of the first codebook
    codebook_size …              codes of the second, and so on
    end                          of the audio; also fills up
    text_offset …                tokens of the text
    text_end                     of the text

A sequence is the text, `text_end`, the codes frame by frame (c0[0], c1[0], c0[1], c1[1], …), `end`. Which codebook a
token belongs to is decided by its position; the numbers only agree with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class TokenLayout:
    """The numbering for a codec's and a tokenizer's sizes; the released first stage's is (1024, 2, 512)."""

    codebook_size: int
    codebooks: int
    text_tokens: int

    @property
    def end(self) -> int:
        """The token that ends the audio."""
        return self.codebook_size * self.codebooks

    @property
    def text_offset(self) -> int:
        """The number of the text's token 0."""
        return self.end + 1

    @property
    def text_end(self) -> int:
        """The token that ends the text."""
        return self.text_offset + self.text_tokens

    @property
    def size(self) -> int:
        """How many tokens there are."""
        return self.text_end + 1

    def text(self, ids: Sequence[int]) -> list[int]:
        """A text's tokens, of a tokenizer that counts from 0, with the end of the text.

        Raises ValueError for an id that this layout has no place for.
        """
        strange = [i for i in ids if not 0 <= i < self.text_tokens]
        if strange:
            raise ValueError(f"text tokens {strange[:5]}: expected 0 to {self.text_tokens - 1}")
        return [*(self.text_offset + i for i in ids), self.text_end]

    def flatten(self, codes: Tensor) -> Tensor:
        """Codes [codebooks, T] to tokens [codebooks * T], frame by frame; without an end."""
        if codes.dim() != 2 or len(codes) != self.codebooks:
            raise ValueError(f"codes of shape {list(codes.shape)}: expected [{self.codebooks}, T]")
        offsets = torch.arange(self.codebooks, device=codes.device) * self.codebook_size
        return (codes + offsets[:, None]).t().flatten()

    def unflatten(self, tokens: Tensor) -> Tensor:
        """Tokens of whole frames [codebooks * T] back to codes [codebooks, T]; a frame that is cut short is dropped.

        Raises ValueError where a token is of another codebook than its position's.
        """
        frames = len(tokens) // self.codebooks
        offsets = torch.arange(self.codebooks, device=tokens.device) * self.codebook_size
        codes = tokens[: frames * self.codebooks].view(frames, self.codebooks).t() - offsets[:, None]
        wrong = ((codes < 0) | (codes >= self.codebook_size)).t().flatten().nonzero()
        if len(wrong):
            at = int(wrong[0])
            raise ValueError(f"token {int(tokens[at])} at {at} is no code of codebook {at % self.codebooks}")
        return codes

    def due(self, tokens: Tensor) -> int:
        """The codebook that the token after `tokens` [T] belongs to; T may hold a text, and frames after it."""
        texts = (tokens == self.text_end).nonzero()
        start = int(texts[-1]) + 1 if len(texts) else 0
        return (len(tokens) - start) % self.codebooks

    def allowed(self, codebook: int, stop: int) -> Tensor:
        """Which tokens may come where `codebook` is due, [size]: its codes, and at the start of a frame `stop`.

        A `stop` below 0 never comes.
        """
        allowed = torch.zeros(self.size, dtype=torch.bool)
        allowed[codebook * self.codebook_size : (codebook + 1) * self.codebook_size] = True
        if codebook == 0 and stop >= 0:
            allowed[stop] = True
        return allowed


class TextEncoder(Protocol):
    """A tokenizer that counts from 0 (`unison.text.bpe.BytePairs`)."""

    def encode(self, text: str) -> list[int]: ...


@dataclass(frozen=True)
class StageTokenizer:
    """From a text to the tokens that one of the stages reads."""

    texts: TextEncoder
    layout: TokenLayout

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, with the end of the text."""
        return self.layout.text(self.texts.encode(text))
