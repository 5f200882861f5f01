"""What a text asks of single symbols beside what the model predicts: another pitch, or a length that is given."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Spans:
    """Changes of what is predicted, symbol by symbol; neutral values leave it as it is, bit for bit."""

    pitch: Tensor
    """[B, T], semitones by which F0 is shifted; 0 is neutral."""
    frames: Tensor
    """[B, T], int64, durations that are given; below 0 is as predicted."""
    f0_zero: float
    """What F0 of 0 Hz is on the model's scale: -mean / deviation."""

    def of_durations(self, durations: Tensor) -> Tensor:
        """Durations [B, T], in frames."""
        return torch.where(self.frames >= 0, self.frames, durations)

    def of_pitch(self, pitch: Tensor) -> Tensor:
        """Z-scored F0 [B, T]."""
        factor = (self.pitch / 12).exp2()
        shifted = self.f0_zero + factor * (pitch.float() - self.f0_zero)
        return torch.where(self.pitch == 0, pitch, shifted.to(pitch.dtype))
