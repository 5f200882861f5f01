"""What judges waveforms in adversarial training: by period, by scale, by spectrogram."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from unison.vocoders.config import DiscriminatorConfig
from unison.vocoders.weight_norm import weight_norm

__all__ = ["Discriminator", "DiscriminatorConfig"]

SLOPE = 0.1


def _scaled(channels: int, scale: float, multiple: int) -> int:
    """channels * scale, rounded to a multiple of `multiple`, at least one of it."""
    return max(1, round(channels * scale / multiple)) * multiple


class PeriodDiscriminator(nn.Module):
    """Sees every `period`-th sample at each of the offsets (Kong et al. 2020)."""

    def __init__(self, period: int, scale: float) -> None:
        super().__init__()
        self.period = period
        sizes = [1, *(_scaled(channels, scale, 4) for channels in (32, 128, 512, 1024, 1024))]
        strides = [3, 3, 3, 3, 1]
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv2d(sizes[i], sizes[i + 1], (5, 1), (stride, 1), padding=(2, 0)))
            for i, stride in enumerate(strides)
        )
        self.output = weight_norm(nn.Conv2d(sizes[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Waveform [B, 1, L] to logits [B, N] and the layers' outputs [B, C, N, period]."""
        x = F.pad(x, (0, -x.shape[2] % self.period), mode="reflect").unflatten(2, (-1, self.period))
        features = []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), SLOPE, inplace=True)
            features.append(x)
        x = self.output(x)
        features.append(x)
        return x.flatten(1), features


class ScaleDiscriminator(nn.Module):
    """Sees the waveform through grouped convolutions with long kernels (MelGAN, Kumar et al. 2019)."""

    def __init__(self, scale: float, spectral: bool) -> None:
        super().__init__()
        norm = spectral_norm if spectral else weight_norm
        sizes = [1, *(_scaled(channels, scale, 16) for channels in (128, 128, 256, 512, 1024, 1024, 1024))]
        kernels, strides, groups = (
            [15, 41, 41, 41, 41, 41, 5],
            [1, 2, 2, 4, 4, 1, 1],
            [1, 4, 16, 16, 16, 16, 1],
        )
        self.convs = nn.ModuleList(
            norm(nn.Conv1d(sizes[i], sizes[i + 1], k, stride, padding=k // 2, groups=group))
            for i, (k, stride, group) in enumerate(zip(kernels, strides, groups, strict=True))
        )
        self.output = norm(nn.Conv1d(sizes[-1], 1, 3, padding=1))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Waveform [B, 1, L] to logits [B, N] and the layers' outputs."""
        features = []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), SLOPE, inplace=True)
            features.append(x)
        x = self.output(x)
        features.append(x)
        return x.flatten(1), features


class ResolutionDiscriminator(nn.Module):
    """Sees the magnitude spectrogram at one resolution (UnivNet, Jang et al. 2021)."""

    window: Tensor

    def __init__(self, n_fft: int, scale: float) -> None:
        super().__init__()
        self.n_fft = n_fft
        channels = _scaled(32, scale, 4)
        # Kernels and strides in (frames, bins)
        kernels, strides = [(3, 9)] * 4 + [(3, 3)], [(1, 1)] + [(1, 2)] * 3 + [(1, 1)]
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv2d(channels if i else 1, channels, k, stride, padding=(k[0] // 2, k[1] // 2)))
            for i, (k, stride) in enumerate(zip(kernels, strides, strict=True))
        )
        self.output = weight_norm(nn.Conv2d(channels, 1, (3, 3), padding=(1, 1)))
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Waveform [B, 1, L] to logits [B, N] and the layers' outputs."""
        with torch.autocast(x.device.type, enabled=False):
            signal = F.pad(x.float().squeeze(1), (self.n_fft // 2, self.n_fft // 2))
            spectrum = torch.stft(
                signal,
                self.n_fft,
                self.n_fft // 4,
                window=self.window.float(),
                center=False,
                return_complex=True,
            )
            # abs() has no gradient at zero, where silence is
            power = spectrum.real.square() + spectrum.imag.square()
            y = (power + 1e-9).sqrt().transpose(1, 2)[:, None]
        features = []
        for conv in self.convs:
            y = F.leaky_relu(conv(y), SLOPE, inplace=True)
            features.append(y)
        y = self.output(y)
        features.append(y)
        return y.flatten(1), features


class Discriminator(nn.Module):
    """All judges of a run. Multi-scale ones hear the waveform at full rate, half, a quarter, and so on."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        unknown = sorted(set(config.kinds) - {"multi_period", "multi_scale", "multi_resolution"})
        if unknown or not config.kinds:
            raise ValueError(
                f"discriminator kinds are {list(config.kinds)}; give at least one of "
                "multi_period, multi_scale, multi_resolution"
            )
        scale = config.channel_scale
        periods = config.periods if "multi_period" in config.kinds else []
        scales = config.scales if "multi_scale" in config.kinds else 0
        n_ffts = config.n_ffts if "multi_resolution" in config.kinds else []
        self.periods = nn.ModuleList(PeriodDiscriminator(period, scale) for period in periods)
        # As in MelGAN's successors, the one at full rate is held by spectral normalisation
        self.scales = nn.ModuleList(ScaleDiscriminator(scale, spectral=i == 0) for i in range(scales))
        self.resolutions = nn.ModuleList(ResolutionDiscriminator(n_fft, scale) for n_fft in n_ffts)

    def forward(self, waveform: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        """Waveform [B, 1, L] to each judge's logits [B, N] and each judge's feature maps, a list a judge."""
        judged = [judge(waveform) for judge in self.periods]
        heard = waveform
        for i, judge in enumerate(self.scales):
            heard = F.avg_pool1d(heard, 4, 2, padding=2) if i else heard
            judged.append(judge(heard))
        judged += [judge(waveform) for judge in self.resolutions]
        return [logits for logits, _ in judged], [features for _, features in judged]
