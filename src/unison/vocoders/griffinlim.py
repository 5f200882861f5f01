"""Griffin-Lim: a mel heard without a trained vocoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from unison.audio.geometry import AudioGeometry
from unison.audio.mel import mel_filterbank
from unison.models.masking import padding_mask
from unison.vocoders.config import GriffinLimConfig
from unison.vocoders.stft import overlap_add, random_phases, spectra
from unison.vocoders.vocoder import Vocoder

__all__ = ["GriffinLim", "GriffinLimConfig"]

MEL_INVERSION_STEPS = 50


class GriffinLim(Vocoder):
    """Log mel to waveform by phases that come to agree with the magnitudes; nothing learnt."""

    window: Tensor
    basis: Tensor

    def __init__(self, config: GriffinLimConfig, geometry: AudioGeometry) -> None:
        super().__init__()
        self.config = config
        self.n_fft, self.hop_length = geometry.n_fft, geometry.hop_length
        margin = geometry.n_fft - geometry.win_length
        window = F.pad(torch.hann_window(geometry.win_length), (margin // 2, margin - margin // 2))
        basis = torch.from_numpy(mel_filterbank(geometry)).float()
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("basis", basis, persistent=False)

    @torch.no_grad()
    def forward(self, mel: Tensor, lengths: Tensor | None = None, seeds: Sequence[int] | None = None) -> Tensor:
        """As :class:`Vocoder`'s; the seeds draw the phases that the search starts from."""
        with torch.autocast(mel.device.type, enabled=False):
            mask = padding_mask(lengths, mel.shape[2])
            samples = None if lengths is None else lengths * self.hop_length
            magnitude = self.magnitude(mel.float().transpose(1, 2)) ** self.config.power
            window, momentum = self.window.float(), self.config.momentum
            phases = random_phases(mel.shape[2], self.n_fft // 2 + 1, seeds or [0] * len(mel))
            spectrum = torch.polar(magnitude, phases.to(mel.device))
            before = torch.zeros_like(spectrum)
            for _ in range(self.config.n_iter):
                consistent = spectra(
                    overlap_add(spectrum, window, self.hop_length, mask), window, self.hop_length, samples
                )
                # The step beyond the projection that makes it fast
                ahead = consistent - momentum / (1 + momentum) * before
                spectrum = magnitude * ahead / ahead.abs().clamp(min=1e-12)
                before = consistent
            return overlap_add(spectrum, window, self.hop_length, mask)[:, None]

    def magnitude(self, mel: Tensor) -> Tensor:
        """Log mel [B, F, n_mels] to linear magnitudes [B, F, n_fft // 2 + 1].

        Non-negative least squares by multiplicative updates (Lee and Seung 2001): unlike a pseudo-inverse
        they never amplify what the mel bands can't tell, and the empty bands of short FFTs do no harm.
        """
        target, basis = mel.exp(), self.basis.float()
        reached = target @ basis
        linear = reached / basis.sum(0).clamp(min=1e-8) / basis.sum(1).max()
        gram = basis.T @ basis
        for _ in range(MEL_INVERSION_STEPS):
            linear = linear * reached / (linear @ gram).clamp(min=1e-12)
        return linear
