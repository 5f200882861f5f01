"""Low-rank adapters (LoRA, Hu et al. 2021) of a first stage: small matrices that learn beside weights that do not.

peft puts them in for training. In a state dict they are told apart and put together here, so that whoever speaks needs
no peft.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf
from torch import Tensor, nn

from unison.config.finetune import LoraConfig
from unison.config.validate import nearest, validate
from unison.contract.contract import Contract
from unison.errors import UnisonError

KIND = "adapters"
"""What a contract calls adapters without their base."""
ALONE = ("speakers",)
"""Of a voice's state dict, what else a run of adapters changes: the voices that have a name."""

_BASE, _OWN = ".base_layer.", ".lora_"
_DOWN, _UP = ".lora_A.default.weight", ".lora_B.default.weight"


def lora_of(contract: Contract) -> LoraConfig | None:
    """The adapters of the weights that a contract describes; None where there are none."""
    settings = contract.tree().get("finetune") or {"name": "none"}
    if settings["name"] != "lora":
        return None
    return validate({key: value for key, value in settings.items() if key != "name"}, LoraConfig, "finetune")


def insert(blocks: nn.ModuleList, config: LoraConfig) -> None:
    """Give layers of the blocks adapters, which add nothing yet.

    Raises:
        UnisonError: peft is missing; see `problems`.
    """
    if found := problems(config, blocks):
        raise UnisonError(found)
    from peft import LoraConfig as Settings
    from peft import inject_adapter_in_model

    settings: dict[str, Any] = {"r": config.rank, "lora_alpha": config.alpha, "lora_dropout": config.dropout}
    inject_adapter_in_model(Settings(**settings, target_modules=list(config.targets)), blocks)


def problems(config: LoraConfig, blocks: nn.ModuleList) -> list[str]:
    """Why these adapters can't be put in."""
    layers = {name.rpartition(".")[2]: None for name, module in blocks.named_modules() if isinstance(module, nn.Linear)}
    found = [
        f"finetune.targets: a block has no layer {target}{nearest(target, layers)}; it has {', '.join(layers)}"
        for target in config.targets
        if target not in layers
    ]
    if not config.targets:
        found.append(f"finetune.targets=[]: expected some of {', '.join(layers)}")
    if config.rank < 1:
        found.append(f"finetune.rank={config.rank}: expected at least 1")
    if not config.alpha > 0:
        found.append(f"finetune.alpha={config.alpha:g}: expected more than 0; the rank or twice that suits most")
    if not 0 <= config.dropout < 1:
        found.append(f"finetune.dropout={config.dropout:g}: expected from 0 to less than 1")
    if importlib.util.find_spec("peft") is None:
        found.append("finetune=lora trains with peft: pip install 'unison-tts[lora]'")
    return found


def is_adapter(name: str) -> bool:
    """Whether a tensor of this name is an adapter's."""
    return _OWN in name


def around(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A base's weights by the names of a model with the state dict `own`, which keeps its adapters."""
    renamed = {name.replace(_BASE, "."): name for name in own}
    kept = {name: tensor for name, tensor in own.items() if is_adapter(name)}
    return kept | {renamed.get(name, name): tensor for name, tensor in weights.items()}


def merged(contract: Contract, weights: Mapping[str, Tensor]) -> tuple[Contract, dict[str, Tensor]]:
    """The same voice without adapters: what they add is in the weights themselves, rounded to their dtype.

    What is incomplete stays as it is, for who compares names and shapes.
    """
    config = lora_of(contract)
    if config is None:
        return contract, dict(weights)
    plain, taken = dict[str, Tensor](), set[str]()
    for name, weight in weights.items():
        layer, found, _ = name.partition(f"{_BASE}weight")
        down, up = weights.get(layer + _DOWN), weights.get(layer + _UP)
        if not found or down is None or up is None or (up.shape[0], down.shape[1]) != weight.shape:
            continue
        added = config.alpha / config.rank * (up.float() @ down.float())
        plain[f"{layer}.weight"] = (weight.float() + added).to(weight.dtype)
        taken |= {name, layer + _DOWN, layer + _UP}
    tree = contract.tree()
    tree.finetune = {"name": "none"}
    left = {name: tensor for name, tensor in weights.items() if name not in taken}
    return contract.replace(config=OmegaConf.to_yaml(tree)), left | plain


def separated(contract: Contract, weights: Mapping[str, Tensor]) -> tuple[Contract, dict[str, Tensor]]:
    """A voice's adapters without their base, and a contract that says so; its `init_from` parent is the base."""
    kept = {name: tensor for name, tensor in weights.items() if is_adapter(name) or name in ALONE}
    return contract.replace(kind=KIND), kept


def joined(
    contract: Contract, adapters: Mapping[str, Tensor], base: Contract, weights: Mapping[str, Tensor]
) -> tuple[Contract, dict[str, Tensor]]:
    """The voice of a base's weights with adapters that learnt on them; both as they were read.

    Raises:
        UnisonError: these are no adapters; they learnt on another base, or beside parts that it has not.
    """
    if contract.kind != KIND:
        raise UnisonError(f"holds {contract.content}, no adapters; `unison export adapters=separate` writes them")
    known = base_of(contract)
    if known.get("weights") != base.weights_digest:
        raise UnisonError(
            f"learnt on the weights {_short(known.get('weights'))} (step {known.get('step')} of the contract"
            f" {_short(known.get('digest'))}); this checkpoint has {_short(base.weights_digest)} (step {base.step} of"
            f" {_short(base.digest)}): added to others they mean nothing; give the one that they were fine-tuned from"
        )
    _, plain = merged(base, weights)
    if "second_stage" in contract.components and not any(name.startswith("second.") for name in plain):
        raise UnisonError(
            "learnt beside a second stage that this checkpoint has not; `unison export adapters=merged` carries it"
        )
    layers = {name.partition(_OWN)[0] for name in adapters if is_adapter(name)}
    named = {
        f"{layer}{_BASE}weight" if (layer := name.removesuffix(".weight")) in layers else name: tensor
        for name, tensor in plain.items()
    }
    return contract.replace(kind="tts"), named | dict(adapters)


def base_of(contract: Contract) -> dict[str, Any]:
    """What a contract says of the checkpoint that its run went on from."""
    return next((parent for parent in contract.parents if parent.get("role") == "init_from"), {})


def _short(digest: Any) -> str:
    return f"{str(digest)[:12]}…" if digest else "none"
