"""Codecs: waveforms to a few codes a frame and back, whole or piece by piece.

Names load on first use, so that reading `CodecConfig` costs no import of torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from unison.models.codec.config import CodecConfig, EncodecConfig

if TYPE_CHECKING:
    from unison.models.codec.codec import Codec, CodedSpeech
    from unison.models.codec.encodec import Encodec
    from unison.models.codec.interface import AudioCodec, DecoderStream

__all__ = ["AudioCodec", "Codec", "CodecConfig", "CodedSpeech", "DecoderStream", "Encodec", "EncodecConfig"]

_HOMES = {
    "AudioCodec": "interface",
    "Codec": "codec",
    "CodedSpeech": "codec",
    "DecoderStream": "interface",
    "Encodec": "encodec",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"unison.models.codec.{_HOMES[name]}"), name)
