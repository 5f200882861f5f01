"""Batches of several utterances of each of several speakers: an endless stream that can be entered anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from unison.data.grouping import places_of


class Crop(NamedTuple):
    """A piece of a speaker's clips joined end to end."""

    clips: tuple[int, ...]
    """The clips in their order, by index."""
    start: int
    """Where the piece begins in them."""

    def read(self, length: int, clip: Callable[[int], np.ndarray]) -> np.ndarray:
        """The piece [length], from a function that gives clip i as [L]."""
        return np.concatenate([clip(index) for index in self.clips])[self.start : self.start + length]


class SpeakerSampler(Sampler[list[Crop]]):
    """Batch k of a run as a function of the seed and k alone.

    Each batch has `batch_speakers` speakers, drawn anew (all of them, where there are fewer), and `batch_utterances`
    pieces of each, speaker by speaker. Clips shorter than a piece are joined; the pieces of a speaker share no clip
    until all have been used. Rank r of w takes batches r, r + w, r + 2w, … of the stream.
    """

    def __init__(
        self,
        speakers: Sequence[str],
        lengths: Sequence[int],
        crop: int,
        batch_speakers: int,
        batch_utterances: int,
        seed: int,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        """Begin at this rank's batch number `start`.

        Args:
            speakers: whose each clip is.
            lengths: how long each clip is, in samples or frames.
            crop: how long the pieces are, in the same unit.
            batch_speakers: speakers in a batch, at least 2.
            batch_utterances: pieces of each, at least 2.
            seed: decides the batches.
            start: this rank's first batch.
            rank: which of the processes this is.
            world: how many there are.
            weights: how often each speaker is drawn, in proportion; None draws all of them equally often.
        """
        clips = places_of(speakers)
        self._clips = list(clips.values())
        if min(len(self._clips), batch_speakers, batch_utterances) < 2:
            raise ValueError(
                f"{len(self._clips)} speakers, batch_speakers={batch_speakers}, batch_utterances={batch_utterances}: "
                "each must be at least 2, for voices are learnt by comparing"
            )
        if min(crop, world, *lengths) < 1 or not 0 <= rank < world or len(lengths) != len(speakers):
            raise ValueError(
                f"{len(speakers)} clips with {len(lengths)} lengths, crop={crop}, rank {rank} of {world}: "
                "all must be positive, and the rank below the world"
            )
        self._lengths = np.asarray(lengths)
        self.crop = crop
        self.batch_speakers = min(batch_speakers, len(self._clips))
        self.batch_utterances = batch_utterances
        self._chances = None if weights is None else self._weighed(np.array([weights[name] for name in clips]))
        self.seed = seed
        self.start = start
        self.rank = rank
        self.world = world
        heard = self.batch_speakers * batch_utterances * crop
        self.epoch_batches = max(-(-int(self._lengths.sum()) // heard), 1)
        """Batches, over all ranks, that hear as much as there is."""

    def __iter__(self) -> Iterator[list[Crop]]:
        k = self.start
        while True:
            yield self.batch(k)
            k += 1

    def batch(self, k: int) -> list[Crop]:
        """This rank's batch k."""
        rng = np.random.default_rng([self.seed, k * self.world + self.rank])
        chosen = self._chosen(rng)
        return [crop for speaker in chosen for crop in self._crops(self._clips[speaker], rng)]

    def _chosen(self, rng: np.random.Generator) -> np.ndarray:
        """The speakers of a batch, each once."""
        if self._chances is None:
            return rng.choice(len(self._clips), self.batch_speakers, replace=False)
        # systematic sampling: of chances that add up to the batch's speakers, laid end to end, one in every unit
        order = rng.permutation(len(self._clips))
        points = rng.random() + np.arange(self.batch_speakers)
        places = np.searchsorted(np.cumsum(self._chances[order]), points, side="right")
        return order[np.minimum(places, len(order) - 1)]

    def _weighed(self, weights: np.ndarray) -> np.ndarray:
        """The chance of each speaker to be in a batch; whose share is more than one place is in every batch."""
        chances = np.ones(len(weights))
        free = chances > 0
        while free.any():
            left = self.batch_speakers - np.count_nonzero(~free)
            chances[free] = weights[free] / weights[free].sum() * left
            if not (over := free & (chances > 1)).any():
                break
            chances[over] = 1
            free &= ~over
        return chances

    def _crops(self, clips: np.ndarray, rng: np.random.Generator) -> list[Crop]:
        shuffled = _endless(clips, rng)
        crops = []
        for _ in range(self.batch_utterances):
            joined: list[int] = []
            length = 0
            while length < self.crop:
                joined.append(next(shuffled))
                length += int(self._lengths[joined[-1]])
            crops.append(Crop(tuple(joined), int(rng.integers(length - self.crop + 1))))
        return crops


def _endless(clips: np.ndarray, rng: np.random.Generator) -> Iterator[int]:
    while True:
        yield from rng.permutation(clips).tolist()
