"""A convolutional codec: encoder, residual vector quantisation, decoder; trained as a whole."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unison.models.codec.config import CodecConfig
from unison.models.codec.interface import AudioCodec
from unison.models.codec.layers import (
    ACTIVATIONS,
    Chain,
    Conv,
    Lengthen,
    Pieces,
    ResidualUnit,
    Shorten,
    Whole,
    gather,
    spread,
)
from unison.models.codec.quantizer import Quantizer
from unison.models.codec.spectrum import Analysis, Synthesis
from unison.models.masking import padding_mask
from unison.vocoders.weight_norm import weight_norm


@dataclass
class CodedSpeech:
    """What a training step sees of a batch."""

    reconstruction: Tensor
    """Waveform, float32 [B, 1, L]."""
    commitment: Tensor
    """How far the vectors lie from what they are quantised to: mean squared error, meant over the codebooks."""
    codes: Tensor
    """int64 [B, K, T]; -1 where quantizer dropout left a codebook out."""


class Codec(AudioCodec):
    """SEANet-like convolutions (Tagliasacchi et al. 2020) around a residual quantiser (Zeghidour et al. 2021).

    The waveform is padded with silence to whole frames; from there on every layer divides evenly and hears silence
    beyond both ends, so what comes out is T * hop_length samples without any trimming (see `layers`).
    """

    def __init__(self, config: CodecConfig, sample_rate: int) -> None:
        super().__init__()
        _check(config)
        self.sample_rate, self.patch = sample_rate, config.patch
        self.hop_length = config.patch * math.prod(config.strides)
        self.codebooks, self.codebook_size = config.codebooks, config.codebook_size
        self.analysis = Analysis(config.spectrum, config.patch, causal=config.causal) if config.spectrum else None
        self.encoder, self.quantizer, self.decoder = _encoder(config), Quantizer(config), _decoder(config)
        self.synthesis = Synthesis(config.spectrum, config.patch) if config.spectrum else None

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> CodedSpeech:
        """Waveform [B, 1, L], lengths [B] in samples, through the bottleneck."""
        self.check_waveform(waveform, lengths)
        mask = self._mask(waveform, lengths)
        latent = self._latent(waveform, lengths, mask)
        quantised, codes, commitment = self.quantizer(latent, mask)
        return CodedSpeech(self._sound(quantised, Whole(mask))[..., : waveform.shape[2]], commitment, codes)

    def encode(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """As :class:`AudioCodec`'s."""
        self.check_waveform(waveform, lengths)
        mask = self._mask(waveform, lengths)
        codes = self.quantizer.encode(self._latent(waveform, lengths, mask))
        return codes if mask is None else codes.masked_fill(~mask[:, None], 0)

    def decode(self, codes: Tensor, lengths: Tensor | None = None) -> Tensor:
        """As :class:`AudioCodec`'s, within [-1, 1]."""
        self.check_codes(codes, lengths)
        mask = padding_mask(lengths, codes.shape[2])
        waveform = self._sound(self.quantizer.decode(codes), Whole(mask))
        return waveform if mask is None else waveform * mask.repeat_interleave(self.hop_length, dim=1)[:, None]

    def stream(self) -> CodecStream:
        """As :class:`AudioCodec`'s. A causal codec gives hop_length samples at once for every frame."""
        return CodecStream(self)

    def _mask(self, waveform: Tensor, lengths: Tensor | None) -> Tensor | None:
        """Which frames are real, [B, T]; None when all are."""
        return None if lengths is None else padding_mask(self.frames(lengths), -(-waveform.shape[2] // self.hop_length))

    def _latent(self, waveform: Tensor, lengths: Tensor | None, mask: Tensor | None) -> Tensor:
        real = padding_mask(lengths, waveform.shape[2])
        if real is not None:
            waveform = waveform.masked_fill(~real[:, None], 0)
        waveform = F.pad(waveform, (0, -waveform.shape[2] % self.hop_length))
        heard = gather(waveform, self.patch) if self.analysis is None else self.analysis(waveform)
        return self.encoder(heard, Whole(mask))

    def _sound(self, vectors: Tensor, ends: Whole | Pieces) -> Tensor:
        """Vectors [B, D, T] to a waveform [B, 1, T * hop_length]; of a piece, as much of it as is certain."""
        said = self.decoder(vectors, ends)
        waveform = spread(said, self.patch) if self.synthesis is None else self.synthesis(said, ends)
        return torch.tanh(waveform.float())


class CodecStream:
    """A :class:`DecoderStream` of a :class:`Codec`; each layer keeps the few frames that its next piece needs."""

    def __init__(self, codec: Codec) -> None:
        self._codec, self._pieces = codec, Pieces()
        self._nothing: Tensor | None = None

    @torch.inference_mode()
    def feed(self, codes: Tensor) -> Tensor:
        """As :class:`DecoderStream`'s."""
        self._go_on()
        self._codec.check_codes(codes)
        vectors = self._codec.quantizer.decode(codes)
        self._nothing = vectors[..., :0]
        return self._codec._sound(vectors, self._pieces)

    @torch.inference_mode()
    def flush(self) -> Tensor:
        """As :class:`DecoderStream`'s."""
        self._go_on()
        self._pieces.last = True
        if self._nothing is None:
            return torch.zeros(1, 1, 0)
        return self._codec._sound(self._nothing, self._pieces)

    def _go_on(self) -> None:
        if self._pieces.last:
            raise ValueError("this stream was flushed; begin another with stream()")


def _channels(config: CodecConfig) -> list[int]:
    """Channels of every stage, the outermost first, and of the frame rate."""
    return [min(round(config.channels * config.growth**i), config.max_channels) for i in range(len(config.strides) + 1)]


def _units(config: CodecConfig, channels: int, dilations: list[int]) -> list[ResidualUnit]:
    return [
        ResidualUnit(channels, config.residual_kernel, dilation, config.activation, causal=config.causal)
        for dilation in dilations
    ]


def _encoder(config: CodecConfig) -> Chain:
    """[B, patch or bins, T * product of strides] to [B, codebook_dim, T]."""
    n_in = config.spectrum // 2 + 1 if config.spectrum else config.patch
    channels, causal, activation = _channels(config), config.causal, ACTIVATIONS[config.activation]
    layers: list[nn.Module] = [weight_norm(Conv(n_in, channels[0], config.kernel, causal=causal))]
    for outer, inner, stride in zip(channels, channels[1:], config.strides, strict=False):
        layers += _units(config, outer, config.dilations)
        layers += [activation(outer), Shorten(outer, inner, stride, causal=causal)]
    layers += _units(config, channels[-1], config.frame_dilations)
    layers += [activation(channels[-1]), weight_norm(Conv(channels[-1], config.codebook_dim, 3, causal=causal))]
    return Chain(*layers)


def _decoder(config: CodecConfig) -> Chain:
    """[B, codebook_dim, T] to [B, patch or twice the bins, T * product of strides]."""
    n_out = 2 * (config.spectrum // 2 + 1) if config.spectrum else config.patch
    channels, causal, activation = _channels(config)[::-1], config.causal, ACTIVATIONS[config.activation]
    layers: list[nn.Module] = [weight_norm(Conv(config.codebook_dim, channels[0], config.kernel, causal=causal))]
    layers += _units(config, channels[0], config.frame_dilations)
    for inner, outer, stride in zip(channels, channels[1:], config.strides[::-1], strict=False):
        layers += [activation(inner), Lengthen(inner, outer, stride, causal=causal)]
        layers += _units(config, outer, config.dilations)
    layers += [activation(channels[-1]), weight_norm(Conv(channels[-1], n_out, config.kernel, causal=causal))]
    return Chain(*layers)


def _check(config: CodecConfig) -> None:
    sizes = ("patch", "channels", "max_channels", "kernel", "residual_kernel")
    counts = {name: getattr(config, name) for name in (*sizes, "codebooks", "codebook_size", "codebook_dim")}
    lists = {name: list(getattr(config, name)) for name in ("strides", "dilations", "frame_dilations")}
    counts |= {name: min(values) for name, values in lists.items() if values}
    if low := sorted(name for name, value in counts.items() if value < 1):
        raise ValueError(f"{', '.join(low)}: a codec's sizes are 1 or more")
    if not config.strides:
        raise ValueError("strides is empty; give the factors whose product, times patch, is the hop")
    if config.spectrum % config.patch or config.spectrum == config.patch or config.spectrum % 2:
        raise ValueError(
            f"spectrum {config.spectrum} does not fit patch {config.patch}; give an even multiple of it, twice or more"
        )
    if config.activation not in ACTIVATIONS:
        raise ValueError(f"activation is {config.activation!r}; it must be one of {', '.join(ACTIVATIONS)}")
    if not config.causal and not (config.kernel % 2 and config.residual_kernel % 2):
        raise ValueError(
            f"kernel {config.kernel} and residual_kernel {config.residual_kernel} must be odd unless causal is true"
        )
    if not 0 <= config.quantizer_dropout <= 1 or not 0 <= config.revive_below < 1 or not 0 < config.codebook_decay < 1:
        raise ValueError(
            f"quantizer_dropout {config.quantizer_dropout} is a share (0 to 1), and so are revive_below "
            f"{config.revive_below} and codebook_decay {config.codebook_decay} (below 1)"
        )
