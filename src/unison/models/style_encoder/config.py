"""Sizes of the style encoder."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class StyleEncoderConfig:
    """What reads a prompt: a small transformer over its subwords, or a BERT that is trained on."""

    subwords: int = 1000
    """Byte pairs, learnt from prompts, at least 256."""
    hidden: int = 96
    """Width of the transformer; a multiple of the heads."""
    layers: int = 2
    """Its blocks."""
    heads: int = 4
    """Attention heads of a block."""
    ffn: int = 192
    """Inner width of the blocks' feed-forward convolutions."""
    kernel: int = 3
    """Kernel of these in subwords; odd."""
    dropout: float = 0.1
    """Dropout of the transformer."""
    dim: int = 64
    """Length of a prompt's vector."""
    max_length: int = 100
    """Subwords of a prompt that are read; what is beyond is cut."""
    bert: str | None = None
    """A BERT (a local folder, or a hub id as WangZeJun/simbert-base-chinese) that is trained on instead; its pooled
    output is the vector, as EmotiVoice has it, and none of the sizes above but max_length counts."""
