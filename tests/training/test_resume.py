"""Killed and resumed equals uninterrupted, bit for bit: weights, averages, optimizers, data order, metrics."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from unison.training.run import train

Make = Callable[..., DictConfig]
Differences = Callable[[Any, Any], list[str]]
Payload = Callable[[Path], dict[str, Any]]

STEPS = [
    "trainer.stages.acoustic.steps=6",
    "trainer.stages.vocoder.steps=3",
    "trainer.stages.joint.steps=3",
    "callbacks.checkpoints.every_steps=2",
]
ACCUMULATED = ["loader.num_workers=1"] + [
    f"trainer.stages.{name}.{setting}"
    for name in ("acoustic", "vocoder", "joint")
    for setting in ("accumulate=2", "batch_size=2")
]
PLAIN: list[str] = []
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def uninterrupted(config: Make) -> Callable[..., Path]:
    """The run folder of an uninterrupted run, trained once for each set of options."""
    done: dict[tuple[str, ...], Path] = {}

    def run(options: list[str]) -> Path:
        if tuple(options) not in done:
            cfg = config(f"name=whole{len(done)}", *STEPS, *options)
            train(cfg)
            done[tuple(options)] = Path(cfg.outputs) / cfg.name
        return done[tuple(options)]

    return run


def assert_same(whole: Path, resumed: Path, payload: Payload, differences: Differences, checkpoint: int) -> None:
    """The last checkpoints of two runs are equal, and their metrics."""
    a, b = payload(whole), payload(resumed)
    for part in ("state_dict", "optimizer_states", "trained", "scaler"):
        assert not differences(a[part], b[part]), part
    for progress in (a["progress"], b["progress"]):
        progress.pop("minutes")
    assert a["progress"] == b["progress"]
    assert a["contract"]["weights_digest"] == b["contract"]["weights_digest"]
    rows, again = ((folder / "metrics.csv").read_text().splitlines() for folder in (whole, resumed))
    # nothing stands twice, and at most the validation that the run was killed before is not there
    lost = [row for row in rows if row not in again]
    assert [row for row in rows if row not in lost] == again
    assert not lost or {row.partition(",")[0] for row in lost} == {str(checkpoint)}


def order(folder: Path) -> dict[str, str]:
    """The keys of every batch; a batch that is seen twice must have the same keys."""
    seen: dict[str, str] = {}
    for line in (folder / "keys.txt").read_text().splitlines():
        stage, batch, keys = line.split(" ", 2)
        assert seen.setdefault(f"{stage} {batch}", keys) == keys
    return seen


@pytest.mark.parametrize(
    ("options", "step", "checkpoint"),
    [
        pytest.param(PLAIN, 5, 4, id="a step after a checkpoint"),
        pytest.param(PLAIN, 6, 6, id="at a stage's end"),
        pytest.param(PLAIN, 7, 6, id="in a stage without a checkpoint yet"),
        pytest.param(PLAIN, 8, 8, id="in the vocoder stage, at a checkpoint"),
        pytest.param(ACCUMULATED, 5, 4, id="accumulating, with a loader process"),
        pytest.param(ACCUMULATED, 11, 11, id="accumulating, in the joint stage"),
    ],
)
def test_killed_and_resumed(
    config: Make,
    uninterrupted: Callable[..., Path],
    killed: Callable[[DictConfig, int], Path],
    payload: Payload,
    differences: Differences,
    watched: None,
    options: list[str],
    step: int,
    checkpoint: int,
) -> None:
    whole = uninterrupted(options)
    folder = killed(config(f"name=killed{len(options)}-{step}", *STEPS, *options), step)
    assert payload(folder)["progress"]["step"] == checkpoint
    train(config(f"resume={folder}"))
    assert_same(whole, folder, payload, differences, checkpoint)
    assert order(whole) == order(folder)


def test_a_killed_command(
    config: Make,
    tiny: list[str],
    uninterrupted: Callable[..., Path],
    payload: Payload,
    differences: Differences,
    tmp_path: Path,
) -> None:
    whole = uninterrupted(PLAIN)
    cfg = config()
    command = [
        sys.executable,
        "train.py",
        *tiny,
        *STEPS,
        f"data.raw={cfg.data.raw}",
        f"outputs={cfg.outputs}",
        "name=command",
    ]
    folder = Path(cfg.outputs) / "command"
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    while not (folder / "checkpoints" / "step0000004.ckpt").exists():
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    checkpoint = payload(folder)["progress"]["step"]
    train(config(f"resume={folder}"))
    assert_same(whole, folder, payload, differences, checkpoint)


def test_validation_and_previews_change_nothing(config: Make, payload: Payload, differences: Differences) -> None:
    quiet = config("name=quiet", "trainer.validate_every=1000", "trainer.ema.enabled=false")
    busy = config(
        "name=busy",
        "trainer.validate_every=1",
        "callbacks.previews.every_steps=3",
        "callbacks.previews.count=1",
        "trainer.ema.enabled=false",
    )
    states = []
    for cfg in (quiet, busy):
        train(cfg)
        states.append(payload(Path(cfg.outputs) / cfg.name)["state_dict"])
    assert not differences(*states)


def test_dropout_is_on(config: Make, payload: Payload, differences: Differences) -> None:
    """Otherwise the tests above would not see whether random numbers are taken up again."""
    states = []
    for name, dropout in (("with", 0.1), ("without", 0.0)):
        cfg = config(
            f"name={name}-dropout",
            f"model.encoder_dropout={dropout}",
            f"model.decoder_dropout={dropout}",
            "trainer.stages.acoustic.steps=1",
            "trainer.stages.vocoder.steps=0",
            "trainer.stages.joint.steps=0",
        )
        train(cfg)
        states.append(payload(Path(cfg.outputs) / cfg.name)["state_dict"])
    assert differences(*states)
