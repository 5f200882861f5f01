"""Noise and colour: what a recording brings besides the voice is made to differ, so that the voice alone is learnt."""

from __future__ import annotations

import torch
from torch import Tensor

from unison.models.speaker_encoder.config import AugmentationConfig


def add_noise(waveforms: Tensor, config: AugmentationConfig, generator: torch.Generator) -> Tensor:
    """Waveforms [N, L] with white noise at a level drawn for each.

    The generator, on the CPU, decides everything, so that a step can be repeated.
    """
    quietest, loudest = config.noise_db
    levels = quietest + (loudest - quietest) * torch.rand(len(waveforms), 1, generator=generator)
    noise = torch.randn(waveforms.shape, generator=generator) * 10 ** (levels / 20)
    return waveforms + noise.to(waveforms.device) * waveforms.square().mean(-1, keepdim=True).sqrt()


def colour(mels: Tensor, config: AugmentationConfig, generator: torch.Generator) -> Tensor:
    """Power mels [N, T, n_mels], each with its own spectral tilt and gap of bands; the generator as for noise."""
    bands = mels.shape[-1]
    tilts = config.tilt_db * (2 * torch.rand(len(mels), 1, generator=generator) - 1)
    gains = 10 ** (tilts * torch.linspace(-1, 1, bands) / 10)
    width = torch.randint(config.masked_bands + 1, (len(mels), 1), generator=generator)
    start = (torch.rand(len(mels), 1, generator=generator) * (bands - width + 1)).long()
    index = torch.arange(bands)
    gains = gains.masked_fill((index >= start) & (index < start + width), 0.0)
    return mels * gains[:, None].to(mels.device)
