"""What a speaker may ask of pitch, energy and pauses beside what the model predicts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Controls:
    """Changes of what is predicted for the symbols of each item; neutral values leave it as it is, bit for bit."""

    pitch: Tensor
    """[B], semitones by which F0 is shifted; 0 is neutral."""
    pitch_range: Tensor
    """[B], factor of F0's distance from its mean over the item; 1 is neutral."""
    energy: Tensor
    """[B], factor of the energy; 1 is neutral."""
    pause_scale: Tensor
    """[B], factor of the durations of pauses; 1 is neutral."""
    pauses: Tensor
    """[B, T], true where a symbol is a pause."""
    f0_zero: float
    """What F0 of 0 Hz is on the model's scale: -mean / deviation."""
    energy_zero: float
    """What energy of 0 is on the model's scale."""

    def of_frames(self, frames: Tensor) -> Tensor:
        """Durations [B, T], not rounded yet, with longer or shorter pauses."""
        return torch.where(self.pauses, frames * self.pause_scale[:, None], frames)

    def of_pitch(self, pitch: Tensor, durations: Tensor) -> Tensor:
        """Z-scored F0 [B, T]; the mean around which its range is scaled is that over the item's frames.

        In hertz: f' = 2^(semitones / 12) * (mean + range * (f - mean)).
        """
        weights = durations.float() / durations.sum(1, keepdim=True)
        values = pitch.float()
        mean = (values * weights).sum(1, keepdim=True)
        ranged = torch.where(self.pitch_range[:, None] == 1, values, mean + self.pitch_range[:, None] * (values - mean))
        return _scaled(ranged, (self.pitch / 12).exp2()[:, None], self.f0_zero).to(pitch.dtype)

    def of_energy(self, energy: Tensor) -> Tensor:
        """Z-scored energy [B, T]."""
        return _scaled(energy.float(), self.energy[:, None], self.energy_zero).to(energy.dtype)


def _scaled(values: Tensor, factor: Tensor, zero: float) -> Tensor:
    """Z-scores of the physical values times a factor; a factor of 1 changes no bit."""
    return torch.where(factor == 1, values, zero + factor * (values - zero))
