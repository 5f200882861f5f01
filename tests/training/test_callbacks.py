"""What happens around the steps: signals, the time limit, kept checkpoints, progress, previews, TensorBoard."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import soundfile
from omegaconf import DictConfig
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from unison.contract.checkpoint import read_contract, resolve_ckpt
from unison.errors import UnisonError
from unison.training import callbacks
from unison.training.callbacks import SameConfigEverywhere
from unison.training.run import train
from unison.training.task import Task

Make = Callable[..., DictConfig]
ACOUSTIC = [
    "trainer.stages.acoustic.steps=6",
    "trainer.stages.vocoder.steps=0",
    "trainer.stages.joint.steps=0",
]


@pytest.fixture
def send(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``send(signal, step)``: the signal arrives during that step."""

    def at(number: int, step: int) -> None:
        begin = Task.on_train_batch_start

        def start(task: Task, *arguments: Any) -> None:
            begin(task, *arguments)
            if task.step + 1 == step:
                os.kill(os.getpid(), number)

        monkeypatch.setattr(Task, "on_train_batch_start", start)

    return at


def names(folder: Path) -> list[str]:
    return [path.name for path in sorted((folder / "checkpoints").glob("*"))]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_stops_and_the_run_goes_on(
    config: Make,
    send: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    number: signal.Signals,
) -> None:
    before = signal.default_int_handler
    found = signal.signal(number, before)  # behind nohup or & it would be ignored
    request.addfinalizer(lambda: signal.signal(number, found))
    cfg = config(f"name=told-{number.name}", *ACOUSTIC, "trainer.stages.joint.steps=2")
    folder = Path(cfg.outputs) / cfg.name
    send(number, 3)
    with pytest.raises(SystemExit) as ended:
        train(cfg)
    assert ended.value.code == 128 + number
    assert names(folder) == ["step0000003.ckpt"]
    assert signal.getsignal(number) == before
    monkeypatch.undo()
    train(config(f"resume={folder}"))
    assert names(folder)[-1] == "step0000008.ckpt"


def test_a_signal_in_a_stages_last_step_stops_before_the_next(config: Make, send: Callable[..., None]) -> None:
    cfg = config("name=told-last", *ACOUSTIC, "trainer.stages.joint.steps=2")
    send(signal.SIGINT, 6)
    with pytest.raises(SystemExit):
        train(cfg)
    assert names(Path(cfg.outputs) / cfg.name) == ["step0000006.ckpt"]


def test_a_signalled_command(config: Make, tiny: list[str], start: Callable[..., Any]) -> None:
    cfg = config()
    more = [*ACOUSTIC, "trainer.stages.acoustic.steps=100000", "callbacks.checkpoints.every_steps=1"]
    command = start(*tiny, *more, f"data.raw={cfg.data.raw}", f"outputs={cfg.outputs}", "name=signalled")
    folder = Path(cfg.outputs) / "signalled"
    while not list(folder.glob("checkpoints/*.ckpt")):
        assert command.running(), command.end()
    os.kill(command.pid, signal.SIGTERM)
    code, _, err = command.end()
    assert code == 143
    step = read_contract(resolve_ckpt(folder).path).step
    assert f"SIGTERM: saved step {step}, stopping; go on with resume={folder}" in err
    assert "Traceback" not in err


def test_max_minutes(config: Make) -> None:
    cfg = config("name=timed", *ACOUSTIC, "trainer.max_minutes=1e-9")
    train(cfg)
    folder = Path(cfg.outputs) / cfg.name
    assert names(folder) == ["step0000001.ckpt"]
    with pytest.raises(UnisonError, match=r"trainer\.max_minutes=… above that makes it go on"):
        train(config(f"resume={folder}"))


def test_the_newest_two_are_kept(config: Make) -> None:
    cfg = config("name=keep", *ACOUSTIC, "callbacks.checkpoints.every_steps=2", "trainer.stages.acoustic.steps=7")
    train(cfg)
    assert names(Path(cfg.outputs) / cfg.name) == ["step0000006.ckpt", "step0000007.ckpt"]


def test_a_run_without_its_callbacks_ends(config: Make) -> None:
    cfg = config("name=bare", *ACOUSTIC, "~callbacks.checkpoints", "~callbacks.previews", "~callbacks.progress")
    assert train(cfg)["valid/decoder_mel"] > 0


class Bar:
    """Stands in for tqdm and notes what it is told."""

    made: ClassVar[list[Bar]] = []

    def __init__(self, total: int, initial: int, desc: str, unit: str, **_: Any) -> None:
        self.total, self.n, self.initial, self.desc, self.unit = total, initial, initial, desc, unit
        self.shown: dict[str, str] = {}
        self.closed = False
        Bar.made.append(self)

    def set_postfix(self, values: dict[str, str], refresh: bool) -> None:
        self.shown = values

    def update(self, steps: int) -> None:
        self.n += steps

    def close(self) -> None:
        self.closed = True


def test_the_progress_bar(config: Make, monkeypatch: pytest.MonkeyPatch, killed: Callable[..., Path]) -> None:
    more = ["trainer.stages.acoustic.accumulate=2", "callbacks.checkpoints.every_steps=2"]
    folder = killed(config("name=bar", *ACOUSTIC, *more, "trainer.stages.joint.steps=1"), 3)
    monkeypatch.setattr(callbacks, "tqdm", Bar)
    Bar.made.clear()
    train(config(f"resume={folder}"))
    assert [(bar.desc, bar.initial, bar.n, bar.total, bar.unit) for bar in Bar.made] == [
        ("acoustic", 2, 6, 6, "step"),
        ("joint", 0, 1, 1, "step"),
    ]
    assert all(bar.closed for bar in Bar.made)
    assert {"loss", "decoder_mel", "forward_sum", "audio_per_second"} <= Bar.made[0].shown.keys()
    assert {"mel", "discriminator"} <= Bar.made[1].shown.keys()


@pytest.fixture(scope="module")
def shown(config: Make) -> Path:
    """A run through acoustic and joint stage that shows all it can."""
    cfg = config(
        "name=shown",
        "trainer.stages.acoustic.steps=2",
        "trainer.stages.vocoder.steps=0",
        "trainer.stages.joint.steps=3",
        "callbacks.previews.every_steps=2",
        "callbacks.previews.count=2",
        "logger=tensorboard",
    )
    train(cfg)
    return Path(cfg.outputs) / "shown"


def test_previews_are_files(shown: Path) -> None:
    folders = sorted((shown / "previews").iterdir())
    assert [folder.name for folder in folders] == ["step0000002", "step0000004", "step0000005"]
    for folder in folders:
        keys = ("anna_7", "bert_7")
        files = {f"{key}.{kind}" for key in keys for kind in ("png", "recording.wav", "spoken.wav")}
        assert {path.name for path in folder.iterdir()} == files
        for key in keys:
            assert (folder / f"{key}.png").read_bytes().startswith(b"\x89PNG")
            for kind in ("recording", "spoken"):
                samples, rate = soundfile.read(folder / f"{key}.{kind}.wav")
                assert rate == 8000
                assert len(samples) > 500
                assert abs(samples).max() > 0


def test_tensorboard_has_everything(shown: Path) -> None:
    events = EventAccumulator(str(shown / "tensorboard"), size_guidance={"audio": 0, "images": 0, "scalars": 0})
    events.Reload()
    tags = events.Tags()
    losses = ("duration", "pitch", "energy", "forward_sum", "binarization", "decoder_mel", "mel")
    rates = ("learning_rate", "gradient_norm", "audio_per_second", "loader_wait_share")
    names = (*losses, *rates, "adversarial", "feature_matching", "discriminator", "loss")
    train_tags = {f"train/{name}" for name in names}
    assert train_tags | {f"valid/{name}" for name in losses} <= set(tags["scalars"])
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3, 4, 5]
    assert all(event.value > 0 for event in events.Scalars("train/audio_per_second"))
    assert all(0 <= event.value <= 1 for event in events.Scalars("train/loader_wait_share"))
    for key in ("anna_7", "bert_7"):
        assert {f"spoken/{key}", f"recording/{key}"} <= set(tags["audio"])
        assert f"preview/{key}" in tags["images"]
        assert [event.step for event in events.Audio(f"spoken/{key}")] == [2, 4, 5]


class Elsewhere:
    """A trainer whose process 0 has the configuration ``first``."""

    global_rank = 1

    def __init__(self, first: str) -> None:
        self.strategy = self
        self.first = first

    def broadcast(self, ours: str) -> str:
        return self.first


def test_same_config_everywhere(stepper: Callable[..., Any]) -> None:
    task = stepper("acoustic").task
    check = SameConfigEverywhere()
    check.on_train_start(Elsewhere(task.contract.config_sha256), task)  # type: ignore[arg-type]
    with pytest.raises(UnisonError, match="process 1 was started with another configuration"):
        check.on_train_start(Elsewhere("0" * 64), task)  # type: ignore[arg-type]
