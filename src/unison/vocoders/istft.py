"""A Vocos-like head with a noise part: all layers at the frame rate, then one inverse STFT. The fast vocoder."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unison.models.masking import padding_mask
from unison.vocoders.config import IstftConfig
from unison.vocoders.stft import overlap_add, random_phases
from unison.vocoders.vocoder import Vocoder

__all__ = ["IstftConfig", "IstftHead"]


class ConvNextBlock(nn.Module):
    """Depthwise convolution over time, then a two-layer perceptron at each frame (Liu et al. 2022)."""

    def __init__(self, width: int, ffn: int, kernel: int, scale: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.inner = nn.Linear(width, ffn)
        self.outer = nn.Linear(ffn, width)
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """[B, C, F] to the same, zero where the mask [B, 1, F] is false."""
        inner = self.norm(self.depthwise(x).transpose(1, 2))
        x = x + (self.scale * self.outer(F.gelu(self.inner(inner)))).transpose(1, 2)
        return x if mask is None else x.masked_fill(~mask, 0)


class IstftHead(Vocoder):
    """Log mel to a spectrum to a waveform: F frames give F * hop samples.

    Of each bin it says a magnitude and a phase (Vocos, Siuzdak 2023) and a magnitude of noise, whose phase is drawn
    (deterministic plus stochastic, Serra and Smith 1990). Phases that follow from a smooth mel repeat from frame to
    frame: breath and hiss made of them hum at the frame rate and ring at its multiples, and noise does not.

    The layers follow the precision of the run; the inverse STFT is always float32.
    """

    window: Tensor

    def __init__(self, config: IstftConfig, n_mels: int, n_fft: int, hop_length: int) -> None:
        super().__init__()
        if config.kernel % 2 == 0:
            raise ValueError(f"kernel {config.kernel} is even; a convolution that keeps the length needs an odd one")
        if n_fft < 2 * hop_length:
            raise ValueError(f"n_fft {n_fft} is less than twice hop_length {hop_length}; frames would leave holes")
        self.n_fft, self.hop_length = n_fft, hop_length
        self.input = nn.Conv1d(n_mels, config.width, config.kernel, padding=config.kernel // 2)
        self.input_norm = nn.LayerNorm(config.width, eps=1e-6)
        self.blocks = nn.ModuleList(
            ConvNextBlock(config.width, config.ffn, config.kernel, 1 / config.layers) for _ in range(config.layers)
        )
        self.output_norm = nn.LayerNorm(config.width, eps=1e-6)
        self.output = nn.Linear(config.width, 3 * (n_fft // 2 + 1))
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        for layer in self.modules():
            if isinstance(layer, nn.Conv1d | nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    def forward(self, mel: Tensor, lengths: Tensor | None = None, seeds: Sequence[int] | None = None) -> Tensor:
        """As :class:`Vocoder`'s; the seeds draw the noise's phases."""
        real = padding_mask(lengths, mel.shape[2])
        phases = random_phases(mel.shape[2], self.n_fft // 2 + 1, seeds or [0] * len(mel))
        return self._sound(self._parts(mel, real), phases.to(mel.device), real)

    def draws(self, mel: Tensor) -> list[Tensor]:
        """Two waveforms [B, 1, L] of the same spectrum, each with noise of its own from torch's generator."""
        parts = self._parts(mel, None)
        # drawn on the CPU: the same on every device
        turns = torch.rand(2, mel.shape[0], mel.shape[2], self.n_fft // 2 + 1)
        return [self._sound(parts, phases, None) for phases in (2 * math.pi * turns).to(mel.device)]

    def _parts(self, mel: Tensor, real: Tensor | None) -> Tensor:
        """[B, F, 3 * bins], float32: log magnitudes, phases, log magnitudes of the noise."""
        mask = None if real is None else real[:, None]
        if mask is not None:
            mel = mel.masked_fill(~mask, 0)
        x = self.input_norm(self.input(mel).transpose(1, 2)).transpose(1, 2)
        if mask is not None:
            x = x.masked_fill(~mask, 0)
        for block in self.blocks:
            x = block(x, mask)
        return self.output(self.output_norm(x.transpose(1, 2))).float()

    def _sound(self, parts: Tensor, noise_phase: Tensor, real: Tensor | None) -> Tensor:
        with torch.autocast(parts.device.type, enabled=False):
            log_magnitude, phase, log_noise = parts.chunk(3, dim=-1)
            # The limit keeps one wild frame from drowning the rest, as in Vocos
            tone = torch.polar(log_magnitude.exp().clamp(max=1e2), phase)
            noise = torch.polar(log_noise.exp().clamp(max=1e2), noise_phase)
            return overlap_add(tone + noise, self.window.float(), self.hop_length, real)[:, None]
