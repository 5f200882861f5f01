"""The best warping path, against every path there is, and where only a part of the plane is looked at."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from unison.evaluation import alignment
from unison.evaluation.alignment import align


def paths(n: int, m: int) -> Iterator[list[tuple[int, int]]]:
    """Every path from (0, 0) to (n - 1, m - 1) by steps right, down and diagonal."""
    if n < 1 or m < 1:
        return
    if (n, m) == (1, 1):
        yield [(0, 0)]
        return
    for before in ((n - 1, m), (n, m - 1), (n - 1, m - 1)):
        for path in paths(*before):
            yield [*path, (n - 1, m - 1)]


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.norm(a[:, None] - b[None], axis=-1)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (2, 2), (3, 5), (5, 3), (5, 5)])
@pytest.mark.parametrize("seed", range(3))
def test_it_finds_the_best_of_all_paths(shape: tuple[int, int], seed: int) -> None:
    random = np.random.default_rng(seed)
    a, b = (random.normal(size=(length, 3)) for length in shape)
    cost = distances(a, b)
    best = min(paths(*shape), key=lambda path: sum(cost[cell] for cell in path))
    assert list(zip(*align(a, b), strict=True)) == best


def test_it_follows_a_stretched_copy() -> None:
    frames = np.random.default_rng(0).normal(size=(30, 4))
    stretched = np.repeat(frames, 3, axis=0)
    for a, b in ((frames, stretched), (stretched, frames)):
        i, j = align(a, b)
        assert not distances(a, b)[i, j].any()


def test_what_is_the_same_goes_straight_on_also_in_silence() -> None:
    frames = np.random.default_rng(0).normal(size=(60, 4))
    frames[20:40] = 0
    i, j = align(frames, frames)
    assert np.array_equal(i, np.arange(60))
    assert np.array_equal(j, np.arange(60))


@pytest.mark.parametrize(("n", "m"), [(400, 431), (431, 400), (9, 431), (1, 500), (500, 2)])
def test_long_sequences_are_looked_at_in_part(monkeypatch: pytest.MonkeyPatch, n: int, m: int) -> None:
    """Speech of 80 events that last differently long in the two: the path found in part is the one found in full."""
    random = np.random.default_rng(n)
    events = random.normal(size=(80, 5)).cumsum(0)

    def spoken(length: int) -> np.ndarray:
        return events[np.sort(random.integers(0, 80, length))] + random.normal(size=(length, 5)) * 0.01

    a, b = spoken(n), spoken(m)
    cost = distances(a, b)
    full = align(a, b)
    monkeypatch.setattr(alignment, "FULL_CELLS", 500)
    i, j = align(a, b)
    steps = np.stack([np.diff(i), np.diff(j)], 1)
    assert (i[0], j[0], i[-1], j[-1]) == (0, 0, n - 1, m - 1)
    assert {tuple(step) for step in steps.tolist()} <= {(0, 1), (1, 0), (1, 1)}
    if min(n, m) > 80:  # of a few frames the coarser ones tell nothing; the path is still one
        assert cost[i, j].sum() == pytest.approx(cost[full].sum(), rel=1e-6)


def test_it_looks_at_few_pairs_of_long_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    least_path = alignment._least_path

    def count(a: np.ndarray, b: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen.append(int((high - low).sum()))
        return least_path(a, b, low, high)

    monkeypatch.setattr(alignment, "_least_path", count)
    monkeypatch.setattr(alignment, "FULL_CELLS", 10_000)
    frames = np.random.default_rng(0).normal(size=(6000, 2)).cumsum(0)
    align(frames, frames)
    # a full search would take 36 million
    assert sum(seen) < 6000 * 60
