"""Held-out utterances spoken while training, as files and in TensorBoard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import numpy as np

from unison.audio import io
from unison.inference.request import file_name
from unison.training.task import Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Previews(pl.Callback):
    """Every ``every_steps`` steps (0: never) and at a stage's end, speaks ``count`` clips into ``previews/step…``."""

    def __init__(self, every_steps: int = 1000, count: int = 3) -> None:
        self.every_steps = every_steps
        self.count = count

    def on_train_batch_end(self, trainer: pl.Trainer, task: Task, *_: Any) -> None:  # type: ignore[override]
        due = task.stage_done or (self.every_steps and task.stage_step % self.every_steps == 0)
        if task.at_step_end and due and trainer.is_global_zero and self.count:
            task.preview(trainer.datamodule, self.count)  # type: ignore[attr-defined]


def save(task: Task, key: str, sounds: dict[str, np.ndarray], sample_rate: int, figure: Figure) -> None:
    """Write an utterance's preview of this step: its sounds (float32 [L]) by name, and a picture."""
    folder: Path = task.folder / "previews" / f"step{task.step:07d}"
    folder.mkdir(parents=True, exist_ok=True)
    name = file_name(key)
    for what, samples in sounds.items():
        io.write(folder / f"{name}.{what}.wav", samples, sample_rate)
    figure.savefig(folder / f"{name}.png", dpi=80)
    for logger in task.loggers:
        board: Any = getattr(logger, "experiment", None)
        if hasattr(board, "add_figure"):
            board.add_figure(f"preview/{key}", figure, task.step)
            for what, samples in sounds.items():
                board.add_audio(f"{what}/{key}", samples[None], task.step, sample_rate)
    figure.clear()


def one_a_speaker(speakers: Sequence[str]) -> list[int]:
    """Indices in turns: the first utterance of every speaker, then the second of every speaker, and so on."""
    turns: Counter[str] = Counter()
    order = []
    for index, speaker in enumerate(speakers):
        order.append((turns[speaker], index))
        turns[speaker] += 1
    return [index for _, index in sorted(order)]
