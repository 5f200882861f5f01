"""Learning rate, loss weights and seeds as functions of the step."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from unison.training.config import LossConfig, StageConfig
from unison.training.schedule import binarization_weight, learning_rate, step_seed
from unison.training.segments import random_starts, take

STAGE = StageConfig(
    steps=10, learning_rate=2.0, warmup_steps=4, final_lr=0.1, batch_size=1, batch_frames=1, accumulate=1, grad_clip=0.0
)


def test_learning_rate_against_the_formula() -> None:
    rates = [learning_rate(STAGE, step) for step in range(11)]
    assert rates[:4] == [0.5, 1.0, 1.5, 2.0]
    assert rates[4] == 2.0
    assert rates[7] == pytest.approx((2.0 + 0.2) / 2), "half-way down"
    assert rates[10] == pytest.approx(0.2)
    assert rates[5] == pytest.approx(0.2 + 1.8 * math.cos(math.pi / 12) ** 2)
    assert learning_rate(STAGE, 99) == pytest.approx(0.2)
    constant = dataclasses.replace(STAGE, warmup_steps=0, final_lr=1.0)
    assert {learning_rate(constant, step) for step in range(11)} == {2.0}


@pytest.mark.parametrize(
    ("start", "warmup", "expected"), [(2, 2, [0, 0, 1, 2, 2]), (0, 0, [2] * 5), (3, 0, [0, 0, 0, 2, 2])]
)
def test_binarization_weight(start: int, warmup: int, expected: list[float]) -> None:
    names = {field.name: 1.0 for field in dataclasses.fields(LossConfig)}
    losses = LossConfig(**names | {"binarization": 2.0, "binarization_start": start, "binarization_warmup": warmup})  # type: ignore[arg-type]
    assert [binarization_weight(losses, step) for step in range(5)] == expected


def test_seeds_are_all_different_and_fit_torch() -> None:
    seeds = {step_seed(seed, stage, batch) for seed in (0, 1, 2**40) for stage in range(3) for batch in range(100)}
    assert len(seeds) == 900
    for seed in seeds:
        torch.manual_seed(seed)


def test_segments_lie_inside_and_reach_both_ends() -> None:
    lengths = torch.tensor([5, 3, 12]).repeat(2000)
    torch.manual_seed(0)
    starts = random_starts(lengths, 5)
    assert set(starts[lengths == 12].tolist()) == set(range(8))
    assert set(starts[lengths <= 5].tolist()) == {0}


def test_take_fills_beyond_the_item() -> None:
    x = torch.arange(12.0).reshape(2, 1, 6)
    found = take(x, torch.tensor([2, 0]), 8, torch.tensor([6, 3]), fill=-1.0)
    assert found[:, 0].tolist() == [[2, 3, 4, 5, -1, -1, -1, -1], [6, 7, 8, -1, -1, -1, -1, -1]]
