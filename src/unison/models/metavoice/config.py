"""Sizes of the MetaVoice family's two language models."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class FirstStageConfig:
    """The causal model's sizes; the defaults are the released model's (1.24 B parameters)."""

    layers: int = 24
    """Transformer blocks."""
    heads: int = 16
    """Attention heads of a block."""
    hidden: int = 2048
    """Width of the blocks and embeddings; a multiple of the number of heads."""
    ffn_multiple: int = 256
    """The feed-forward layers' inner width is 8/3 of `hidden`, rounded up to a multiple of this."""
    norm_eps: float = 1e-5
    """Epsilon of every normalisation."""
    max_positions: int = 2048
    """Most tokens of a sequence: those of the text, and `codebooks` for every frame of the codec."""
    codebooks: int = 2
    """Codebooks that this model predicts, one token each a frame."""
    text_tokens: int = 512
    """Tokens of the text's tokenizer, its end token not counted."""
    dropout: float = 0.1
    """Dropout of embeddings, attention and the blocks' outputs in training."""
    speaker_dropout: float = 0.1
    """Share of the training sequences that are not told their speaker; without it guidance has nothing to lead from."""
    guidance: float = 3.0
    """Guidance of a request that names none, 1 (none) to 100; what suits a voice depends on what it has learnt."""
    top_k: int | None = None
    """Of how many of the likeliest tokens one is drawn for a request that does not say; None for all."""
    joined_seconds: float = 0.0
    """Clips of a speaker are also learnt joined, up to so long in all, where they are too short to teach more than a
    word; what is spoken in one go is then as long. 0 learns each alone."""


@dataclass
class SecondStageConfig:
    """The non-causal model's sizes; the defaults are the released model's (14.1 M parameters)."""

    layers: int = 6
    """Transformer blocks."""
    heads: int = 6
    """Attention heads of a block."""
    hidden: int = 384
    """Width of the blocks and embeddings; a multiple of the number of heads."""
    norm_eps: float = 1e-5
    """Epsilon of every normalisation."""
    max_positions: int = 1024
    """Most positions of a sequence: the text's tokens, the codec's frames and the end."""
    given: int = 2
    """Codebooks that the first stage predicts."""
    predicted: int = 6
    """Codebooks that follow, which this model predicts."""
    text_tokens: int = 512
    """Tokens of the text's tokenizer, its end token not counted."""
    dropout: float = 0.0
    """Dropout of embeddings, attention and the blocks' outputs in training."""
    speaker_dropout: float = 0.0
    """Share of the training sequences that are not told their speaker."""
    joined_seconds: float = 0.0
    """As the first stage's."""
    pad_to_window: bool = False
    """Fill a sequence up to `max_positions` with the end code and attend to that, as the released model does."""
