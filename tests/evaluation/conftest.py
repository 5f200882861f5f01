"""A comparison of a tiny voice that float16 can't hold, made once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from unison.config.tree import conf_dir
from unison.contract import read_weights, resolve_ckpt, weights_digest, write_exported
from unison.evaluation.compare import compare
from unison.evaluation.report import Report
from unison.evaluation.variants import speak

Settings = Callable[..., DictConfig]

LINES = [
    {"text": "zero one, two three.", "speaker": "anna"},
    {"text": "six seven", "speaker": "bert", "seed": 3},
    {"text": "one two. three four. five six. seven eight. nine zero. one two three.", "speaker": "anna", "speed": 0.5},
]


@pytest.fixture(scope="session")
def settings() -> Settings:
    """``settings(ckpt, {"thresholds.mcd": 1}, shown=2)``: conf/compare.yaml with changes, on one CPU thread."""

    def make(ckpt: Path, changes: dict[str, Any] | None = None, **more: Any) -> DictConfig:
        tree = OmegaConf.load(conf_dir() / "compare.yaml")
        assert isinstance(tree, DictConfig)
        del tree["defaults"]
        given = {"ckpt": str(ckpt), "device": "cpu", "threads": 1, **(changes or {}), **more}
        for name, value in given.items():
            OmegaConf.update(tree, name, value)
        return tree

    return make


@pytest.fixture(scope="session")
def fragile(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny voice with a convolution whose weights float16 can't hold, before a norm that takes their size out."""
    contract, weights = read_weights(resolve_ckpt(run_folder))
    for name in ("weight", "bias"):
        weights[f"model.vocoder.blocks.0.depthwise.{name}"] *= 1e7
    contract = contract.replace(weights_digest=weights_digest(weights))
    return write_exported(tmp_path_factory.mktemp("voices") / "fragile", contract, weights)


@dataclass(frozen=True)
class Compared:
    """A comparison that was made, and what it left behind."""

    report: Report
    page: Path

    @property
    def html(self) -> str:
        return self.page.read_text(encoding="utf-8")

    @property
    def figures(self) -> dict[str, Any]:
        def no_number(name: str) -> None:
            raise AssertionError(f"{name} is not JSON")

        found: dict[str, Any] = json.loads(self.page.with_suffix(".json").read_text(), parse_constant=no_number)
        return found


@pytest.fixture(scope="session")
def compared(fragile: Path, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Compared:
    """The fragile voice in bf16-mixed and in 16-true; in this process, where that takes no start."""
    folder = tmp_path_factory.mktemp("compared")
    lines = folder / "lines.txt"
    lines.write_text("\n".join(map(json.dumps, LINES)))
    voice = shutil.copytree(fragile, folder / "voice")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unison.evaluation.compare.speak_apart", speak)
        report = compare(settings(voice, text_file=str(lines), precisions=["bf16-mixed", "16-true"], window=0.5))
    return Compared(report, folder / "voice" / "compare.html")
