"""``unison export``: what speaking needs and nothing else, as a folder of safetensors and JSON."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from omegaconf import DictConfig, OmegaConf

from unison.config.tools import ExportConfig
from unison.config.validate import validate
from unison.contract.contract import Contract
from unison.errors import UnisonError


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


def run(cfg: DictConfig) -> None:
    """Write the folder; prints where it is and how large.

    Raises:
        UnisonError: the checkpoint is missing or damaged; there is something at `out` already.
    """
    config = validate(cfg, ExportConfig)
    from unison.contract import read_weights, resolve_ckpt, write_exported
    from unison.contract.exported import place_problems
    from unison.vocoders.weight_norm import folded

    if problems := place_problems(config.out):
        raise UnisonError(problems)
    contract, weights = read_weights(resolve_ckpt(config.ckpt))
    parent = {"role": "exported from", "digest": contract.digest, "step": contract.step}
    described = portable(contract.replace(parents=[parent, *contract.parents]))
    folder = write_exported(Path(config.out).expanduser(), described, folded(weights))
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}  {size / 1e6:.1f} MB")
