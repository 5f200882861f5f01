"""``unison export``: what speaking needs and nothing else, as a folder of safetensors and JSON."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from unison.config.tools import ExportConfig
from unison.config.validate import validate


def run(cfg: DictConfig) -> None:
    """Write the folder; prints where it is and how large."""
    config = validate(cfg, ExportConfig)
    from unison.contract import read_weights, resolve_ckpt, write_exported

    contract, weights = read_weights(resolve_ckpt(config.ckpt))
    folder = write_exported(Path(config.out), contract, weights)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}  {size / 1e6:.1f} MB")
