"""Loudness a frame, from the same framing as the mel."""

from __future__ import annotations

from torch import Tensor


def frame_energy(magnitude: Tensor) -> Tensor:
    """Magnitudes [..., n_fft // 2 + 1, F] to sqrt(sum |S|^2) a frame, [..., F], as EmotiVoice has it."""
    return magnitude.square().sum(-2).sqrt()
