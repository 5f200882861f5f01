"""The layers of both stages. Shapes are [B, T, C]; heads H of width D make up C."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.weak import WeakIdKeyDictionary

_FEW = 4
"""Rows up to which `project` on a processor in float32 is quicker by another way."""
_SOME = 32
"""And in bfloat16."""
_packed: WeakIdKeyDictionary = WeakIdKeyDictionary()
"""For a weight its dtype and version, and what oneDNN multiplies by."""


def project(x: Tensor, weight: Tensor) -> Tensor:
    """x [..., I] by a weight [O, I] to [..., O], as `F.linear` without a bias does it.

    A step of decoding has one row, or two with guidance, and its time is that of reading the weights, which on a
    processor `F.linear` is slow at. In float32 MKL reads them with one core when it is asked for a row of results or
    two, and with all cores, twice as fast on each, when it is asked for columns; one column it takes for a row again.
    In bfloat16 oneDNN first puts them into an order of its own, every time anew: of weights that do not learn that is
    kept, at the cost of as much memory again; one row it may round otherwise than several.
    """
    if not x.is_cpu or type(weight) is not nn.Parameter or torch.is_grad_enabled():
        return F.linear(x, weight)
    rows = x.numel() // x.shape[-1]
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    by_columns = dtype == torch.float32 and rows <= _FEW
    # a compiler has an order of its own, and would make code for every side of what follows
    if not by_columns and (
        dtype != torch.bfloat16 or torch.compiler.is_compiling() or rows > _SOME or not _keeps(weight)
    ):
        return F.linear(x, weight)
    flat = x.reshape(rows, -1)
    several = flat if rows > 1 else torch.cat((flat, flat))
    if by_columns:
        y = torch.mm(weight, several.t()).t()
    else:
        y = torch.ops.mkldnn._linear_pointwise(several.to(dtype), _ordered(weight, dtype), None, "none", [], "")
    return y[:rows].contiguous().view(*x.shape[:-1], -1)


def _keeps(weight: Tensor) -> bool:
    """Whether a copy in oneDNN's order may be kept, as of weights that tell when they change."""
    # fused optimizers change weights without a trace; what is made in inference mode counts no changes
    return not weight.requires_grad and not weight.is_inference() and _orders()


@functools.cache
def _orders() -> bool:
    """Whether this processor and this torch have oneDNN's products in bfloat16, as torch's compiler uses them."""
    operations = ("_is_mkldnn_bf16_supported", "_reorder_linear_weight", "_linear_pointwise")
    if not torch.backends.mkldnn.is_available() or not all(hasattr(torch.ops.mkldnn, name) for name in operations):
        return False
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _ordered(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """A weight as oneDNN multiplies by it in `dtype`; made anew when it has changed."""
    version = (dtype, weight.data_ptr(), weight._version)
    kept = _packed.get(weight)
    if kept is None or kept[0] != version:
        ordered = torch.ops.mkldnn._reorder_linear_weight(weight.detach().to(dtype), 1)
        kept = _packed[weight] = (version, ordered)
    return kept[1]


class Linear(nn.Linear):
    """A linear layer without bias, quick for few rows."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(n_in, n_out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return project(x, self.weight)


class RMSNorm(nn.RMSNorm):
    """Root-mean-square normalisation, taken in float32 whatever comes in, and given back in that dtype."""

    def __init__(self, hidden: int, eps: float) -> None:
        super().__init__(hidden, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), self.normalized_shape, self.weight.float(), self.eps).to(x.dtype)


class SwiGLU(nn.Module):
    """A gated feed-forward layer (Shazeer 2020); `up` holds the gate's rows, then those that are gated."""

    def __init__(self, hidden: int, multiple: int) -> None:
        super().__init__()
        inner = math.ceil(8 * hidden // 3 / multiple) * multiple
        self.up = Linear(hidden, 2 * inner)
        self.down = Linear(inner, hidden)

    def forward(self, x: Tensor) -> Tensor:
        gate, gated = self.up(x).chunk(2, -1)
        return self.down(F.silu(gate) * gated)


class GeluLayer(nn.Module):
    """A feed-forward layer four times as wide inside."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.up = Linear(hidden, 4 * hidden)
        self.down = Linear(4 * hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))


class Attention(nn.Module):
    """Multi-head self-attention, causal or not."""

    def __init__(self, hidden: int, heads: int, dropout: float, causal: bool) -> None:
        super().__init__()
        if hidden % heads:
            raise ValueError(f"hidden {hidden} is not a multiple of {heads} heads")
        self.heads, self.dropout, self.causal = heads, dropout, causal
        self.qkv = Linear(hidden, 3 * hidden)
        self.out = Linear(hidden, hidden)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, past: Tensor | None = None, at: Tensor | None = None
    ) -> Tensor:
        """[B, T, C] to [B, T, C].

        Args:
            mask: [B, 1, T or 1, L], what is added to the scores, or true where seen. A causal attention without one
                sees what is before.
            past: keys and values [2, B, H, L, D] of the whole sequence; without it they are those of x alone.
            at: [B or 1, T], where in `past` the keys and values of x are written.
        """
        query, written = self.split(x)
        if past is not None and at is not None:
            rows = torch.arange(past.shape[1], device=past.device)[:, None]
            past[:, rows, :, at] = written.permute(1, 3, 0, 2, 4)
            written = past
        key, value = written.unbind()
        causal = self.causal and mask is None
        if x.shape[1] == 1:  # a branch: compiled for any length the comparison is a symbol, which the operator refuses
            causal = False
        mixed = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=causal,
        )
        return self.out(mixed.transpose(1, 2).flatten(2))

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Queries [B, H, T, D], and keys and values [2, B, H, T, D], of x."""
        parts = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return parts[0], parts[1:]


class TransformerBlock(nn.Module):
    """Pre-norm self-attention, then a feed-forward layer."""

    def __init__(
        self, hidden: int, heads: int, dropout: float, causal: bool, norm: Callable[[], nn.Module], ffn: nn.Module
    ) -> None:
        super().__init__()
        self.attention_norm = norm()
        self.attention = Attention(hidden, heads, dropout, causal)
        self.ffn_norm = norm()
        self.ffn = ffn
        self.dropout = dropout

    def forward(
        self, x: Tensor, mask: Tensor | None = None, past: Tensor | None = None, at: Tensor | None = None
    ) -> Tensor:
        """[B, T, C] to [B, T, C]; see `Attention.forward`."""
        x = x + self._dropped(self.attention(self.attention_norm(x), mask, past, at))
        return x + self._dropped(self.ffn(self.ffn_norm(x)))

    def _dropped(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout) if self.training and self.dropout else x

    def written(self, x: Tensor) -> Tensor:
        """The keys and values [2, B, H, T, D] that x leaves in `past`."""
        return self.attention.split(self.attention_norm(x))[1]


class SpeakerDropout(nn.Module):
    """In training, sets the speaker [B, C] of a share of the sequences to zero, which means none."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, speaker: Tensor) -> Tensor:
        if not self.training or not self.share:
            return speaker
        return speaker * (torch.rand(len(speaker), 1, device=speaker.device) >= self.share)


def draw_weights(model: nn.Module, layers: int) -> None:
    """GPT-2's initial weights: normal of 0.02, and less for what is added to the blocks' sum."""
    for name, weight in model.named_parameters():
        if weight.dim() == 2:
            added = name.endswith(("attention.out.weight", "ffn.down.weight"))
            nn.init.normal_(weight, std=0.02 / math.sqrt(2 * layers) if added else 0.02)
