"""The one mel definition: preparation, losses, vocoders, metrics and previews all use it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unison.audio.geometry import AudioGeometry

# keeps the gradient of the magnitude finite where the spectrum is zero
_POWER_FLOOR = 1e-9


def mel_filterbank(geometry: AudioGeometry) -> np.ndarray:
    """Triangular filters on Slaney's mel scale, each of unit area in Hz.

    The scale is linear below 1 kHz (200/3 Hz a mel) and logarithmic above (27 mels to a factor of 6.4), as
    in Slaney's Auditory Toolbox.

    Returns:
        float64 [n_mels, n_fft // 2 + 1].
    """

    def to_mel(hz: np.ndarray | float) -> np.ndarray:
        hz = np.asarray(hz, dtype=np.float64)
        return np.where(hz < 1000, hz * 3 / 200, 15 + 27 * np.log(np.maximum(hz, 1000) / 1000) / np.log(6.4))

    def to_hz(mel: np.ndarray) -> np.ndarray:
        return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(np.log(6.4) * (mel - 15) / 27))

    edges = to_hz(np.linspace(to_mel(geometry.fmin), to_mel(geometry.fmax), geometry.n_mels + 2))[:, None]
    bins = np.linspace(0, geometry.sample_rate / 2, geometry.n_fft // 2 + 1)[None, :]
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    triangles = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)).clip(min=0)
    return triangles * 2 / (high - low)


class MelSpectrogram(nn.Module):
    """Natural-log mel spectrogram of a waveform; differentiable, always in float32.

    The window and the filters are float32 whatever dtype the surrounding module is cast to.
    """

    window: Tensor
    basis: Tensor

    def __init__(self, geometry: AudioGeometry) -> None:
        super().__init__()
        self.geometry = geometry
        basis = torch.from_numpy(mel_filterbank(geometry)).float()
        self.register_buffer("window", torch.hann_window(geometry.win_length, dtype=torch.float32), False)
        self.register_buffer("basis", basis, False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> MelSpectrogram:
        window, basis = self.window, self.basis
        super()._apply(fn, recurse)
        if self.window.dtype != torch.float32:
            self.window, self.basis = window.to(self.window.device), basis.to(self.basis.device)
        return self

    def magnitude(self, waveform: Tensor) -> Tensor:
        """Magnitude spectrogram whose frame i is centred on sample i * hop_length + hop_length / 2.

        Args:
            waveform: float [..., L].

        Returns:
            float32 [..., n_fft // 2 + 1, F], F = L // hop_length.
        """
        geometry = self.geometry
        with torch.autocast(waveform.device.type, enabled=False):
            flat = waveform.float().reshape(-1, 1, waveform.shape[-1])
            left = (geometry.n_fft - geometry.hop_length) // 2
            right = geometry.n_fft - geometry.hop_length - left
            # a reflection needs more samples than it mirrors
            missing = max(right + 1, geometry.hop_length) - flat.shape[-1]
            if missing > 0:
                flat = F.pad(flat, (0, missing))
            spectrum = torch.stft(
                F.pad(flat, (left, right), mode="reflect").squeeze(1),
                geometry.n_fft,
                geometry.hop_length,
                geometry.win_length,
                self.window,
                center=False,
                return_complex=True,
            )
            power = spectrum.real.square() + spectrum.imag.square()
            magnitude = (power + _POWER_FLOOR).sqrt()[..., : waveform.shape[-1] // geometry.hop_length]
            return magnitude.unflatten(0, waveform.shape[:-1]) if waveform.dim() > 1 else magnitude[0]

    def compress(self, magnitude: Tensor) -> Tensor:
        """Magnitudes [..., n_fft // 2 + 1, F] to log mel [..., n_mels, F]."""
        with torch.autocast(magnitude.device.type, enabled=False):
            return (self.basis @ magnitude.float()).clamp(min=self.geometry.log_floor).log()

    def forward(self, waveform: Tensor) -> Tensor:
        """Waveform [..., L] to log mel float32 [..., n_mels, L // hop_length]."""
        return self.compress(self.magnitude(waveform))


@lru_cache(maxsize=16)
def mel_spectrogram(geometry: AudioGeometry, device: torch.device) -> MelSpectrogram:
    """The shared transform of a geometry on a device."""
    # tensors born in inference mode could not take part in a later backward pass
    with torch.inference_mode(False):
        return MelSpectrogram(geometry).to(device)


def log_mel(waveform: Tensor, geometry: AudioGeometry) -> Tensor:
    """Natural-log mel spectrogram: reflect padding of (n_fft - hop) / 2, Hann window, Slaney mel filters.

    Args:
        waveform: float [..., L], full scale is 1.
        geometry: frame and band layout.

    Returns:
        float32 [..., n_mels, F], F = L // hop_length.
    """
    mel: Tensor = mel_spectrogram(geometry, waveform.device)(waveform)
    return mel
