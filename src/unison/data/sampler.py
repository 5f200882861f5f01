"""Batches of utterances of like length: an endless stream that can be entered anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from torch.utils.data import Sampler

_BATCHES_A_BUCKET = 8


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


class BucketSampler(Sampler[list[int]]):
    """Batch k of a run as a function of the seed and k alone.

    An epoch is every utterance once: buckets are shuffled and cut into batches, and the batches are shuffled.
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
    ) -> None:
        """Begin at this rank's batch number `start`."""
        if len(lengths) == 0 or min(batch_frames, batch_size, world) < 1 or not 0 <= rank < world:
            raise ValueError(
                f"{len(lengths)} utterances, batch_frames={batch_frames}, batch_size={batch_size}, "
                f"rank {rank} of {world}: all must be positive, and the rank below the world"
            )
        self.seed = seed
        self.start = start
        self.rank = rank
        self.world = world
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
        batches = []
        for members, capacity in self._buckets:
            shuffled = rng.permutation(members).tolist()
            batches += [shuffled[i : i + capacity] for i in range(0, len(shuffled), capacity)]
        return [batches[i] for i in rng.permutation(len(batches))]
