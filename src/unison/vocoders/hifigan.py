"""HiFi-GAN's generator: V1, V2 and V3 by config."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unison.models.masking import padding_mask
from unison.vocoders.config import HifiGanConfig
from unison.vocoders.vocoder import Vocoder
from unison.vocoders.weight_norm import weight_norm

__all__ = ["HifiGan", "HifiGanConfig"]

SLOPE = 0.1


class Conv(nn.Conv1d):
    """A 1-D convolution that keeps the length, on [B, C, 1, L] in channels-last memory.

    Through the 2-D operator, whose CPU kernels for that layout do not reorder what they read: measured 210 to
    225 GFLOP/s on two cores at 64 and 32 channels, where the 1-D operator gave 60 to 160.
    """

    def __init__(self, n_in: int, n_out: int, kernel: int, dilation: int = 1) -> None:
        margin = dilation * (kernel // 2)
        super().__init__(n_in, n_out, kernel, dilation=dilation, padding=margin)
        self.margin = margin

    def forward(self, x: Tensor) -> Tensor:
        weight, dilation = self.weight[:, :, None], (1, self.dilation[0])
        return F.conv2d(x, weight, self.bias, padding=(0, self.margin), dilation=dilation)


class Upsample(nn.ConvTranspose1d):
    """A transposed convolution to `rate` times the length, as `Conv` on [B, C, 1, L]."""

    def __init__(self, n_in: int, n_out: int, kernel: int, rate: int) -> None:
        margin = (kernel - rate) // 2
        super().__init__(n_in, n_out, kernel, rate, padding=margin)
        self.margin = margin

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        weight, stride = self.weight[:, :, None], (1, self.stride[0])
        return F.conv_transpose2d(x, weight, self.bias, stride, (0, self.margin))


def _blank(x: Tensor, mask: Tensor | None) -> Tensor:
    """Zeros in [B, C, 1, L] where the mask [B, 1, 1, L] is false: what a convolution reads beyond an end."""
    return x if mask is None else x.masked_fill(~mask, 0)


class ResBlock1(nn.Module):
    """x + plain(dilated(x)), once for each dilation."""

    def __init__(self, channels: int, kernel: int, dilations: list[int]) -> None:
        super().__init__()
        self.dilated = nn.ModuleList(weight_norm(Conv(channels, channels, kernel, d)) for d in dilations)
        self.plain = nn.ModuleList(weight_norm(Conv(channels, channels, kernel)) for _ in dilations)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        for dilated, plain in zip(self.dilated, self.plain, strict=True):
            inner = dilated(_blank(F.leaky_relu(x, SLOPE), mask))
            x = plain(_blank(F.leaky_relu(inner, SLOPE, inplace=True), mask)).add_(x)
        return x


class ResBlock2(nn.Module):
    """x + dilated(x), once for each dilation."""

    def __init__(self, channels: int, kernel: int, dilations: list[int]) -> None:
        super().__init__()
        self.dilated = nn.ModuleList(weight_norm(Conv(channels, channels, kernel, d)) for d in dilations)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        for dilated in self.dilated:
            x = dilated(_blank(F.leaky_relu(x, SLOPE), mask)).add_(x)
        return x


class Stage(nn.Module):
    """Upsampling, then the mean of residual blocks with different kernels."""

    def __init__(self, config: HifiGanConfig, channels: int, rate: int, kernel: int) -> None:
        super().__init__()
        self.upsample = weight_norm(Upsample(channels, channels // 2, kernel, rate))
        block = {1: ResBlock1, 2: ResBlock2}[config.resblock]
        self.blocks = nn.ModuleList(
            block(channels // 2, size, dilations)
            for size, dilations in zip(config.resblock_kernels, config.resblock_dilations, strict=True)
        )

    def forward(self, x: Tensor, mask: Tensor | None, upsampled_mask: Tensor | None) -> Tensor:
        x = self.upsample(_blank(F.leaky_relu(x, SLOPE, inplace=True), mask))
        total = self.blocks[0](x, upsampled_mask)
        for block in self.blocks[1:]:
            total = total.add_(block(x, upsampled_mask))
        return total.div_(len(self.blocks))


class HifiGan(Vocoder):
    """Log mel to waveform by transposed convolutions (Kong et al. 2020)."""

    def __init__(self, config: HifiGanConfig, n_mels: int, hop_length: int) -> None:
        super().__init__()
        _check(config, hop_length)
        self.hop_length = hop_length
        self.input = weight_norm(Conv(n_mels, config.channels, 7))
        self.rates = list(config.upsample_rates)
        self.stages = nn.ModuleList(
            Stage(config, config.channels >> i, rate, kernel)
            for i, (rate, kernel) in enumerate(zip(self.rates, config.upsample_kernels, strict=True))
        )
        self.output = weight_norm(Conv(config.channels >> len(self.stages), 1, 7))

    def forward(self, mel: Tensor, lengths: Tensor | None = None, seeds: Sequence[int] | None = None) -> Tensor:
        """As :class:`Vocoder`'s, within [-1, 1]; nothing is left to chance."""
        real = padding_mask(lengths, mel.shape[2])
        mask = None if real is None else real[:, None, None]
        x = mel[:, :, None].contiguous(memory_format=torch.channels_last)
        x = self.input(_blank(x, mask))
        for stage, rate in zip(self.stages, self.rates, strict=True):
            upsampled = None if mask is None else mask.repeat_interleave(rate, dim=3)
            x = stage(x, mask, upsampled)
            mask = upsampled
        x = self.output(_blank(F.leaky_relu(x, 0.01, inplace=True), mask))
        return _blank(torch.tanh(x.float()), mask).squeeze(2)


def _check(config: HifiGanConfig, hop_length: int) -> None:
    rates, kernels = config.upsample_rates, config.upsample_kernels
    if math.prod(rates) != hop_length:
        raise ValueError(
            f"upsample_rates {list(rates)} multiply to {math.prod(rates)}, but hop_length is {hop_length}; "
            "choose rates whose product is the hop length and kernels twice as large, or vocoder=istft, which takes any"
        )
    if len(kernels) != len(rates) or any(k < r or (k - r) % 2 for k, r in zip(kernels, rates, strict=False)):
        raise ValueError(
            f"upsample_kernels {list(kernels)} do not fit upsample_rates {list(rates)}; "
            "give one kernel a rate, at least as large and differing by an even number"
        )
    if len(config.resblock_kernels) != len(config.resblock_dilations):
        raise ValueError("resblock_dilations must hold one list for each of resblock_kernels")
    if any(kernel % 2 == 0 for kernel in config.resblock_kernels):
        raise ValueError(f"resblock_kernels {list(config.resblock_kernels)} hold an even one; give odd kernels")
    if config.resblock not in (1, 2):
        raise ValueError(f"resblock is {config.resblock}; it must be 1 or 2")
    if config.channels % (1 << len(rates)):
        raise ValueError(f"channels {config.channels} can't be halved {len(rates)} times")
