"""Which positions of a padded batch are real."""

from __future__ import annotations

import torch
from torch import Tensor


def length_mask(lengths: Tensor, size: int) -> Tensor:
    """Lengths [B] to a boolean mask [B, size], true where a position is real."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def padding_mask(lengths: Tensor | None, size: int) -> Tensor | None:
    """`length_mask`, or None when nothing is padded, so that callers can skip masking altogether."""
    if lengths is None or bool((lengths == size).all()):
        return None
    return length_mask(lengths, size)


def silence(x: Tensor, mask: Tensor | None) -> Tensor:
    """Zeros where the mask [B, T] is false; x is [B, T] or [B, T, C]. No copy when the mask is None."""
    if mask is None:
        return x
    return x.masked_fill(~(mask if x.dim() == 2 else mask[..., None]), 0)
