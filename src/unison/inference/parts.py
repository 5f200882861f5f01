"""Trained models that are not voices by themselves, from their checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from torch import nn

from unison.builders import trained_voice
from unison.contract.checkpoint import read_state, resolve_ckpt
from unison.contract.contract import Contract
from unison.contract.weights import check_weights
from unison.errors import UnisonError
from unison.inference.synthesizer import choose_device
from unison.models.codec.codec import Codec
from unison.models.speaker_encoder.encoder import SpeakerEncoder
from unison.models.style_encoder.encoder import StyleEncoder

KINDS: dict[type[nn.Module], str] = {
    Codec: "codec",
    SpeakerEncoder: "speaker_encoder",
    StyleEncoder: "style_encoder",
}
"""What a contract calls them."""

Model = TypeVar("Model", bound=nn.Module)


def trained_part(ckpt: str | Path, model: type[Model]) -> tuple[Contract, Model]:
    """The contract and the model of a checkpoint file, a run folder or an exported folder.

    Weights are verified, weight norm is folded, and the model is in eval mode.

    Raises:
        UnisonError: the checkpoint is missing, damaged or of another kind.
    """
    found = resolve_ckpt(ckpt)
    contract, weights = read_state(found)
    kind = KINDS[model]
    if contract.kind != kind:
        wanted = f"a {kind.replace('_', ' ')}; `train.py model={kind}` trains one"
        raise UnisonError(f"ckpt={ckpt}: holds {contract.content}, expected {wanted}")
    part = trained_voice(contract, weights, str(found.file))
    check_weights(weights, contract.weights_digest, str(found.file))
    assert isinstance(part, model)
    return contract, part


def load_encoder(ckpt: str | Path, model: type[Model], device: str = "auto") -> Model:
    """The speaker or style encoder of a checkpoint; always in float32, so that the same has one vector everywhere.

    Args:
        ckpt: a checkpoint file, a run folder or an exported folder.
        model: which of the two.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises:
        UnisonError: the checkpoint is missing, damaged or no such encoder; the device is not to be had.
    """
    target = choose_device(device)
    _, encoder = trained_part(ckpt, model)
    return encoder.to(target)
