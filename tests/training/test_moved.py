"""How far old voices moved: told when a run is over for its user, and of what training did alone."""

from __future__ import annotations

import csv
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from tests.training.conftest import ACOUSTIC
from unison.training.moved import FILE
from unison.training.run import train
from unison.training.task import Task

Make = Callable[..., DictConfig]


def moved(folder: Path) -> dict[str, tuple[float, float]]:
    with (folder / FILE).open() as file:
        return {
            row["speaker"]: (float(row["mel_distance"]), float(row["duration_frames"])) for row in csv.DictReader(file)
        }


def test_a_run_whose_time_is_up_tells(config: Make, short: Path) -> None:
    cfg = config("name=moved-timed", *ACOUSTIC, f"init_from={short}", "trainer.max_minutes=1e-9")
    train(cfg)
    folder = Path(cfg.outputs) / cfg.name
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["step0000001.ckpt"]
    assert moved(folder).keys() == {"anna", "bert"}


def test_a_run_that_a_signal_stopped_tells_when_it_has_gone_on(
    config: Make, short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = Task.on_train_batch_start

    def interrupt(task: Task, *arguments: Any) -> None:
        begin(task, *arguments)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Task, "on_train_batch_start", interrupt)
    cfg = config("name=moved-interrupted", *ACOUSTIC, f"init_from={short}")
    with pytest.raises(SystemExit) as ended:
        train(cfg)
    assert ended.value.code == 130
    folder = Path(cfg.outputs) / cfg.name
    assert not (folder / FILE).exists()
    monkeypatch.undo()
    train(config(f"resume={folder}"))
    assert moved(folder).keys() == {"anna", "bert"}


@pytest.mark.parametrize("averaged", [True, False])
def test_rounding_is_no_movement(config: Make, short: Path, averaged: bool) -> None:
    half = [f"init_from={short}", "precision=bf16-true", f"trainer.ema.enabled={str(averaged).lower()}"]
    for rate in (0.0, 0.01):
        name = f"moved-{averaged}-{rate}"
        cfg = config(f"name={name}", *ACOUSTIC, *half, f"trainer.stages.acoustic.learning_rate={rate}")
        train(cfg)
        for mel, durations in moved(Path(cfg.outputs) / name).values():
            assert (mel > 0) == (rate > 0)
            assert rate or durations == 0
