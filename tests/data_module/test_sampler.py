"""The stream of batches: complete, bounded, and the same from wherever it is entered."""

from __future__ import annotations

import pickle
from collections import Counter
from itertools import islice

import numpy as np
import pytest

from unison.data.sampler import BucketSampler, Draws, buckets_of

LENGTHS = np.random.default_rng(0).integers(20, 800, 333).tolist()


def sampler(
    seed: int = 1, start: int = 0, rank: int = 0, world: int = 1, lengths: list[int] = LENGTHS
) -> BucketSampler:
    return BucketSampler(lengths, 2500, 8, seed, start, rank, world)


def take(stream: BucketSampler, count: int) -> list[list[int]]:
    return list(islice(stream, count))


@pytest.mark.parametrize("count", [1, 2, 7, 64, 333])
def test_every_epoch_is_every_utterance_once(count: int) -> None:
    stream = sampler(lengths=LENGTHS[:count])
    batches = take(stream, 3 * stream.epoch_batches)
    epochs = [batches[i : i + stream.epoch_batches] for i in range(0, len(batches), stream.epoch_batches)]
    for epoch in epochs:
        assert sorted(index for batch in epoch for index in batch) == list(range(count))
    if count > 7:
        assert epochs[0] != epochs[1] != epochs[2]
        assert {frozenset(b) for b in epochs[0]} != {frozenset(b) for b in epochs[1]}


def test_batches_keep_their_limits() -> None:
    lengths = [*LENGTHS, 9000]
    stream = sampler(lengths=lengths)
    for batch in take(stream, stream.epoch_batches):
        assert 1 <= len(batch) <= 8
        assert len(batch) * max(lengths[i] for i in batch) <= 2500 or batch == [333]


def test_little_is_padding() -> None:
    stream = sampler()
    batches = take(stream, stream.epoch_batches)
    padded = sum(len(batch) * max(LENGTHS[i] for i in batch) for batch in batches)
    assert padded < 1.15 * sum(LENGTHS)
    # the fewest batches: the sorted lengths, each batch filled as far as it goes
    fewest, left = 0, sorted(LENGTHS, reverse=True)
    while left:
        left = left[min(2500 // left[0], 8) :]
        fewest += 1
    assert stream.epoch_batches < 1.15 * fewest


@pytest.mark.parametrize("start", [1, 17, 100, 1234])
def test_starting_at_k_is_skipping_k(start: int) -> None:
    assert take(sampler(start=start), 90) == take(sampler(), start + 90)[start:]


def test_the_seed_decides() -> None:
    assert take(sampler(seed=1), 50) == take(sampler(seed=1), 50)
    assert take(sampler(seed=1), 50) != take(sampler(seed=2), 50)


@pytest.mark.parametrize("world", [2, 3, 5])
def test_ranks_share_one_stream(world: int) -> None:
    ranks = [take(sampler(rank=rank, world=world), 60) for rank in range(world)]
    together = [batch for step in zip(*ranks, strict=True) for batch in step]
    assert together == take(sampler(), 60 * world)


def test_survives_pickling() -> None:
    stream = sampler(start=5)
    assert take(pickle.loads(pickle.dumps(stream)), 9) == take(stream, 9)


def test_iterating_twice_starts_at_the_same_batch() -> None:
    stream = sampler(start=3)
    assert take(stream, 4) == take(stream, 4)


def test_buckets_hold_neighbours_in_length() -> None:
    buckets = buckets_of(LENGTHS, 2500, 8)
    shortest = [min(LENGTHS[i] for i in members) for members, _ in buckets]
    longest = [max(LENGTHS[i] for i in members) for members, _ in buckets]
    assert all(low >= high for low, high in zip(shortest, longest[1:], strict=False))
    assert all(len(members) == 8 * capacity for members, capacity in buckets[:-1])


@pytest.mark.parametrize("fields", [{"lengths": []}, {"rank": 2, "world": 2}, {"world": 0}])
def test_nonsense_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        sampler(**fields)  # type: ignore[arg-type]


GROUPS = ["many"] * 250 + ["few"] * 60 + ["one"] * 23


def weighted(start: int = 0, rank: int = 0, world: int = 1, **weights: float) -> BucketSampler:
    draws = Draws(LENGTHS, GROUPS, weights)
    return BucketSampler(draws.lengths, 2500, 8, 1, start, rank, world, draws)


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        ({"many": 1.0, "few": 1.0, "one": 1.0}, (1 / 3, 1 / 3, 1 / 3)),
        ({"many": 0.1, "few": 5.0, "one": 4.9}, (0.01, 0.5, 0.49)),
        ({"many": 3.0, "few": 0.5, "one": 0.001}, (3 / 3.501, 0.5 / 3.501, 0.001 / 3.501)),
    ],
)
def test_shares_are_those_of_the_weights(weights: dict[str, float], shares: tuple[float, ...]) -> None:
    stream = weighted(**weights)
    drawn = Counter(GROUPS[index] for batch in take(stream, 20 * stream.epoch_batches) for index in batch)
    for name, share in zip(weights, shares, strict=True):
        assert drawn[name] / drawn.total() == pytest.approx(share, abs=1e-3)


def test_within_a_group_every_clip_is_heard_as_often() -> None:
    stream = weighted(many=0.25, few=1.0, one=0.5)
    heard = Counter(index for batch in take(stream, 40 * stream.epoch_batches) for index in batch)
    for name in ("many", "few", "one"):
        counts = [heard[index] for index, group in enumerate(GROUPS) if group == name]
        assert min(counts) > 0
        assert max(counts) - min(counts) <= 0.1 * max(counts) + 1, name


def test_weighted_batches_keep_their_limits_and_follow_from_their_number() -> None:
    whole = take(weighted(many=1.0, few=2.0, one=1.0), 300)
    assert all(1 <= len(batch) <= 8 and len(batch) * max(LENGTHS[i] for i in batch) <= 2500 for batch in whole)
    assert take(weighted(start=137, many=1.0, few=2.0, one=1.0), 100) == whole[137:237]
    ranks = [take(weighted(rank=rank, world=3, many=1.0, few=2.0, one=1.0), 100) for rank in range(3)]
    assert [batch for step in zip(*ranks, strict=True) for batch in step] == whole
    resumed = pickle.loads(pickle.dumps(weighted(start=5, many=1.0, few=2.0, one=1.0)))
    assert take(resumed, 9) == whole[5:14]


def test_weights_leave_little_padding() -> None:
    stream = weighted(many=0.3, few=1.0, one=1.0)
    batches = take(stream, 5 * stream.epoch_batches)
    padded = sum(len(batch) * max(LENGTHS[i] for i in batch) for batch in batches)
    assert padded < 1.2 * sum(LENGTHS[i] for batch in batches for i in batch)
