"""Sizes of the vocoders and discriminators. No import of torch: commands read this for their help."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class HifiGanConfig:
    """HiFi-GAN's generator (Kong et al. 2020); the defaults are V1 (13.9 M parameters at 80 mels)."""

    channels: int = 512
    """Channels before the first upsampling; each upsampling halves them."""
    upsample_rates: list[int] = field(default_factory=lambda: [8, 8, 2, 2])
    """Factors of the upsampling stages; their product is the hop length."""
    upsample_kernels: list[int] = field(default_factory=lambda: [16, 16, 4, 4])
    """Kernels of the upsamplings: each at least its factor, and differing from it by an even number."""
    resblock: int = 1
    """1: pairs of a dilated and a plain convolution (V1, V2); 2: dilated convolutions alone (V3)."""
    resblock_kernels: list[int] = field(default_factory=lambda: [3, 7, 11])
    """Kernels of the residual blocks, which run side by side in each stage and are averaged; odd."""
    resblock_dilations: list[list[int]] = field(default_factory=lambda: [[1, 3, 5], [1, 3, 5], [1, 3, 5]])
    """Dilations of each residual block, one list a kernel."""


@dataclass
class IstftConfig:
    """A Vocos-like head (Siuzdak 2023): ConvNeXt blocks at the frame rate, then one inverse STFT."""

    width: int = 512
    """Channels of the backbone."""
    layers: int = 8
    """ConvNeXt blocks."""
    ffn: int = 1536
    """Inner width of a block."""
    kernel: int = 7
    """Kernel of the depthwise convolutions, in frames; odd."""


@dataclass
class GriffinLimConfig:
    """Phase found by iteration (Griffin and Lim 1984, fast form by Perraudin et al. 2013); nothing learnt."""

    n_iter: int = 60
    """Iterations; each costs one STFT and one inverse."""
    momentum: float = 0.99
    """Acceleration; 0 is the plain algorithm."""
    power: float = 1.0
    """Exponent of the magnitudes; above 1 sharpens a blurred mel."""


@dataclass
class NoVocoderConfig:
    """For models that make waveforms themselves, or none."""


@dataclass
class DiscriminatorConfig:
    """What judges waveforms; the defaults are EmotiVoice's (70.7 M parameters)."""

    kinds: list[str] = field(default_factory=lambda: ["multi_period", "multi_scale"])
    """Any of multi_period, multi_scale, multi_resolution."""
    channel_scale: float = 1.0
    """Factor on all channels; 0.0625 makes discriminators of a few 100,000 parameters."""
    periods: list[int] = field(default_factory=lambda: [2, 3, 5, 7, 11])
    """Periods in samples of the multi-period discriminators."""
    scales: int = 3
    """Multi-scale discriminators; each hears the waveform at half the rate of the one before."""
    n_ffts: list[int] = field(default_factory=lambda: [512, 1024, 2048])
    """FFT sizes of the multi-resolution discriminators; hops are a quarter of them."""
