"""Losses of vocoder training. All compute in float32 and return scalars."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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


def mel_loss(fake: Tensor, real: Tensor, mel: Callable[[Tensor], Tensor]) -> Tensor:
    """L1 between the log mels of two waveforms [B, 1, L]; `mel` takes [B, L]."""
    return F.l1_loss(mel(fake.float().squeeze(1)), mel(real.float().squeeze(1)))


class MultiResolutionStftLoss(nn.Module):
    """Spectral convergence plus L1 of log magnitudes, meant over resolutions (Yamamoto et al. 2020)."""

    def __init__(self, n_ffts: Sequence[int] = (512, 1024, 2048)) -> None:
        super().__init__()
        self.n_ffts = list(n_ffts)
        for n_fft in self.n_ffts:
            self.register_buffer(f"window_{n_fft}", torch.hann_window(n_fft), persistent=False)

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """Waveforms [B, 1, L] to a scalar; an FFT longer than the waveform reads zeros around it."""
        with torch.autocast(fake.device.type, enabled=False):
            losses = []
            for n_fft in self.n_ffts:
                made, target = self._magnitude(fake, n_fft), self._magnitude(real, n_fft)
                convergence = torch.linalg.vector_norm(target - made) / torch.linalg.vector_norm(target)
                losses.append(convergence + F.l1_loss(made.log(), target.log()))
            return torch.stack(losses).mean()

    def _magnitude(self, waveform: Tensor, n_fft: int) -> Tensor:
        window = self.get_buffer(f"window_{n_fft}").float()
        signal = F.pad(waveform.float().squeeze(1), (n_fft // 2, n_fft // 2))
        spectrum = torch.stft(signal, n_fft, n_fft // 4, window=window, center=False, return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()
        return power.clamp(min=1e-7).sqrt()
