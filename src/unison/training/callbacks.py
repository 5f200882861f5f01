"""What happens around the steps: the progress bar, checkpoints, the time limit, the log of metrics."""

from __future__ import annotations

import csv
import logging
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
from tqdm import tqdm

from unison.errors import UnisonError

if TYPE_CHECKING:
    from unison.training.task import Task

log = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"


class ProgressBar(pl.Callback):
    """A live line for a stage: steps done, rate, time left, and the losses that matter most."""

    def __init__(self, refresh_seconds: float = 0.5) -> None:
        self.refresh_seconds = refresh_seconds
        self._bar: tqdm[Any] | None = None

    def on_train_start(self, trainer: pl.Trainer, task: Task) -> None:  # type: ignore[override]
        self._bar = tqdm(
            total=task.stage.steps,
            initial=task.stage_step,
            desc=task.stage_name,
            unit="step",
            mininterval=self.refresh_seconds,
            dynamic_ncols=True,
            disable=not trainer.is_global_zero,
            file=sys.stderr,
        )

    def on_train_batch_end(self, trainer: pl.Trainer, task: Task, *_: Any) -> None:  # type: ignore[override]
        if self._bar is not None and task.stage_step > self._bar.n:
            self._bar.set_postfix(task.headline(), refresh=False)
            self._bar.update(task.stage_step - self._bar.n)

    def teardown(self, trainer: pl.Trainer, task: Task, stage: str) -> None:  # type: ignore[override]
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class Checkpoints(pl.Callback):
    """Saves every ``every_steps`` steps, at a stage's end and when the run is told to stop; keeps the newest ``keep``.

    SIGINT and SIGTERM set a flag; the run saves at the end of the batch and stops (saving inside a handler can hang). A second
    SIGINT interrupts at once.
    """

    def __init__(self, every_steps: int = 1000, keep: int = 2) -> None:
        self.every_steps = every_steps
        self.keep = keep
        self.interrupted: str | None = None
        self._previous: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, task: Task) -> None:  # type: ignore[override]
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._previous[number] = signal.signal(number, self._on_signal)
            except ValueError:  # handlers can only be set in the main thread
                break

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.interrupted is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.interrupted = signal.Signals(number).name

    def on_train_batch_end(self, trainer: pl.Trainer, task: Task, *_: Any) -> None:  # type: ignore[override]
        if not task.at_step_end:
            return
        stopping = self.interrupted is not None or task.stage_done or trainer.should_stop
        if stopping or task.stage_step % self.every_steps == 0:
            self.save(trainer, task)
        if self.interrupted is not None:
            log.warning("%s: saved step %d, stopping; go on with resume=%s", self.interrupted, task.step, task.folder)
        if stopping:
            trainer.should_stop = True

    def save(self, trainer: pl.Trainer, task: Task) -> Path:
        """Write ``step….ckpt`` and delete what is older than the newest ``keep``."""
        folder = task.folder / CHECKPOINTS
        path = folder / f"step{task.step:07d}.ckpt"
        trainer.save_checkpoint(path)
        if trainer.is_global_zero:
            for old in sorted(folder.glob("step*.ckpt"))[: -self.keep]:
                old.unlink()
        return path

    def teardown(self, trainer: pl.Trainer, task: Task, stage: str) -> None:  # type: ignore[override]
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()


class TimeLimit(pl.Callback):
    """Stops the run after ``minutes`` of training, resumes counted in; 0 never does. Stands before Checkpoints."""

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes
        self._since = 0.0

    def on_train_start(self, trainer: pl.Trainer, task: Task) -> None:  # type: ignore[override]
        self._since = time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, task: Task, *_: Any) -> None:  # type: ignore[override]
        now = time.monotonic()
        task.minutes += (now - self._since) / 60
        self._since = now
        if self.minutes and task.minutes >= self.minutes and task.at_step_end and not task.stage_done:
            log.warning("max_minutes=%g reached at step %d: saving and stopping", self.minutes, task.step)
            trainer.should_stop = True
            task.out_of_time = True


class MetricsFile(pl.Callback):
    """Appends every validation to ``metrics.csv`` in the run folder, one row a metric."""

    def on_validation_end(self, trainer: pl.Trainer, task: Task) -> None:  # type: ignore[override]
        if trainer.is_global_zero:
            append_metrics(task.folder / "metrics.csv", task.step, task.validation_metrics)


def append_metrics(path: Path, step: int, metrics: dict[str, float]) -> None:
    """Add ``step,metric,value`` rows; the header is written once."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["step", "metric", "value"])
        writer.writerows([step, name, f"{value:.6g}"] for name, value in sorted(metrics.items()))


class SameConfigEverywhere(pl.Callback):
    """Stops when the processes of a distributed run were started with different configurations."""

    def on_train_start(self, trainer: pl.Trainer, task: Task) -> None:  # type: ignore[override]
        ours = task.contract.config_sha256
        first = trainer.strategy.broadcast(ours)
        if ours != first:
            raise UnisonError(
                f"process {trainer.global_rank} was started with another configuration ({ours[:12]}) than process 0"
                f" ({first[:12]}); start every process with the same overrides"
            )
