"""The benchmark measures what it says; how fast is no test's business."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.conftest import TINY
from unison import bench
from unison.config.tools import BenchConfig
from unison.errors import UnisonError

SIZES = [o for o in TINY if o.startswith(("model", "vocoder", "discriminator"))]


def test_contract_describes_a_voice_that_can_be_built() -> None:
    described = bench.contract(["model=emotivoice", "vocoder=hifigan"])
    from unison.builders import build_voice

    voice = build_voice(described)
    assert sum(p.numel() for p in voice.model.vocoder.parameters()) == 13_936_130
    assert "[K]" in described.symbols


def test_synthesis_and_training_cases_run() -> None:
    spoken = bench.synthesis(1, SIZES, "32-true")
    assert spoken["rtf"] == pytest.approx(spoken["seconds"] / (300 * 256 / 16000))
    assert bench.training(1, SIZES, "bf16-mixed")["seconds"] > 0


def test_run_prints_and_writes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "_cases", lambda: {"startup": [("help", bench.startup_help, ())]})
    out = tmp_path / "figures.json"
    bench.run(OmegaConf.create(vars(BenchConfig(["startup"], 1, 1, str(out)))))
    assert json.loads(out.read_text())["help"]["seconds"] > 0
    assert "help" in capsys.readouterr().out
    with pytest.raises(UnisonError, match="expected any of startup"):
        bench.run(OmegaConf.create(vars(BenchConfig(["speed"], 1, 1, None))))
