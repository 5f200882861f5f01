"""The trained parts that a run builds on: where they come from, and whether they belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from unison.builders import STAGES_OF_METAVOICE, STYLE_ENCODER, build_part
from unison.config.train import TrainConfig, model_name
from unison.contract.checkpoint import read_contract, resolve_ckpt
from unison.contract.weights import check_state
from unison.errors import UnisonError
from unison.models.emotivoice.config import EmotiVoiceConfig
from unison.models.metavoice.config import SecondStageConfig
from unison.models.style_encoder.config import StyleEncoderConfig
from unison.parts import PREFIXES, Part, codec_part, part_of, parts_in, rate_problems
from unison.style.config import PromptStyleConfig

NONE = "none"
"""``second_stage=none``: the first stage predicts all codebooks."""


@dataclass(frozen=True)
class Components:
    """What a run builds on."""

    parts: dict[str, Part]
    """By name: of a language model `codec`, `speaker_encoder` and perhaps the other stage; of a voice that reads
    prompts its `style_encoder`; of a style encoder perhaps a `bert`."""
    tokenizer: dict[str, Any] = field(default_factory=dict)
    """The one that the base or the other stage reads by; empty where the corpus is to give one."""


def gathered(config: TrainConfig, checkpoint: Path | None) -> Components | None:
    """What the run builds on: of a resumed one what its own checkpoint holds; None where a model builds on nothing.

    Raises:
        UnisonError: a part is missing, or two learnt from different codes.
    """
    model = model_name(config.model)
    if isinstance(config.style, PromptStyleConfig) and isinstance(config.model, EmotiVoiceConfig):
        return Components({STYLE_ENCODER: _style_encoder(config.style, config.init_from, checkpoint)})
    if isinstance(config.model, StyleEncoderConfig):
        return _bert(config.model, config.init_from, checkpoint)
    if model not in STAGES_OF_METAVOICE:
        return None
    own, problems = STAGES_OF_METAVOICE[model], list[str]()
    parts: dict[str, Part] = {}
    given: dict[str, str] = {}
    tokenizer: dict[str, Any] = {}

    def take(source: str, found: Mapping[str, Part]) -> None:
        for name, part in found.items():
            if name in parts and parts[name].identity["weights"] != part.identity["weights"]:
                theirs, ours = (known.identity["weights"][:12] for known in (part, parts[name]))
                problems.append(
                    f"{source}: has another {name.replace('_', ' ')} ({theirs}) than {given[name]} ({ours}): what was"
                    " learnt with the one means something else with the other"
                )
            if name not in parts:
                parts[name], given[name] = part, source

    if checkpoint is not None:
        contract, found = parts_in(resolve_ckpt(checkpoint))
        return Components({name: part for name, part in found.items() if name != own}, contract.tokenizer)
    try:
        if config.init_from is not None:
            contract, found = parts_in(resolve_ckpt(config.init_from))
            tokenizer = contract.tokenizer
            take(f"init_from={config.init_from}", {name: part for name, part in found.items() if name != own})
        other = "second_stage" if own == "first_stage" else "first_stage"
        voice = getattr(config, other)
        if voice not in (None, NONE):
            stage = part_of(other, voice, other)
            contract, found = parts_in(resolve_ckpt(voice))
            if tokenizer and tokenizer != contract.tokenizer:
                problems.append(f"{other}={voice}: reads by other byte pairs than init_from={config.init_from}")
            tokenizer = contract.tokenizer
            take(f"{other}={voice}", {name: found[name] for name in ("codec", "speaker_encoder")} | {other: stage})
        codec = codec_part(config.codec)
        if codec is not None:
            take("codec", {"codec": codec})
        if config.speaker_encoder is not None:
            encoder = part_of("speaker_encoder", config.speaker_encoder, "speaker_encoder")
            take(f"speaker_encoder={config.speaker_encoder}", {"speaker_encoder": encoder})
    except UnisonError as error:
        problems += error.problems
    else:
        problems += _missing(config, parts)
    if problems:
        raise UnisonError(problems)
    return Components(parts, tokenizer)


def _style_encoder(style: PromptStyleConfig, init_from: str | None, checkpoint: Path | None) -> Part:
    """What reads the prompts of a voice: the resumed run's own, the one that is given, or that of its base."""
    if checkpoint is not None:
        return part_of(STYLE_ENCODER, str(checkpoint), "resume")
    if style.path is not None:
        return part_of(STYLE_ENCODER, style.path, "style.path")
    if init_from is not None:
        return part_of(STYLE_ENCODER, init_from, "init_from")
    raise UnisonError("style=prompt reads prompts: style.path=outputs/<a run of model=style_encoder>")


def _bert(model: StyleEncoderConfig, init_from: str | None, checkpoint: Path | None) -> Components | None:
    """The BERT that a style encoder is trained from; of a run that goes on from a checkpoint what that says of it."""
    if model.bert is None:
        return None
    going_on = checkpoint or init_from
    if going_on is not None:
        contract = read_contract(resolve_ckpt(going_on).path)
        if "bert" not in contract.style:
            raise UnisonError(f"init_from={init_from}: has no BERT that could be trained on; leave model.bert out")
        return Components({"bert": Part({"bert": contract.style["bert"]}, {})})
    from unison.models.style_encoder.bert import described

    description, weights = described(model.bert)
    return Components({"bert": Part({"bert": description}, weights)})


def _missing(config: TrainConfig, parts: Mapping[str, Part]) -> list[str]:
    model, rate = model_name(config.model), config.audio.sample_rate
    problems = []
    if "codec" not in parts:
        problems.append(
            f"model={model} reads a codec's codes: codec.path=outputs/<a run of model=codec>, or codec=encodec"
        )
    else:
        problems += rate_problems(parts["codec"], rate)
        codec = build_part(parts["codec"].identity, parts["codec"].weights)
        problems += _codebook_problems(config, parts, codec.codebooks)
    if "speaker_encoder" not in parts:
        problems.append(f"model={model} is told the voice: speaker_encoder=outputs/<a run of model=speaker_encoder>")
    return problems


def _codebook_problems(config: TrainConfig, parts: Mapping[str, Part], codebooks: int) -> list[str]:
    """Whether the stages share out the codec's codebooks."""
    model, has = config.model, f"the codec has {codebooks} codebooks"
    if isinstance(model, SecondStageConfig):
        problems = []
        if first := parts.get("first_stage"):
            predicted = first.identity["model"]["codebooks"]
            if model.given != predicted:
                problems.append(f"model.given={model.given}: the first stage predicts {predicted}")
        if model.given + model.predicted != codebooks:
            left = codebooks - model.given
            problems.append(
                f"model.predicted={model.predicted}: {has}, of which {model.given} are given: {left} are left"
            )
        return problems
    if config.second_stage == NONE and model.codebooks != codebooks:
        return [f"second_stage=none: {has}, so model.codebooks={codebooks}, found {model.codebooks}"]
    if second := parts.get("second_stage"):
        given = second.identity["model"]["given"]
        if model.codebooks != given:
            return [f"model.codebooks={model.codebooks}: the second stage is given {given}"]
    return [f"model.codebooks={model.codebooks}: {has}"] if model.codebooks > codebooks else []


def embed(components: Components, voice: nn.Module) -> None:
    """Give a voice its parts' weights."""
    state = {
        PREFIXES[name] + key: tensor for name, part in components.parts.items() for key, tensor in part.weights.items()
    }
    own, prefixes = voice.state_dict(), tuple(PREFIXES[name] for name, part in components.parts.items() if part.weights)
    check_state({name: tensor for name, tensor in own.items() if name.startswith(prefixes)}, state)
    voice.load_state_dict(own | state)
