"""The acoustic model's layers. Shapes are [B, T, C]; a mask is [B, T], true where real, or None for all."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unison.models.masking import silence


class TimeConv(nn.Conv1d):
    """A convolution over time of [B, T, C] that keeps T and reads zeros where the mask says padding."""

    def __init__(self, n_in: int, n_out: int, kernel: int) -> None:
        if kernel % 2 == 0:
            raise ValueError(f"kernel {kernel} is even; a convolution that keeps the length needs an odd one")
        super().__init__(n_in, n_out, kernel, padding=kernel // 2)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return super().forward(silence(x, mask).transpose(1, 2)).transpose(1, 2)


class ScaledPositions(nn.Module):
    """Adds sines and cosines of the position, scaled by one learned number (Li et al. 2019)."""

    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        frames, hidden = x.shape[1:]
        # float32 whatever the model's dtype is: the low-precision formats can't count frames
        frequencies = torch.exp(torch.arange(0, hidden, 2, device=x.device).float() * (-math.log(10000.0) / hidden))
        angles = torch.arange(frames, device=x.device)[:, None] * frequencies
        encoding = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)[:, :hidden]
        return self.dropout(x + self.scale * encoding.to(x.dtype))


class SelfAttention(nn.Module):
    """Multi-head self-attention over the real positions."""

    def __init__(self, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        if hidden % heads:
            raise ValueError(f"hidden {hidden} is not a multiple of {heads} heads")
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(hidden, hidden)
        self.value = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, hidden)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        query, key, value = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=None if mask is None else mask[:, None, None, :],
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.out(mixed.transpose(1, 2).flatten(2))


class TransformerBlock(nn.Module):
    """Pre-norm self-attention, then a feed-forward pair of convolutions with GELU between."""

    def __init__(self, hidden: int, heads: int, ffn: int, kernel: int, dropout: float, norm_eps: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(hidden, eps=norm_eps)
        self.attention = SelfAttention(hidden, heads, dropout)
        self.ffn_norm = nn.LayerNorm(hidden, eps=norm_eps)
        self.ffn_in = TimeConv(hidden, ffn, kernel)
        self.ffn_out = TimeConv(ffn, hidden, kernel)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x), mask))
        inner = self.dropout(F.gelu(self.ffn_in(self.ffn_norm(x), mask)))
        return x + self.dropout(self.ffn_out(inner, mask))


class Transformer(nn.Module):
    """Positions, blocks and a final normalisation: the encoder over symbols and the decoder over frames."""

    def __init__(
        self, layers: int, hidden: int, heads: int, ffn: int, kernel: int, dropout: float, norm_eps: float
    ) -> None:
        super().__init__()
        self.positions = ScaledPositions(hidden, dropout)
        self.blocks = nn.ModuleList(
            TransformerBlock(hidden, heads, ffn, kernel, dropout, norm_eps) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(hidden, eps=norm_eps)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = self.positions(x)
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x)


class Predictor(nn.Module):
    """One number a symbol (FastSpeech, Ren et al. 2019): normalised convolutions and a linear layer."""

    def __init__(self, layers: int, n_in: int, hidden: int, kernel: int, dropout: float, norm_eps: float) -> None:
        super().__init__()
        self.convs = nn.ModuleList(TimeConv(hidden if i else n_in, hidden, kernel) for i in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden, eps=norm_eps) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden if layers else n_in, 1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[B, T, C] to [B, T], zero at padding."""
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = self.dropout(norm(F.relu(conv(x, mask))))
        return silence(self.out(x).squeeze(-1), mask)


def gaussian_upsampling(x: Tensor, durations: Tensor, delta: float, frames: int, mask: Tensor | None = None) -> Tensor:
    """Symbols [B, T, C] to frames [B, F, C] (Donahue et al. 2020).

    Frame f is a mean of the symbols with weights softmax(-delta * (f - c)^2), where c is the middle of a
    symbol's duration [B, T] (frames).
    """
    durations = durations.float()
    centres = durations.cumsum(1) - durations / 2
    positions = torch.arange(frames, device=x.device)
    scores = -delta * (positions[:, None] - centres[:, None, :]) ** 2
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None, :], -torch.inf)
    return scores.softmax(-1).to(x.dtype) @ x
