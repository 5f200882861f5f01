"""A speaker encoder learns to tell voices apart."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor
from torch.nn import functional as F

from unison.config.train import TrainConfig
from unison.config.validate import validate
from unison.contract.checkpoint import read_contract, read_weights, resolve_ckpt
from unison.training.checks import check
from unison.training.run import train
from unison.training.tasks.speaker_encoder import identification

Make = Callable[..., DictConfig]
MakeTask = Callable[[DictConfig], tuple[Any, Any]]
WeightsAtStart = Callable[[DictConfig], dict[str, Tensor]]


def test_a_run_measures_and_describes(speaker_encoder_folder: Path) -> None:
    contract = read_contract(resolve_ckpt(speaker_encoder_folder).path)
    assert (contract.kind, contract.family) == ("speaker_encoder", "metavoice")
    assert contract.audio.sample_rate == 16000, "what it hears, whatever the corpus has"
    assert contract.trained == {"speaker_encoder": 4}
    rows = list(csv.DictReader((speaker_encoder_folder / "metrics.csv").open()))
    assert {row["metric"] for row in rows} == {"valid/accuracy", "valid/equal_error_rate"}
    assert all(0 <= float(row["value"]) <= 1 for row in rows)


def test_figures_against_a_loop() -> None:
    torch.manual_seed(0)
    names, dim = ["a", "b", "c"], 5
    enrolled = F.normalize(torch.randn(3, 4, dim), dim=-1)
    heard = F.normalize(enrolled[[2, 0, 1]].mean(1)[:, None] + 0.3 * torch.randn(3, 6, dim), dim=-1)
    figures = identification((names, enrolled), (["c", "a", "b"], heard))
    centroids = {name: vectors.mean(0) / vectors.mean(0).norm() for name, vectors in zip(names, enrolled, strict=True)}
    right = 0
    same, other = [], []
    for name, vectors in zip("cab", heard, strict=True):
        for vector in vectors:
            scores = {own: float(vector @ centroid) for own, centroid in centroids.items()}
            right += max(scores, key=scores.__getitem__) == name
            same.append(scores.pop(name))
            other += scores.values()
    assert figures["accuracy"] == pytest.approx(right / 18)
    rates = [
        (abs(miss - false), (miss + false) / 2)
        for at in (*same, *other)
        for miss, false in [(sum(s < at for s in same) / 18, sum(o >= at for o in other) / 36)]
    ]
    assert figures["equal_error_rate"] == pytest.approx(min(rates)[1], abs=0.03)
    assert 0.5 < figures["accuracy"] < 1


def test_it_learns_who_speaks(task: MakeTask, speaker_config: Make) -> None:
    made, data = task(
        speaker_config(
            "trainer.stages.speaker_encoder.steps=60",
            "trainer.stages.speaker_encoder.batch_size=8",
            "trainer.stages.speaker_encoder.learning_rate=0.01",
            "losses.utterances=4",
            "losses.augmentation.masked_bands=0",
        )
    )
    scale = made.ge2e.scale.detach().clone()
    losses = []
    for _, batch in zip(range(60), data.train_dataloader(), strict=False):
        made.training_step(batch, 0)
        losses.append(made._logged["ge2e"])
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    assert made.ge2e.scale != scale
    for batch in data.val_dataloader():
        made.validation_step(batch, 0)
    assert identification(*made._heard)["accuracy"] == 1


def test_training_hears_noise_and_validation_does_not(task: MakeTask, speaker_config: Make) -> None:
    made, data = task(speaker_config())
    batch = next(iter(data.train_dataloader()))
    augmentation = made.config.losses.augmentation
    vectors = [made._vectors(made.voice, batch, given) for given in (augmentation, augmentation, None, None)]
    assert not torch.equal(vectors[0], vectors[1])
    assert torch.equal(vectors[2], vectors[3])
    assert vectors[0].shape == (2, 2, 8)


def test_killed_and_resumed(resumes_exactly: Callable[[Make, Sequence[str], int], None], speaker_config: Make) -> None:
    resumes_exactly(speaker_config, ["callbacks.checkpoints.every_steps=2", "loader.num_workers=1"], 3)


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-true", "bf16-true"])
def test_precisions(as_in_float32: Callable[[Make, str], None], speaker_config: Make, precision: str) -> None:
    as_in_float32(speaker_config, precision)


def test_a_run_starts_from_another(
    speaker_encoder_folder: Path, speaker_config: Make, weights_at_start: WeightsAtStart
) -> None:
    cfg = speaker_config("name=speaker-second", f"init_from={speaker_encoder_folder}")
    train(cfg)
    contract = read_contract(resolve_ckpt(Path(cfg.outputs) / cfg.name).path)
    assert contract.trained == {"speaker_encoder": 8}
    seen = weights_at_start(speaker_config("name=speaker-third", f"init_from={speaker_encoder_folder}"))
    _, weights = read_weights(resolve_ckpt(speaker_encoder_folder))
    assert seen.keys() == weights.keys()
    assert all(torch.equal(seen[name], weights[name]) for name in seen)


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["losses.utterances=1"], "losses.utterances=1: expected at least 2"),
        (["losses.utterances=3"], "trainer.stages.speaker_encoder.batch_size=4: 3 pieces of each of 2 speakers"),
        (["speakers.replay=x", "init_from=x"], "speakers.replay=x: model=speaker_encoder has no table of speakers"),
    ],
)
def test_what_makes_no_sense_is_named(speaker_config: Make, overrides: list[str], named: str) -> None:
    assert not check(validate(speaker_config(), TrainConfig))
    (problem,) = check(validate(speaker_config(*overrides), TrainConfig))
    assert problem.startswith(named)


def test_voices_are_learnt_by_comparing(speaker_config: Make, refused: Callable[[DictConfig], list[str]]) -> None:
    """The first clips are all anna's."""
    problems = refused(speaker_config("name=alone", "loader.overfit=3"))
    assert len(problems) == 1
    assert "1 speaker to learn from (anna); voices are learnt by comparing" in problems[0]
    problems = refused(speaker_config("name=single", "loader.overfit=8"))
    assert len(problems) == 1
    assert "bert: 1 clip to learn from; each speaker needs 2 or more" in problems[0]
