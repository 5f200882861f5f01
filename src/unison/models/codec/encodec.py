"""EnCodec (Défossez et al. 2022) as Hugging Face has it, behind the interface of a codec."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unison.errors import UnisonError
from unison.models.codec.config import EncodecConfig
from unison.models.codec.interface import AudioCodec


class Encodec(AudioCodec):
    """A pretrained codec; nothing of it is trained here.

    `settings` are those of its config.json, from which it is built again without the folder it came from.
    """

    def __init__(self, settings: dict[str, Any], codebooks: int) -> None:
        """Random weights, for a state dict to be loaded into.

        Raises:
            UnisonError: transformers is missing, or the settings are of no mono EnCodec with these codebooks.
        """
        super().__init__()
        transformers = _transformers()
        # a plain copy: what else a config remembers is where it was found
        self.settings = {name: value for name, value in settings.items() if name not in _VOLATILE}
        config = transformers.EncodecConfig.from_dict(self.settings)
        _check_settings(config, codebooks)
        self.model = transformers.EncodecModel(config).eval().requires_grad_(False)
        self.sample_rate, self.hop_length = config.sampling_rate, config.hop_length
        self.codebooks, self.codebook_size = codebooks, config.codebook_size
        self._bandwidth = _bandwidths(config)[codebooks]

    @classmethod
    def from_pretrained(cls, config: EncodecConfig) -> Encodec:
        """The model of a local folder or a hub id.

        Raises:
            UnisonError: transformers is missing; there is no EnCodec; it has no such number of codebooks.
        """
        model = _load(config.path)
        codec = cls(model.config.to_dict(), config.codebooks)
        codec.model.load_state_dict(model.state_dict())
        return codec

    def train(self, mode: bool = True) -> Encodec:
        """It stays as it is: a frozen part of whatever is trained around it."""
        return super().train(False)

    def encode(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """As :class:`AudioCodec`'s. The model reflects a signal at its ends: only items of one length go together."""
        self.check_waveform(waveform, lengths)

        def encode(items: Tensor) -> Tensor:
            return self.model.encode(items, bandwidth=self._bandwidth).audio_codes[0]

        return _by_length(encode, waveform, lengths, self.frames)

    def decode(self, codes: Tensor, lengths: Tensor | None = None) -> Tensor:
        """As :class:`AudioCodec`'s; items of one length go together."""
        self.check_codes(codes, lengths)

        def decode(items: Tensor) -> Tensor:
            return self.model.decode(items[None], [None]).audio_values.float()

        return _by_length(decode, codes, lengths, lambda frames: frames * self.hop_length)

    def stream(self) -> EncodecStream | BufferedStream:
        """As :class:`AudioCodec`'s: as frames come in for a causal model, all at the end for another."""
        return EncodecStream(self) if self.causal else BufferedStream(self)

    @property
    def causal(self) -> bool:
        """Whether samples depend on no later frame, as in the 24 kHz model."""
        config = self.model.config
        return config.use_causal_conv and config.trim_right_ratio == 1 and config.norm_type == "weight_norm"


class BufferedStream:
    """A :class:`DecoderStream` that decodes when all is there, for a model in which every sample hears every frame."""

    def __init__(self, codec: Encodec) -> None:
        self._codec = codec
        self._codes: list[Tensor] = []
        self._ended = False

    def feed(self, codes: Tensor) -> Tensor:
        """As :class:`DecoderStream`'s: no samples yet."""
        _go_on(self._ended)
        self._codec.check_codes(codes)
        self._codes.append(codes)
        return torch.zeros(len(codes), 1, 0, device=codes.device)

    @torch.inference_mode()
    def flush(self) -> Tensor:
        """As :class:`DecoderStream`'s: all samples."""
        _go_on(self._ended)
        self._ended = True
        codes = torch.cat(self._codes, dim=2) if self._codes else torch.zeros(1, self._codec.codebooks, 0)
        return self._codec.decode(codes) if codes.shape[2] else torch.zeros(len(codes), 1, 0, device=codes.device)


class EncodecStream:
    """A :class:`DecoderStream` of a causal model: the layers' last inputs and the LSTM's state are kept.

    At its start the model reflects what it is given, so the first samples wait for the frames to reflect.
    """

    def __init__(self, codec: Encodec) -> None:
        self._codec = codec
        self._kept: dict[nn.Module, Any] = {}
        self._begun: set[nn.Module] = set()
        self._ended = False
        self._nothing: Tensor | None = None

    @torch.inference_mode()
    def feed(self, codes: Tensor) -> Tensor:
        """As :class:`DecoderStream`'s."""
        _go_on(self._ended)
        self._codec.check_codes(codes)
        vectors = self._codec.model.quantizer.decode(codes.transpose(0, 1))
        self._nothing = vectors[..., :0]
        return self._chain(self._codec.model.decoder.layers, vectors).float()

    @torch.inference_mode()
    def flush(self) -> Tensor:
        """As :class:`DecoderStream`'s; samples only where the signal was too short to reflect."""
        _go_on(self._ended)
        self._ended = True
        if self._nothing is None:
            return torch.zeros(1, 1, 0)
        return self._chain(self._codec.model.decoder.layers, self._nothing).float()

    def _chain(self, layers: nn.ModuleList, x: Tensor) -> Tensor:
        for layer in layers:
            x = self._layer(layer, x)
        return x

    def _layer(self, layer: Any, x: Tensor) -> Tensor:
        kind = type(layer).__name__
        if kind == "EncodecConv1d":
            return self._conv(layer, x)
        if kind == "EncodecConvTranspose1d":
            return self._transposed(layer, x)
        if kind == "EncodecLSTM":
            return self._lstm(layer, x)
        if kind == "EncodecResnetBlock":
            return self._block(layer, x)
        return layer(x)

    def _conv(self, layer: Any, x: Tensor) -> Tensor:
        before = int(layer.padding_total)
        x = torch.cat([self._kept.get(layer, x[..., :0]), x], dim=2)
        if layer not in self._begun:
            if not x.shape[2] or (x.shape[2] <= before and not self._ended):
                self._kept[layer] = x
                return x.new_zeros(x.shape[0], layer.conv.out_channels, 0)
            self._begun.add(layer)
            x = layer._pad1d(x, (before, 0), mode=layer.pad_mode)
        self._kept[layer] = x[..., x.shape[2] - before :].clone()
        return layer.conv(x) if x.shape[2] > before else x.new_zeros(x.shape[0], layer.conv.out_channels, 0)

    def _transposed(self, layer: Any, x: Tensor) -> Tensor:
        stride, kernel = layer.conv.stride[0], layer.conv.kernel_size[0]
        known = self._kept.get(layer, x[..., :0])
        if not x.shape[2]:
            return x.new_zeros(x.shape[0], layer.conv.out_channels, 0)
        x = torch.cat([known, x], dim=2)
        # the frames that reach into what comes next
        self._kept[layer] = x[..., max(0, x.shape[2] - math.ceil(kernel / stride) + 1) :].clone()
        return layer.conv(x)[..., known.shape[2] * stride : x.shape[2] * stride]

    def _lstm(self, layer: Any, x: Tensor) -> Tensor:
        if not x.shape[2]:
            return x
        y, self._kept[layer] = layer.lstm(x.permute(2, 0, 1), self._kept.get(layer))
        return y.permute(1, 2, 0) + x

    def _block(self, layer: Any, x: Tensor) -> Tensor:
        y = self._chain(layer.block, x)
        x = torch.cat([self._kept.get(layer, x[..., :0]), x], dim=2)
        self._kept[layer] = x[..., y.shape[2] :].clone()
        # a pointwise convolution, or nothing
        return layer.shortcut(x[..., : y.shape[2]]) + y if y.shape[2] else y


_HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+")
_VOLATILE = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures")


def _go_on(ended: bool) -> None:
    if ended:
        raise ValueError("this stream was flushed; begin another with stream()")


def _by_length(
    work: Callable[[Tensor], Tensor], x: Tensor, lengths: Tensor | None, sized: Callable[[Tensor], Tensor]
) -> Tensor:
    """`work` on the items of each length [B, C, length], put together again; zeros beyond each item's result."""
    if lengths is None:
        return work(x)
    results: list[Tensor] = [x] * len(x)
    for length in lengths.unique().tolist():
        items = (lengths == length).nonzero()[:, 0]
        for item, result in zip(items.tolist(), work(x[items, :, :length]), strict=True):
            results[item] = result
    size = int(sized(torch.tensor(x.shape[2])))
    return torch.stack([F.pad(result, (0, size - result.shape[-1])) for result in results])


def _transformers() -> Any:
    # what it imports beside it warns of things that are neither its user's nor ours
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)
    try:
        import transformers
    except ImportError as error:
        raise UnisonError("codec=encodec needs transformers: pip install 'unison-tts[encodec]'") from error
    return transformers


def _load(path: str) -> Any:
    transformers = _transformers()
    transformers.utils.logging.disable_progress_bar()
    local = Path(path).expanduser()
    if local.is_dir() and not (local / "config.json").is_file():
        raise UnisonError(f"codec.path={path}: no config.json in this folder; expected a Hugging Face EnCodec's")
    if not local.is_dir() and not _HUB_ID.fullmatch(path):
        expected = "a folder of a Hugging Face EnCodec, or a hub id, as facebook/encodec_24khz"
        raise UnisonError(f"codec.path={path}: there is no such folder; expected {expected}")
    where = str(local) if local.is_dir() else path
    try:
        settings = transformers.AutoConfig.from_pretrained(where, trust_remote_code=False)
    except Exception as error:  # transformers and what it reads with raise many kinds
        raise UnisonError(_unreadable(path, error)) from error
    if settings.model_type != "encodec":
        raise UnisonError(
            f"codec.path={path}: this is a {settings.model_type} model; expected an encodec one, "
            "as facebook/encodec_24khz"
        )
    try:
        model, loading = transformers.EncodecModel.from_pretrained(
            where, trust_remote_code=False, output_loading_info=True, dtype=torch.float32
        )
    except Exception as error:
        raise UnisonError(_unreadable(path, error)) from error
    if absent := sorted(loading["missing_keys"]):
        raise UnisonError(
            f"codec.path={path}: weights missing ({', '.join(absent[:4])}) would be random; its files are incomplete"
        )
    return model


def _unreadable(path: str, error: Exception) -> str:
    reason = str(error).strip().partition("\n")[0]
    if Path(path).expanduser().is_dir():
        return f"codec.path={path}: its files are incomplete or damaged ({reason})"
    return (
        f"codec.path={path}: it is no local folder, and as a hub id it can't be had: check the name, or fetch it where "
        f"there is a network (hf download {path} --local-dir encodec) and give that folder ({reason})"
    )


def _bandwidths(config: Any) -> dict[int, float]:
    """The model's bandwidths in kbit/s by the codebooks they take."""
    each = config.codebook_nbits * config.frame_rate / 1000
    return {max(1, math.floor(bandwidth / each)): bandwidth for bandwidth in config.target_bandwidths}


def _check_settings(config: Any, codebooks: int) -> None:
    if config.audio_channels != 1 or config.normalize or config.chunk_length_s is not None:
        raise UnisonError(
            f"codec=encodec: this model has {config.audio_channels} channels, normalize={config.normalize} and "
            f"chunk_length_s={config.chunk_length_s}; expected one whose codes alone are the sound, mono, neither "
            "normalised nor in chunks, as facebook/encodec_24khz"
        )
    if codebooks not in (known := _bandwidths(config)):
        raise UnisonError(f"codec.codebooks={codebooks}: this model takes {', '.join(map(str, sorted(known)))}")
