"""Fine-tuning a first stage: the base's sizes and geometry, and which of its parameters learn (``finetune=``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from unison import adapters
from unison.builders import STAGES_OF_METAVOICE
from unison.config.finetune import LastBlocksConfig, LoraConfig, NoFinetuning
from unison.config.train import TrainConfig
from unison.contract.checkpoint import read_contract, resolve_ckpt
from unison.contract.compare import SPOKEN_WITH
from unison.contract.contract import Contract
from unison.errors import UnisonError
from unison.models.metavoice.config import FirstStageConfig
from unison.models.metavoice.first_stage import FirstStage

MODEL = "metavoice_first"
_LEARNING = ("dropout", "speaker_dropout", "joined_seconds")
"""Of a model's settings, those that are the run's own: how it learns."""


def of_base(tree: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The configuration with the sizes and the geometry of the base that `finetune=` goes on from.

    What it is spoken with is the base's too, unless it is typed.

    Args:
        tree: a composed configuration.
        overrides: what was typed.

    Raises:
        UnisonError: there is no such base; sizes that were typed are not its own.
    """
    name = (tree.get("finetune") or {}).get("name", "none")
    if name == "none":
        return tree
    if tree.model.get("name") != MODEL:
        raise UnisonError(f"finetune={name}: for model={MODEL} alone, found model={tree.model.get('name')}")
    if tree.init_from is None:
        raise UnisonError(
            f"finetune={name} goes on from a voice: init_from=<a MetaVoice that was converted or trained>"
        )
    base = read_contract(resolve_ckpt(tree.init_from, "init_from").path)
    try:
        model = first_stage_of(base)
    except UnisonError as error:
        raise UnisonError([f"init_from={tree.init_from}: {problem}" for problem in error.problems]) from error
    typed = {_key(override) for override in overrides}
    free = {*_LEARNING, *(name for name in SPOKEN_WITH if f"model.{name}" in typed)}
    sizes = {key: value for key, value in model.items() if key not in free}
    theirs = OmegaConf.create({"model": sizes, "audio": base.geometry})
    if problems := [line for override in overrides if (line := _contradiction(override, tree, theirs, name))]:
        raise UnisonError(problems)
    merged = OmegaConf.merge(tree, theirs)
    assert isinstance(merged, DictConfig)
    return merged


def typed_of_base(tree: DictConfig) -> list[str]:
    """What has to be typed, so that a run's own configuration comes out of :func:`of_base` as it is."""
    if tree.finetune.name == "none":
        return []
    return [f"model.{name}={'null' if tree.model[name] is None else tree.model[name]}" for name in SPOKEN_WITH]


def first_stage_of(base: Contract) -> Mapping[str, Any]:
    """The settings of a voice's first stage, by the name of each.

    Raises:
        UnisonError: it has none.
    """
    if base.family != "metavoice" or base.kind != "tts":
        raise UnisonError(f"holds {base.content} of the {base.family} family; finetune= goes on from a MetaVoice")
    model: Any = OmegaConf.to_container(base.tree().model)
    if STAGES_OF_METAVOICE[model["name"]] == "first_stage":
        return dict(model)
    return dict(base.components["first_stage"]["model"])


def problems(config: TrainConfig) -> list[str]:
    """What is wrong with how a run is to be fine-tuned."""
    finetune, model = config.finetune, config.model
    if isinstance(finetune, NoFinetuning) or not isinstance(model, FirstStageConfig):
        return []
    if isinstance(finetune, LastBlocksConfig) and not 1 <= finetune.blocks <= model.layers:
        return [f"finetune.blocks={finetune.blocks}: the first stage has {model.layers}; expected 1 to {model.layers}"]
    if isinstance(finetune, LoraConfig):
        with torch.device("meta"):
            return adapters.problems(finetune, FirstStage(model, 2, 2).blocks)
    return []


def frozen(voice: nn.Module, finetune: object) -> list[str]:
    """Names of the parameters that fine-tuning leaves as they are."""
    names = [name for name, _ in voice.named_parameters()]
    if isinstance(finetune, LoraConfig):
        return [name for name in names if not adapters.is_adapter(name)]
    if isinstance(finetune, LastBlocksConfig):
        blocks = voice.get_submodule("first.blocks")
        assert isinstance(blocks, nn.ModuleList)
        layers = len(blocks)
        last = [f"first.blocks.{layer}." for layer in range(layers - finetune.blocks, layers)]
        return [name for name in names if not name.startswith(("first.norm.", *last))]
    return []


def _key(override: str) -> str:
    return override.lstrip("+").partition("=")[0]


def _contradiction(override: str, tree: DictConfig, theirs: DictConfig, name: str) -> str | None:
    """Why an override can't be had: it asks for other sizes or another geometry than the base's."""
    key = _key(override)
    # model=metavoice_first says what is trained, and not of which sizes
    if key.partition(".")[0] not in theirs or override == f"model={MODEL}":
        return None
    wanted, own = OmegaConf.select(tree, key), OmegaConf.select(theirs, key)
    if own is None or wanted == own:
        return None
    if OmegaConf.is_config(own):
        differing = [field for field in own if wanted.get(field) != own[field]]
        if not differing:
            return None
        key, own = f"{key}.{differing[0]}", own[differing[0]]
    return f"{override}: finetune={name} goes on with the base's own sizes and geometry ({key}={own}); leave it out"
