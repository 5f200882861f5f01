"""What is taken for a loop."""

from __future__ import annotations

import random

import pytest

from unison.inference.repetition import Repetition

RATE = 50.0


def first_loop(frames: list[tuple[int, ...]]) -> int | None:
    """How many frames had been heard when a loop was seen."""
    watch = Repetition(RATE)
    for count, frame in enumerate(frames, 1):
        if watch.add(frame):
            return count
    return None


def naive(frames: list[tuple[int, ...]], length: int, longest: int) -> int | None:
    """The same by its definition."""
    for end in range(length, len(frames) + 1):
        last = frames[end - length : end]
        if any(last[period:] == last[:-period] for period in range(1, longest + 1)):
            return end
    return None


@pytest.mark.parametrize("period", [1, 2, 7, 25])
def test_a_run_of_up_to_half_a_second_that_repeats(period: int) -> None:
    rng = random.Random(period)
    speech = [(rng.randrange(1000), rng.randrange(1000)) for _ in range(40)]
    run = [(i, rng.randrange(1000)) for i in range(period)]
    length = Repetition(RATE).length
    assert length == 62
    assert first_loop(speech + run * 80) == 40 + length
    assert first_loop(speech + (run * 80)[: length - 1] + [(-1, -1)] + speech) is None


def test_a_longer_run_is_none() -> None:
    run = [(i, 0) for i in range(26)]
    assert first_loop(run * 20) is None


def test_it_is_what_its_definition_says() -> None:
    rng = random.Random(0)
    for _ in range(200):
        frames = [(rng.randrange(2), 0) for _ in range(rng.randrange(200))]
        for _ in range(3):
            run = [(rng.randrange(2), rng.randrange(2)) for _ in range(rng.randrange(1, 40))]
            frames += run * rng.randrange(1, 5)
        assert first_loop(frames) == naive(frames, 62, 25)
