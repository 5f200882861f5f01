"""Sizes of the codecs. No import of torch: commands read this for their help."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class CodecConfig:
    """A convolutional codec with residual vector quantisation (SoundStream, EnCodec, DAC).

    patch times the product of strides is the hop: sample_rate / hop frames a second, each of `codebooks` codes. The
    defaults are of EnCodec's size: at 24 kHz 75 frames a second, 6 kbit/s.
    """

    patch: int = 1
    """Samples that the outermost convolutions read and write at once; above 1 the layers at full rate are spared."""
    spectrum: int = 0
    """Samples of the frames, patch apart, of which the encoder reads the log magnitudes and for which the decoder says
    magnitudes and phases (as Vocos does): what a waveform must be spelt out for is then given, and far fewer steps of
    training and operations do. A multiple of patch; 0 reads and writes the samples themselves."""
    channels: int = 32
    """Channels of the outermost stage."""
    growth: float = 2.0
    """Factor on the channels from a stage to the next, inwards."""
    max_channels: int = 512
    """Most channels of a stage."""
    strides: list[int] = field(default_factory=lambda: [2, 4, 5, 8])
    """Factors by which the encoder's stages shorten the signal; the decoder's lengthen it by the same, last first."""
    kernel: int = 7
    """Kernel of the outermost and innermost convolutions."""
    residual_kernel: int = 7
    """Kernel of the residual units."""
    dilations: list[int] = field(default_factory=lambda: [1, 3, 9])
    """Dilations of the residual units of a stage, one unit each."""
    frame_dilations: list[int] = field(default_factory=list)
    """Dilations of further residual units at the frame rate, in encoder and decoder alike."""
    activation: str = "elu"
    """elu (EnCodec), snake (DAC: x + sin(ax)^2 / a, with a learnt for each channel) or leaky_relu, which costs a
    processor least."""
    causal: bool = True
    """A frame hears nothing that comes after it, so that decoding waits for nothing; otherwise kernels are odd and look
    to both sides, and a stream runs behind by what they look ahead."""
    codebooks: int = 8
    """Codes of a frame, each refining those before it."""
    codebook_size: int = 1024
    """Entries of a codebook."""
    codebook_dim: int = 128
    """Width of an entry; encoder and decoder project to it, so a narrow one makes factorised codes."""
    quantizer_dropout: float = 0.0
    """Share of the training steps with only some of the first codebooks, so that these alone are a signal as well."""
    codebook_decay: float = 0.99
    """Share of an entry kept at each step; the rest comes from the vectors that it was nearest to."""
    revive_below: float = 0.1
    """An entry used less than this share of the average starts anew from a vector of the batch; 0 revives none."""
    rotation_trick: bool = True
    """Gradients pass the quantiser turned and scaled as the vector was (Fifty et al. 2024), not straight through."""


@dataclass
class NoCodecConfig:
    """For models that read no codes."""


@dataclass
class TrainedCodecConfig:
    """A codec that was trained here."""

    path: str | None = None
    """Its run folder, a checkpoint or an exported folder."""


@dataclass
class EncodecConfig:
    """The Hugging Face EnCodec; it comes with its weights."""

    path: str = "facebook/encodec_24khz"
    """A local folder or a hub id."""
    codebooks: int = 8
    """Codes of a frame; at 24 kHz each is 0.75 kbit/s, and the model allows 2, 4, 8, 16 or 32."""


CODECS: dict[str, type] = {"none": NoCodecConfig, "trained": TrainedCodecConfig, "encodec": EncodecConfig}
"""Config by name of what a language model's codes come from."""
