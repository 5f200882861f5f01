"""``unison export``: what speaking needs and nothing else, as a folder of safetensors and JSON."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from unison import adapters
from unison.config.tools import ExportConfig
from unison.config.validate import validate
from unison.contract.checkpoint import ResolvedCkpt, read_weights, resolve_ckpt
from unison.contract.contract import Contract
from unison.contract.exported import place_problems, write_exported
from unison.errors import UnisonError
from unison.style.folder import STYLE, copy_encoder, encoder_folder
from unison.vocoders.weight_norm import folded

log = logging.getLogger(__name__)

_ADAPTERS = {"merged": adapters.merged, "separate": adapters.separated}
"""What becomes of a voice's adapters."""


def portable(contract: Contract) -> Contract:
    """The contract without the paths of the machine that it was trained on.

    What lay in the folder of ``outputs`` keeps its path from there; of another path that leads out of the working
    folder, the last part stays.
    """
    tree = contract.tree()
    outputs = PurePosixPath(tree.get("outputs") or "outputs")

    def relative(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: relative(item) for name, item in value.items()}
        if isinstance(value, list):
            return [relative(item) for item in value]
        if not isinstance(value, str):
            return value
        for kind in (PurePosixPath, PureWindowsPath):
            path = kind(value)
            if path.is_absolute() or value.startswith(("~", "..")):
                inside = path.is_relative_to(outputs)
                return path.relative_to(outputs.parent).as_posix() if inside else path.name
        return value

    return contract.replace(
        config=OmegaConf.to_yaml(OmegaConf.create(relative(OmegaConf.to_container(tree)))),
        style=relative(contract.style),
        parents=relative(contract.parents),
    )


def write_folder(out: Path, contract: Contract, weights: Mapping[str, Tensor], ckpt: ResolvedCkpt) -> Path:
    """Write a voice as a folder that can be carried anywhere, with its encoder of prompts where it has one.

    Args:
        out: the folder to come.
        contract: the voice's, with the paths of this machine.
        weights: what speaks; weight norm is folded.
        ckpt: what it was read from, beside which its encoder may lie.
    """
    described = portable(contract)
    if contract.style.get("name") == "bert":
        encoder = encoder_folder(contract, ckpt)
        if encoder is None:
            log.warning(
                "its encoder of prompts (style.path=%s) is no folder here and was not copied: before it can speak, put"
                " the encoder into %s, or give style_path=…",
                contract.style.get("path") or "…",
                out / STYLE,
            )
        else:
            copy_encoder(encoder, out / STYLE)
            tree = described.tree()
            tree.style.path = STYLE
            style = described.style | {"path": STYLE}
            described = described.replace(config=OmegaConf.to_yaml(tree), style=style)
    return write_exported(out, described, folded(weights))


def run(cfg: DictConfig) -> None:
    """Write the folder; prints where it is and how large.

    Raises:
        UnisonError: the checkpoint is missing or damaged; there is something at `out` already.
    """
    config = validate(cfg, ExportConfig)
    problems = place_problems(config.out)
    if config.adapters not in _ADAPTERS:
        problems.append(f"adapters={config.adapters}: expected one of {', '.join(_ADAPTERS)}")
    if problems:
        raise UnisonError(problems)
    found = resolve_ckpt(config.ckpt)
    contract, weights = read_weights(found)
    if contract.kind == adapters.KIND:
        raise UnisonError(f"ckpt={config.ckpt}: holds adapters without their base, exported already")
    parent: dict[str, Any] = {"role": "exported from", "digest": contract.digest, "step": contract.step}
    lora = adapters.lora_of(contract)
    if lora is not None:
        parent |= {"adapters": config.adapters, "lora": asdict(lora)}
    elif config.adapters == "separate":
        raise UnisonError(f"adapters=separate: ckpt={config.ckpt} has none; it was not trained with finetune=lora")
    contract = contract.replace(parents=[parent, *contract.parents])
    contract, weights = _ADAPTERS[config.adapters](contract, weights)
    folder = write_folder(Path(config.out).expanduser(), contract, weights, found)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}  {size / 1e6:.1f} MB")
