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
from unison.files import replacing

if TYPE_CHECKING:
    from unison.training.task import Task

log = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"
METRICS = "metrics.csv"


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
    """Saves every ``every_steps`` steps (0: never), at a stage's end and when the run stops; keeps the newest ``keep``.

    SIGINT and SIGTERM set a flag; the run saves at the end of the batch and stops (saving inside a handler can hang).
    A second SIGINT interrupts at once.
    """

    def __init__(self, every_steps: int = 1000, keep: int = 2) -> None:
        self.every_steps = every_steps
        self.keep = max(keep, 1)
        self._previous: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, task: Task) -> None:  # type: ignore[override]
        def stop(number: int, frame: FrameType | None) -> None:
            name = signal.Signals(number).name
            if task.stopped_by == name == "SIGINT":
                raise KeyboardInterrupt
            task.stopped_by = name

        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._previous[number] = signal.signal(number, stop)
            except ValueError:  # handlers can only be set in the main thread
                break

    def on_train_batch_end(self, trainer: pl.Trainer, task: Task, *_: Any) -> None:  # type: ignore[override]
        if not task.at_step_end:
            return
        # one process that stops alone would leave the others waiting for its gradients
        if trainer.strategy.reduce_boolean_decision(task.stopped_by is not None, all=False):
            task.stopped_by = task.stopped_by or "another process"
        if task.stopped_by or task.stage_done or (self.every_steps and task.stage_step % self.every_steps == 0):
            self.save(trainer, task)
        if task.stopped_by:
            log.warning("%s: saved step %d, stopping; go on with resume=%s", task.stopped_by, task.step, task.folder)

    def save(self, trainer: pl.Trainer, task: Task) -> Path:
        """Write ``step….ckpt``; of those before it the newest stay, of those after it, damaged ones, none."""
        folder = task.folder / CHECKPOINTS
        path = folder / f"step{task.step:07d}.ckpt"
        trainer.save_checkpoint(path)
        if trainer.is_global_zero:
            files = sorted(folder.glob("step*.ckpt"))
            kept = [file for file in files if file <= path][-self.keep :]
            for file in set(files) - set(kept):
                file.unlink()
        return path

    # not in teardown: by then Lightning has put back the handlers that were there before its own
    def on_train_end(self, trainer: pl.Trainer, task: Task) -> None:  # type: ignore[override]
        self._restore()

    def on_exception(self, trainer: pl.Trainer, task: Task, exception: BaseException) -> None:  # type: ignore[override]
        self._restore()

    def _restore(self) -> None:
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
        if self.minutes and task.minutes >= self.minutes and task.stopped_by is None:
            task.stopped_by = f"max_minutes={self.minutes:g}"


class MetricsFile(pl.Callback):
    """Appends every validation to ``metrics.csv`` in the run folder, one row a metric."""

    def on_validation_end(self, trainer: pl.Trainer, task: Task) -> None:  # type: ignore[override]
        if trainer.is_global_zero:
            append_metrics(task.folder / METRICS, task.step, task.validation_metrics)


def append_metrics(path: Path, step: int, metrics: dict[str, float]) -> None:
    """Add ``step,metric,value`` rows; the header is written once."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["step", "metric", "value"])
        writer.writerows([step, name, f"{value:.6g}"] for name, value in sorted(metrics.items()))


def forget_metrics(path: Path, step: int) -> None:
    """Drop the rows after ``step``, and a last line that was cut off: a resumed run writes them again."""
    if not path.exists():
        return
    header, *rows = path.read_bytes().splitlines(keepends=True) or [b""]
    kept = [row for row in rows if row.endswith(b"\n") and int(row.partition(b",")[0]) <= step]
    with replacing(path) as file:
        file.writelines([header, *kept])


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
