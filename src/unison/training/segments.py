"""Random pieces of equal length, for a vocoder that learns from less than an utterance."""

from __future__ import annotations

import torch
from torch import Tensor


def random_starts(lengths: Tensor, segment: int) -> Tensor:
    """A start frame [B] for each item, so that the segment lies inside it where it is long enough (else 0).

    Args:
        lengths: frames of each item, [B].
        segment: frames of a segment.
    """
    room = (lengths - segment).clamp(min=0)
    # drawn on the CPU: the same on every device
    return (torch.rand(len(lengths)).to(lengths.device) * (room + 1)).long()


def take(x: Tensor, starts: Tensor, size: int, lengths: Tensor, fill: Tensor | float) -> Tensor:
    """Segments [B, C, size] of ``x`` [B, C, L] from ``starts`` [B].

    Beyond each item's ``lengths`` [B] stands ``fill`` ([C, 1] or a number).
    """
    at = starts[:, None] + torch.arange(size, device=x.device)
    beyond = at >= lengths[:, None]
    index = at.clamp(max=x.shape[-1] - 1)[:, None].expand(-1, x.shape[1], -1)
    return torch.where(beyond[:, None], torch.as_tensor(fill, dtype=x.dtype, device=x.device), x.gather(2, index))
