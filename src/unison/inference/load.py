"""``unison.load``: whatever a checkpoint holds, ready to use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unison.contract.checkpoint import read_contract, resolve_ckpt
from unison.errors import UnisonError
from unison.inference import synthesizer
from unison.inference.codec import load_codec
from unison.inference.parts import KINDS, load_encoder

_ENCODERS = {kind: model for model, kind in KINDS.items() if kind != "codec"}


def load(ckpt: str | Path, device: str = "auto", precision: str | None = None, **voice: Any) -> Any:
    """What a checkpoint file, a run folder or an exported folder holds.

    Args:
        ckpt: where it is.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        precision: null takes what training ran with.
        voice: of a voice alone, what else :func:`unison.inference.synthesizer.load` takes.

    Returns:
        A :class:`unison.inference.synthesizer.Synthesizer`; of a codec, a :class:`unison.inference.codec.SpeechCodec`;
        of a speaker or style encoder, a :class:`unison.models.speaker_encoder.SpeakerEncoder` or
        :class:`unison.models.style_encoder.StyleEncoder`, always in float32.

    Raises:
        UnisonError: the checkpoint is missing, damaged or not one of ours; device or precision are not to be had.
    """
    contract = read_contract(resolve_ckpt(ckpt).path)
    kind = contract.kind
    if kind not in ("codec", *_ENCODERS):
        return synthesizer.load(ckpt, device, precision, **voice)
    if voice:
        raise UnisonError([f"{name}: ckpt={ckpt} holds {contract.content}, no voice" for name in voice])
    return load_codec(ckpt, device, precision) if kind == "codec" else load_encoder(ckpt, _ENCODERS[kind], device)
