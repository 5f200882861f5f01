"""Tiny codecs and speaker encoders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor

from tests.conftest import CODEC, FIRST_STAGE, SECOND_STAGE, SPEAKER_ENCODER, STYLE_ENCODER
from unison.builders import build_voice
from unison.config.prepare import PrepareConfig
from unison.config.train import TrainConfig
from unison.config.validate import validate
from unison.data.manifest import Corpus
from unison.precision import resolve_precision
from unison.prepare.run import prepare_corpus
from unison.training.contracts import new_contract
from unison.training.run import needed_discriminator, train
from unison.training.task import Task
from unison.training.tasks import task_of

Make = Callable[..., DictConfig]


@pytest.fixture(scope="module")
def codec_config(config: Make) -> Make:
    """``codec_config("name=x", …)``."""
    return lambda *more: config(*more, of=CODEC)


@pytest.fixture(scope="module")
def speaker_config(config: Make) -> Make:
    """``speaker_config("name=x", …)``."""
    return lambda *more: config(*more, of=SPEAKER_ENCODER)


@pytest.fixture(scope="module")
def style_config(config: Make) -> Make:
    """``style_config("name=x", …)``."""
    return lambda *more: config(*more, of=STYLE_ENCODER)


@pytest.fixture(scope="module")
def first_config(config: Make, parts: list[str]) -> Make:
    """``first_config("name=x", …)``."""
    return lambda *more: config(*parts, *more, of=FIRST_STAGE)


@pytest.fixture(scope="module")
def second_config(config: Make) -> Make:
    """``second_config("name=x", "first_stage=…", …)``."""
    return lambda *more: config(*more, of=SECOND_STAGE)


@pytest.fixture
def task(tmp_path: Path) -> Callable[[DictConfig], tuple[Task, Any]]:
    """``task(cfg)``: a task at its first step, and its data; ``task.training_step(batch, 0)`` is one batch."""

    def make(tree: DictConfig) -> tuple[Task, Any]:
        typed = validate(tree, TrainConfig)
        prepared = prepare_corpus(validate({f.name: tree[f.name] for f in fields(PrepareConfig)}, PrepareConfig))
        policy = resolve_precision(typed.precision.name, "cpu")
        contract = new_contract(tree, typed, Corpus(prepared), policy)
        torch.manual_seed(typed.seed)
        judge = needed_discriminator(typed)
        made = task_of(typed.model)(build_voice(contract), judge, typed, policy, contract, tmp_path)
        for module in (made.voice, made.discriminator):
            if module is not None:
                policy.cast(module)
        made.start_stage(made.STAGES[0])
        made.on_train_start()
        optimizers = made.configure_optimizers()
        made.optimizers = lambda use_pl_optimizer=True: optimizers  # type: ignore[assignment]
        made.manual_backward = lambda loss: loss.backward()  # type: ignore[assignment]
        return made, made.data(prepared)

    return make


@pytest.fixture
def resumes_exactly(
    killed: Callable[[DictConfig, int], Path],
    payload: Callable[[Path], dict[str, Any]],
    differences: Callable[[Any, Any], list[str]],
) -> Callable[[Make, Sequence[str], int], None]:
    """``check(make, overrides, step)``: killed after that step and resumed equals uninterrupted, bit for bit."""

    def check(make: Make, overrides: Sequence[str], step: int) -> None:
        whole = make("name=whole", "overwrite=true", *overrides)
        train(whole)
        folder = killed(make("name=killed", "overwrite=true", *overrides), step)
        assert payload(folder)["progress"]["step"] == 2
        train(make(f"resume={folder}"))
        a, b = payload(Path(whole.outputs) / "whole"), payload(folder)
        for part in ("state_dict", "optimizer_states", "trained"):
            assert not differences(a[part], b[part]), part
        assert a["contract"]["weights_digest"] == b["contract"]["weights_digest"]
        rows = [(Path(whole.outputs) / name / "metrics.csv").read_text().splitlines() for name in ("whole", "killed")]
        assert set(rows[1]) <= set(rows[0])
        assert rows[1][-1] == rows[0][-1]

    return check


@pytest.fixture
def as_in_float32(task: Callable[[DictConfig], tuple[Task, Any]]) -> Callable[[Make, str], None]:
    """``as_in_float32(config, precision)``: the first step's loss is nearly that of 32-true, and not the same."""

    def check(config: Make, precision: str) -> None:
        losses = []
        for name in ("32-true", precision):
            made, data = task(config(f"precision={name}"))
            made.training_step(next(iter(data.train_dataloader())), 0)
            losses.append(made._logged["loss"])
        assert losses[1] == pytest.approx(losses[0], rel=0.05)
        assert losses[1] != losses[0]

    return check


@pytest.fixture
def weights_at_start(monkeypatch: pytest.MonkeyPatch) -> Callable[[DictConfig], dict[str, Tensor]]:
    """``weights_at_start(cfg)``: what a training begins to learn from; nothing is learnt."""

    def begin(cfg: DictConfig) -> dict[str, Tensor]:
        seen = {}

        def first(made: Task) -> None:
            seen.update({name: tensor.clone() for name, tensor in made.voice.state_dict().items()})
            raise KeyboardInterrupt

        monkeypatch.setattr(Task, "on_train_start", first)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            train(cfg)
        return seen

    return begin
