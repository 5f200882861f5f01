"""A codec's spectral ends: log magnitudes in, magnitudes and phases out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unison.models.codec.layers import Ends, spread

QUIET = 1e-3
"""Amplitude below which the encoder's scale goes from logarithmic to linear, so that silence is 0."""


class Analysis(nn.Module):
    """Log magnitudes of overlapping frames, `hop` samples apart."""

    window: Tensor

    def __init__(self, size: int, hop: int, *, causal: bool) -> None:
        super().__init__()
        self.size, self.hop = size, hop
        self.before = (size - hop) if causal else (size - hop) // 2
        self.register_buffer("window", torch.hann_window(size), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """[B, 1, T * hop] to float32 [B, size // 2 + 1, T]; silence is 0."""
        with torch.autocast(waveform.device.type, enabled=False):
            around = (self.before, self.size - self.hop - self.before)
            frames = F.pad(waveform[:, 0].float(), around).unfold(1, self.size, self.hop)
            amplitude = torch.fft.rfft(frames * self.window.float()).abs() * 2 / self.size
            return (amplitude / QUIET).log1p().mT


class Synthesis(nn.Module):
    """Magnitudes and phases of overlapping frames to samples, by inverse FFTs.

    The sum of a block of `hop` samples has all frames that reach into it, so a stream runs behind by half of them.
    """

    window: Tensor

    def __init__(self, size: int, hop: int) -> None:
        super().__init__()
        self.size, self.hop, self.overlap = size, hop, size // hop
        # shifted copies of a Hann window sum up to half their number
        self.register_buffer("window", torch.hann_window(size) * 2 / self.overlap, persistent=False)

    def forward(self, x: Tensor, ends: Ends) -> Tensor:
        """[B, 2 * (size // 2 + 1), T], log magnitudes before phases, to float32 [B, 1, T * hop]."""
        with torch.autocast(x.device.type, enabled=False):
            magnitude, phase = x.float().chunk(2, dim=1)
            # The limit keeps one wild frame from drowning the rest, as in Vocos
            spectrum = torch.polar(magnitude.exp().clamp(max=1e2), phase)
            # an FFT of nothing is an error
            frames = torch.fft.irfft(spectrum, self.size, dim=1) if x.shape[2] else x.new_zeros(len(x), self.size, 0)
            frames = frames * self.window.float()[:, None]
        after = self.overlap // 2
        frames = ends.around(self, frames, self.overlap - 1 - after, after)
        blocks = max(0, frames.shape[2] - self.overlap + 1)
        parts = frames.unflatten(1, (self.overlap, self.hop)).unbind(1)
        shifts = range(self.overlap - 1, -1, -1)
        return spread(
            torch.stack([p[..., s : s + blocks] for p, s in zip(parts, shifts, strict=True)]).sum(0), self.hop
        )
