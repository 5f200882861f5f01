"""Trained parts of a voice (codec, encoders, a language model's stages), each known by who trained it.

A run embeds the parts that it builds on in its own checkpoints, so that a checkpoint needs no other file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf
from torch import Tensor

from unison.adapters import KIND, merged
from unison.builders import STAGES_OF_METAVOICE, STYLE_ENCODER, style_encoder_identity
from unison.contract.checkpoint import ResolvedCkpt, read_weights, resolve_ckpt
from unison.contract.contract import Contract
from unison.contract.weights import weights_digest
from unison.errors import UnisonError
from unison.models.codec.config import EncodecConfig, TrainedCodecConfig
from unison.vocoders.weight_norm import folded

PREFIXES = {
    "codec": "codec.",
    "speaker_encoder": "speaker_encoder.",
    "first_stage": "first.",
    "second_stage": "second.",
    "style_encoder": "style_encoder.",
    "bert": "reader.model.",
}
"""Where the state dict of what is built on it has each part: a MetaVoice, an EmotiVoice, a style encoder."""


@dataclass(frozen=True)
class Part:
    """A trained part."""

    identity: dict[str, Any]
    """What a contract says of it: `digest` and `step` of the contract that it learnt under, the digest of its
    `weights`, its `model` and what else it is built from."""
    weights: dict[str, Tensor]
    """Its state dict, weight norm folded."""


def parts_in(found: ResolvedCkpt) -> tuple[Contract, dict[str, Part]]:
    """The contract of a checkpoint, and its parts by name, adapters merged.

    Raises:
        UnisonError: it is a voice without parts.
    """
    contract, weights = read_weights(found)
    if parts := _style_encoder(contract, weights):
        return contract, parts
    if contract.family != "metavoice":
        raise UnisonError(f"{found.path}: holds a voice of the {contract.family} family, which has no such parts")
    if contract.kind == KIND:
        raise UnisonError(f"{found.path}: holds adapters without their base; give the run that they are from")
    _, weights = merged(contract, weights)
    tree = contract.tree()
    model = tree.model
    own = {
        "digest": contract.digest,
        "step": contract.step,
        "model": OmegaConf.to_container(model),
        # of the recordings that it learnt from
        "sample_rate": tree.audio.sample_rate,
    }
    if contract.kind in PREFIXES:
        return contract, {contract.kind: Part(own | {"weights": contract.weights_digest}, folded(weights))}
    parts = {name: Part(known, _under(PREFIXES[name], weights)) for name, known in contract.components.items()}
    stage = STAGES_OF_METAVOICE[model.name]
    learnt = _under(PREFIXES[stage], weights)
    parts[stage] = Part(own | {"weights": weights_digest(learnt)}, learnt)
    return contract, parts


def _style_encoder(contract: Contract, weights: Mapping[str, Tensor]) -> dict[str, Part]:
    """That of a style encoder's own checkpoint, or of a voice that has one; nothing of others."""
    name = STYLE_ENCODER
    if contract.kind == name:
        own = {"digest": contract.digest, "step": contract.step, "weights": contract.weights_digest}
        identity = own | {"dim": weights["heads.speed.weight"].shape[1]} | style_encoder_identity(contract)
        return {name: Part(identity, dict(weights))}
    if name in contract.components:
        return {name: Part(contract.components[name], _under(PREFIXES[name], weights))}
    return {}


def codec_part(config: object) -> Part | None:
    """The codec that a config's ``codec`` group names; None when it names none.

    Raises:
        UnisonError: there is no such codec.
    """
    if isinstance(config, EncodecConfig):
        from unison.models.codec.encodec import Encodec

        codec = Encodec.from_pretrained(config)
        weights = dict(codec.state_dict())
        digest = weights_digest(weights)
        model = {"name": "encodec", "settings": codec.settings, "codebooks": codec.codebooks}
        identity = {"digest": digest, "step": 0, "weights": digest, "model": model, "sample_rate": codec.sample_rate}
        return Part(identity, folded(weights))
    if isinstance(config, TrainedCodecConfig) and config.path is not None:
        return part_of("codec", config.path, "codec.path")
    return None


def part_of(name: str, ckpt: str, where: str) -> Part:
    """The part of this name in a checkpoint; `where` is the knob that gave it.

    Raises:
        UnisonError: there is none in it.
    """
    try:
        _, parts = parts_in(resolve_ckpt(ckpt))
    except UnisonError as error:
        raise UnisonError([f"{where}: {problem}" for problem in error.problems]) from error
    if name not in parts:
        has = ", ".join(part.replace("_", " ") for part in parts)
        raise UnisonError(f"{where}={ckpt}: has no {name.replace('_', ' ')}; it has {has}")
    return parts[name]


def rate_problems(codec: Part, rate: int) -> list[str]:
    """What is wrong where a corpus at this sample rate is to be encoded."""
    theirs = codec.identity["sample_rate"]
    if theirs == rate:
        return []
    return [f"audio.sample_rate={rate}: the codec's codes are of {theirs} Hz; choose audio= of that rate"]


def _under(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
