"""Losses of vocoder training. All compute in float32 and return scalars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def discriminator_loss(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """LSGAN (Mao et al. 2017): logits are drawn to 1 for real and 0 for generated; summed over judges."""
    pairs = zip(real, fake, strict=True)
    return torch.stack([(1 - r.float()).square().mean() + f.float().square().mean() for r, f in pairs]).sum()


def generator_loss(fake: Sequence[Tensor]) -> Tensor:
    """LSGAN: logits for generated audio are drawn to 1; summed over judges."""
    return torch.stack([(1 - f.float()).square().mean() for f in fake]).sum()


def feature_loss(real: Sequence[Sequence[Tensor]], fake: Sequence[Sequence[Tensor]]) -> Tensor:
    """Feature matching (Larsen et al. 2016): L1 between feature maps, summed over layers and judges.

    No gradient reaches `real`. HiFi-GAN weighs this by 2.
    """
    pairs = [(r, f) for rs, fs in zip(real, fake, strict=True) for r, f in zip(rs, fs, strict=True)]
    return torch.stack([F.l1_loss(f.float(), r.detach().float()) for r, f in pairs]).sum()


Features = TypeVar("Features")


def energy_distance(distance: Callable[[Features, Features], Tensor], real: Features, draws: list[Features]) -> Tensor:
    """How badly random draws foretell the real one: their mean distance to it, less half that between each other.

    A single draw's is the plain distance, which is least for what is in the middle of all that could be said, a
    spectrum without texture; this one is least for draws that vary as recordings do (Gritsenko et al. 2020).
    """
    to_real = torch.stack([distance(draw, real) for draw in draws]).mean()
    apart = [distance(one, other) for one, other in combinations(draws, 2)]
    return to_real - torch.stack(apart).mean() / 2 if apart else to_real


def mel_loss(draws: Sequence[Tensor], real: Tensor, mel: Callable[[Tensor], Tensor]) -> Tensor:
    """:func:`energy_distance` by L1 between the log mels of waveforms [B, 1, L]; `mel` takes [B, L]."""
    return energy_distance(F.l1_loss, mel(real.float().squeeze(1)), [mel(x.float().squeeze(1)) for x in draws])


class MultiResolutionStftLoss(nn.Module):
    """:func:`energy_distance` by spectral convergence plus L1 of log magnitudes (Yamamoto et al. 2020), meant over
    resolutions."""

    def __init__(self, n_ffts: Sequence[int]) -> None:
        super().__init__()
        self.n_ffts = list(n_ffts)
        for n_fft in self.n_ffts:
            self.register_buffer(f"window_{n_fft}", torch.hann_window(n_fft), persistent=False)

    def forward(self, draws: Sequence[Tensor], real: Tensor) -> Tensor:
        """Waveforms [B, 1, L] to a scalar; an FFT longer than the waveform reads zeros around it."""
        with torch.autocast(real.device.type, enabled=False):
            return torch.stack([self._loss(draws, real, n_fft) for n_fft in self.n_ffts]).mean()

    def _loss(self, draws: Sequence[Tensor], real: Tensor, n_fft: int) -> Tensor:
        target, *made = (self._magnitude(x, n_fft) for x in (real, *draws))
        scale = torch.linalg.vector_norm(target)

        def distance(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> Tensor:
            return torch.linalg.vector_norm(a[0] - b[0]) / scale + F.l1_loss(a[1], b[1])

        return energy_distance(distance, (target, target.log()), [(x, x.log()) for x in made])

    def _magnitude(self, waveform: Tensor, n_fft: int) -> Tensor:
        window = self.get_buffer(f"window_{n_fft}").float()
        signal = F.pad(waveform.float().squeeze(1), (n_fft // 2, n_fft // 2))
        spectrum = torch.stft(signal, n_fft, n_fft // 4, window=window, center=False, return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()
        return power.clamp(min=1e-7).sqrt()
