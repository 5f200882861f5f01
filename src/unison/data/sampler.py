"""Batches of utterances of like length: an endless stream that can be entered anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
from torch.utils.data import Sampler

from unison.data.grouping import places_of

_BATCHES_A_BUCKET = 8
_FEWEST_DRAWS = 1000
"""Of an epoch by weights, so that shares are right to a thousandth however few clips there are."""


def buckets_of(lengths: Sequence[int], batch_frames: int, batch_size: int) -> list[tuple[np.ndarray, int]]:
    """Neighbours in length, longest first, with the number of them that fits a batch.

    Each bucket but the last fills eight batches exactly. No batch has more than `batch_size` items, or
    more than `batch_frames` frames, padding included, unless a single utterance has.
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")
    buckets = []
    start = 0
    while start < len(order):
        capacity = max(min(batch_size, batch_frames // int(lengths[order[start]])), 1)
        end = start + capacity * _BATCHES_A_BUCKET
        buckets.append((order[start:end], capacity))
        start = end
    return buckets


class Draws:
    """Which clips an epoch hears, when some are wanted oftener than others.

    The clips are of groups, and of every epoch a group has the same number of draws, in the share that its weight asks
    for; within a group each clip is drawn as often as any other. A group that draws fewer clips than it has takes
    every so-manyth in their order by length, from another start each epoch, so that an epoch's lengths hardly differ
    from another's.
    """

    def __init__(self, lengths: Sequence[int], groups: Sequence[str], weights: Mapping[str, float]) -> None:
        """Draw from clips of these lengths, each of a group; groups without a clip don't count."""
        names = places_of(groups)
        shares = np.array([weights[name] for name in names]) / sum(weights[name] for name in names)
        total = max(len(lengths), _FEWEST_DRAWS)
        # largest remainders, and every group at least once
        counts = np.floor(shares * total).astype(int)
        counts[np.argsort(counts - shares * total, kind="stable")[: total - counts.sum()]] += 1
        self._groups = []
        for places, count in zip(names.values(), np.maximum(counts, 1), strict=True):
            members = places[np.argsort(-np.asarray(lengths)[places], kind="stable")]
            self._groups.append((members, *divmod(int(count), len(members))))
        longest = [self._drawn(members, times, rest, 0.0) for members, times, rest in self._groups]
        self.lengths = np.asarray(lengths)[np.concatenate(longest)].tolist()
        """The greatest length that each draw can have, in any epoch."""

    def epoch(self, epoch: int) -> np.ndarray:
        """The clip of each draw."""
        # multiples of the golden ratio fill [0, 1) evenly, however many there are
        start = epoch * (np.sqrt(5) - 1) / 2 % 1
        return np.concatenate([self._drawn(members, times, rest, start) for members, times, rest in self._groups])

    @staticmethod
    def _drawn(members: np.ndarray, times: int, rest: int, start: float) -> np.ndarray:
        """All members so many times, and `rest` of them."""
        places = ((np.arange(rest) + start) * len(members) / max(rest, 1)).astype(int)
        return np.concatenate([*[members] * times, members[np.minimum(places, len(members) - 1)]])


class BucketSampler(Sampler[list[int]]):
    """Batch k of a run as a function of the seed and k alone.

    An epoch is every utterance once, or what :class:`Draws` says: buckets are shuffled and cut into batches, and the
    batches are shuffled.
    All epochs have the same number of batches, so batch k lies in epoch k // that number. Of the stream
    0, 1, 2, … rank r of w takes r, r + w, r + 2w, …: over all ranks nothing is dropped
    and nothing is read twice.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_frames: int,
        batch_size: int,
        seed: int,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
        draws: Draws | None = None,
    ) -> None:
        """Begin at this rank's batch number `start`; with `draws`, `lengths` are those of its draws."""
        if len(lengths) == 0 or min(batch_frames, batch_size, world) < 1 or not 0 <= rank < world:
            raise ValueError(
                f"{len(lengths)} utterances, batch_frames={batch_frames}, batch_size={batch_size}, "
                f"rank {rank} of {world}: all must be positive, and the rank below the world"
            )
        self.seed = seed
        self.start = start
        self.rank = rank
        self.world = world
        self._draws = draws
        self._buckets = buckets_of(lengths, batch_frames, batch_size)
        self.epoch_batches = sum(-(-len(members) // capacity) for members, capacity in self._buckets)
        # the stream runs through epochs in order, and all but two are over or to come
        self._epoch = lru_cache(maxsize=2)(self._plan)

    def __iter__(self) -> Iterator[list[int]]:
        k = self.start
        while True:
            yield self.batch(k)
            k += 1

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "_epoch"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._epoch = lru_cache(maxsize=2)(self._plan)

    def batch(self, k: int) -> list[int]:
        """This rank's batch k."""
        epoch, position = divmod(k * self.world + self.rank, self.epoch_batches)
        return self._epoch(epoch)[position]

    def _plan(self, epoch: int) -> list[list[int]]:
        """All batches of an epoch."""
        rng = np.random.default_rng([self.seed, epoch])
        drawn = None if self._draws is None else self._draws.epoch(epoch)
        batches = []
        for members, capacity in self._buckets:
            shuffled = rng.permutation(members if drawn is None else drawn[members]).tolist()
            batches += [shuffled[i : i + capacity] for i in range(0, len(shuffled), capacity)]
        return [batches[i] for i in rng.permutation(len(batches))]
