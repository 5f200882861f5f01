"""What several measurements need: configurations, contracts of untrained voices, times."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from omegaconf import DictConfig, OmegaConf

from unison.config.resolvers import register
from unison.config.tree import compose_root
from unison.config.validate import validate

SENTENCE = "the quick brown fox"


def contract(overrides: list[str]) -> Any:
    """A contract for a voice with random weights: two speakers, the symbols of English."""
    from unison.contract import Contract
    from unison.text import frontend
    from unison.text.symbols import symbol_list

    tree = compose_train(["audio=16k", "text=english", "logger=none", *overrides])
    config = train_config(tree)
    symbols = symbol_list([frontend("english").symbols(SENTENCE), [f"x{i}" for i in range(40)]])
    mels = config.audio.n_mels
    return Contract(
        config=OmegaConf.to_yaml(tree, resolve=True),
        speakers=["one", "two"],
        symbols=symbols,
        geometry=dict(vars(config.audio)),
        statistics={"mel_mean": [-5.0] * mels, "mel_std": [2.0] * mels},
        style={"name": "none"},
        precision={"asked": config.precision.name, "ran": config.precision.name},
    )


def compose_train(overrides: list[str]) -> DictConfig:
    """The training configuration under overrides."""
    register()
    return compose_root("train", overrides)


def train_config(tree: DictConfig) -> Any:
    from unison.config.train import TrainConfig

    return validate(tree, TrainConfig)


def step_seconds(task: Any, batch: Callable[[], Any], steps: int) -> float:
    """The median time of so many training steps, the first two left out."""
    import lightning.pytorch as pl
    import torch
    from torch.utils.data import DataLoader

    from unison.training.run import make_trainer

    times: list[float] = []

    class Times(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
            times.append(time.perf_counter())
            trainer.should_stop = len(times) == steps

    task.config.callbacks, task.config.logger = {}, {}
    trainer: Any = make_trainer(task)
    trainer.callbacks.append(Times())
    torch.manual_seed(0)
    batches: Any = [batch() for _ in range(steps)]
    trainer.fit(task, DataLoader(batches, batch_size=None, collate_fn=lambda one: one))
    return statistics.median(b - a for a, b in pairwise(times[1:]))


def median(function: Callable[[], Any], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
