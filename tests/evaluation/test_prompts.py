"""Whether a prompt moves a voice as it asks is measured on what is spoken."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import DictConfig, OmegaConf

from unison.audio.geometry import AudioGeometry
from unison.errors import UnisonError
from unison.evaluation import prompts as module
from unison.evaluation.prompts import Heard, prompts
from unison.inference.synthesizer import load
from unison.training.run import train

GEOMETRY = AudioGeometry(8000, 256, 64, 256, 40, 0.0, 4000.0)


def settings(ckpt: Path, **changes: Any) -> DictConfig:
    values = {"prompts": None, "out": None, "limit": 2, "vocoder": None, "precision": None, "style_path": None}
    return OmegaConf.create({"ckpt": str(ckpt), "device": "cpu", "threads": 0, **values, **changes})


def tone(hertz: float, seconds: float, level: float) -> np.ndarray:
    time = np.arange(round(8000 * seconds)) / 8000
    return (level * sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 5))).astype(np.float32)


def test_moves_of_tones() -> None:
    before, after = Heard.of(tone(150, 1.0, 0.1), GEOMETRY), Heard.of(tone(225, 0.8, 0.2), GEOMETRY)
    assert after.move("speed", before) == pytest.approx(25, abs=0.1)
    assert after.move("pitch", before) == pytest.approx(12 * math.log2(1.5), abs=0.1)
    assert after.move("energy", before) == pytest.approx(20 * math.log10(2), abs=0.1)
    assert before.move("speed", after) == pytest.approx(-20, abs=0.1)
    silent = Heard.of(np.zeros(8000, np.float32), GEOMETRY)
    assert math.isnan(silent.move("pitch", before))
    assert math.isnan(silent.move("energy", before))


@pytest.fixture(scope="module")
def labelled(config: Callable[..., DictConfig], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A voice of labels."""
    outputs = tmp_path_factory.mktemp("labelled")
    short = ["trainer=acoustic", "trainer.stages.acoustic.steps=2", "callbacks.previews.count=0"]
    train(config(*short, f"outputs={outputs}", "name=voice", "style=labels", "data.labels=computed"))
    return outputs / "voice"


def test_every_case_is_counted(
    labelled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A voice that hardly knows anything, heard by an ear that makes each sentence one Hz higher than the last."""
    count = iter(range(1000))
    monkeypatch.setattr(Heard, "of", lambda samples, geometry: Heard(1.0, 100.0 + next(count), 0.5))
    spoken = module.EmotiVoiceSynthesizer.each
    monkeypatch.setattr(module.EmotiVoiceSynthesizer, "each", in_order(spoken))
    report = prompts(settings(labelled))
    moves = {(entry["class"], entry["label"]): entry for entry in report["moves"]}
    labels = [("speed", "slow"), ("speed", "fast"), ("pitch", "low"), ("pitch", "high"), ("energy", "low")]
    assert list(moves) == [*labels, ("energy", "high")]
    assert all(entry["cases"] == 2 for entry in moves.values())
    right = {key: entry["right"] for key, entry in moves.items()}
    assert right == dict.fromkeys(moves, 0) | {("pitch", "high"): 2}
    assert (report["cases"], report["right"], report["share"]) == (12, 2, 2 / 12)
    # sentence 0 is heard at 100 Hz, under the labels speed=slow, speed=fast, pitch=low, pitch=high as 2, 4, 6, 8 more
    expected = [12 * math.log2((100 + i + 8) / (100 + i)) for i in range(2)]
    assert moves["pitch", "high"]["mean"] == pytest.approx(np.mean(expected))
    assert json.loads((labelled / "prompts/report.json").read_text())["right"] == 2
    assert "2 of 12 cases moved as asked (16.7 %): 6 prompts, 2 held-out sentences" in capsys.readouterr().out


def test_sentences_are_those_of_the_voice_s_speakers(labelled: Path) -> None:
    """A corpus may hold out others (`data.valid_speakers`)."""
    voice: Any = load(labelled, "cpu")
    assert {speaker for speaker, _ in module._sentences(voice, 100)} == {"anna", "bert"}
    voice.contract = voice.contract.replace(speakers=["bert"])
    assert {speaker for speaker, _ in module._sentences(voice, 100)} == {"bert"}


def in_order(original: Any) -> Any:
    """As it is, but in the order of the requests."""
    return lambda self, requests: iter(sorted(original(self, requests), key=lambda entry: entry[0]))


def test_prompts_of_a_file(labelled: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("speed=fast\tspeed=fast\nspeed=normal\tspeed=normal\n")
    report = prompts(settings(labelled, prompts=str(path), limit=1, out=str(tmp_path / "out")))
    assert [(row["prompt"], row["class"]) for row in report["rows"]] == [("speed=fast", "speed")]
    assert (tmp_path / "out/report.json").is_file()
    path.write_text("speed=normal\tspeed=normal\n")
    with pytest.raises(UnisonError, match="none asks for more or less"):
        prompts(settings(labelled, prompts=str(path)))


def test_a_voice_without_style(run_folder: Path) -> None:
    with pytest.raises(UnisonError, match="this voice reads no prompts and knows no label"):
        prompts(settings(run_folder))
    with pytest.raises(UnisonError, match="limit=0: expected at least 1"):
        prompts(settings(run_folder, limit=0))
