"""The corpus as Lightning wants it."""

from __future__ import annotations

import hashlib
import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning import LightningDataModule
from torch.utils.data import ConcatDataset, DataLoader, Sampler

from unison.data.batch import Batch, Item, collate
from unison.data.config import LoaderConfig
from unison.data.dataset import Numbering, UtteranceDataset
from unison.data.manifest import Corpus, Utterance
from unison.data.sampler import BucketSampler, Draws, buckets_of
from unison.errors import UnisonError


@dataclass(frozen=True)
class Replay:
    """Another prepared corpus that is heard beside the one that is learnt."""

    folder: Path
    share: float
    """Of the clips of an epoch, at most: no clip is heard twice in it."""

    def utterances(self, corpus: Corpus, count: int, speakers: Sequence[str]) -> list[Utterance]:
        """Clips to learn from beside `count` others: an equal number a speaker, as far as they go."""

        def drawn(text: str) -> bytes:
            return hashlib.sha256(text.encode()).digest()

        known = [utterance for utterance in corpus.split("train") if utterance.speaker in speakers]
        turns: Counter[str] = Counter()
        order = []
        # where there are more voices than turns, chance decides whose it is, not the alphabet
        for utterance in sorted(known, key=lambda utterance: drawn(utterance.key)):
            order.append((turns[utterance.speaker], drawn(utterance.speaker), utterance))
            turns[utterance.speaker] += 1
        order.sort(key=lambda entry: entry[:2])
        return [utterance for _, _, utterance in order[: round(count * self.share / (1 - self.share))]]


class Clips(Protocol):
    """Utterances as a model's items."""

    utterances: Sequence[Utterance]
    """Of every item its utterance, or the first of several."""

    @property
    def lengths(self) -> Sequence[int]:
        """What an item adds to a batch, in the units of `batch_frames`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class DataModule(LightningDataModule):
    """Training batches without end, and the same validation batches every time; a subclass says what an item is.

    Batches are already shared out over the ranks: the trainer needs `use_distributed_sampler=False`.

    `batch_size`, `batch_frames` and `start_batch` may be set before a loader is asked for: batch k of the
    training stream follows from the seed, the batch settings and k alone, so a run that took k batches
    goes on with `start_batch = k`.
    """

    def __init__(
        self,
        folder: str | Path,
        batch_size: int,
        batch_frames: int,
        loader: LoaderConfig | None = None,
        seed: int = 0,
        start_batch: int = 0,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        """Serve the prepared corpus in `folder`.

        Args:
            folder: what `unison.prepare.prepare` wrote.
            batch_size: utterances in a batch, at most.
            batch_frames: frames in a batch, padding included, at most.
            loader: worker processes and the size of a validation.
            seed: decides the order of the training batches.
            start_batch: this rank's first training batch.
            weights: of a mix's corpora, by their names: the shares of the clips that are drawn of each, in proportion;
                None draws every clip equally often.

        Raises:
            UnisonError: nothing is left to learn from.
        """
        super().__init__()
        self.corpus = Corpus(folder)
        self.batch_size = batch_size
        self.batch_frames = batch_frames
        self.loader = loader or LoaderConfig()
        self.seed = seed
        self.start_batch = start_batch
        self.weights = weights
        learnt = self.corpus.learnt()
        # the same clips whatever the order of the corpus, spread over its speakers and texts
        held_out = [u for u in self.corpus.split("valid") if self.can_say(u)]
        held_out.sort(key=lambda u: hashlib.sha256(u.key.encode()).digest())
        if self.loader.overfit:
            learnt = held_out = learnt[: self.loader.overfit]
        self.train_sets: list[Clips] = [self.clips(learnt)]
        self.valid_set = self.clips(held_out[: self.loader.valid_clips])

    def can_say(self, utterance: Utterance) -> bool:
        """Whether a held-out utterance is in reach of the model: whether it needs no row for a held-out speaker."""
        return True

    def clips(self, utterances: Sequence[Utterance]) -> Clips:
        """The utterances as items."""
        raise NotImplementedError

    def collate(self, items: Sequence[Any]) -> Any:
        """Items as a batch."""
        raise NotImplementedError

    def train_sampler(self) -> Sampler[list[int]]:
        """The stream of training batches, as the loader will read it."""
        rank, world = self._ranks()
        lengths = [length for dataset in self.train_sets for length in dataset.lengths]
        draws = self._draws(lengths)
        return BucketSampler(
            lengths if draws is None else draws.lengths,
            self.batch_frames,
            self.batch_size,
            self.seed,
            self.start_batch,
            rank,
            world,
            draws,
        )

    def train_dataloader(self) -> DataLoader[Any]:
        dataset: Any = ConcatDataset(self.train_sets)  # type: ignore[arg-type]
        return self._loader(dataset, self.train_sampler(), self.loader.num_workers)

    def val_dataloader(self) -> DataLoader[Any]:
        batches = [
            members[i : i + capacity].tolist()
            for members, capacity in buckets_of(self.valid_set.lengths, self.batch_frames, self.batch_size)
            for i in range(0, len(members), capacity)
        ]
        # few and short: not worth a process that lives as long as the training, nor sharing out over the ranks
        return self._loader(self.valid_set, batches, 0)

    def _draws(self, lengths: Sequence[int]) -> Draws | None:
        """By the weights of the mix; what is replayed beside it keeps the share that it would have without."""
        if self.weights is None:
            return None
        own, *replayed = self.train_sets
        corpora = [utterance.corpus for utterance in own.utterances]
        scale = len(corpora) / sum(self.weights[corpus] for corpus in {*corpora})
        weights = {name: weight * scale for name, weight in self.weights.items()}
        beside = sum(map(len, replayed))
        return Draws(lengths, [*corpora, *[""] * beside], weights | {"": float(beside)})

    def _ranks(self) -> tuple[int, int]:
        trainer = self.trainer
        return (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)

    def _loader(self, dataset: Any, batches: Any, workers: int) -> DataLoader[Any]:
        return DataLoader(
            dataset,
            batch_sampler=batches,
            num_workers=workers,
            prefetch_factor=self.loader.prefetch if workers else None,
            persistent_workers=workers > 0,
            pin_memory=self.loader.pin_memory,
            collate_fn=self.collate,
            worker_init_fn=leave_signals_to_the_parent,
            # without its own, a loader draws from the global generator and a resumed run would differ
            generator=torch.Generator().manual_seed(self.seed),
        )


class CorpusDataModule(DataModule):
    """Everything that EmotiVoice learns from: see :class:`UtteranceDataset`."""

    def __init__(
        self,
        folder: str | Path,
        *settings: Any,
        numbering: Numbering | None = None,
        style: bool = True,
        replay: Replay | None = None,
        **named: Any,
    ) -> None:
        """As :class:`DataModule`.

        Args:
            folder: what `unison.prepare.prepare` wrote.
            settings: as there.
            numbering: ids and scales of the model, when they are not the corpus's own.
            style: deliver the corpus's style vectors, if it has any.
            replay: what is heard beside it.
            named: as there.

        Raises:
            UnisonError: nothing is left to learn from; the replayed corpus has other features.
        """
        self.numbering = numbering
        self.style = style
        super().__init__(folder, *settings, **named)
        if replay is not None:
            self.train_sets.append(self._replayed(replay, len(self.train_sets[0])))

    def can_say(self, utterance: Utterance) -> bool:
        return utterance.speaker in (self.numbering.speakers if self.numbering else self.corpus.speakers)

    def clips(self, utterances: Sequence[Utterance]) -> UtteranceDataset:
        return UtteranceDataset(self.corpus, utterances, self.numbering, self.style)

    def collate(self, items: Sequence[Item]) -> Batch:
        return collate(items)

    def _replayed(self, replay: Replay, count: int) -> UtteranceDataset:
        corpus = Corpus(replay.folder)
        numbering = self.numbering or Numbering.of(self.corpus)
        problems = []
        if not 0 < replay.share < 1:
            problems.append(f"speakers.replay_share={replay.share:g}: expected more than 0 and less than 1")
        if corpus.info.geometry != self.corpus.info.geometry:
            problems.append(f"speakers.replay={replay.folder}: prepared with another audio geometry than this corpus")
        if corpus.info.frontend_identity != self.corpus.info.frontend_identity:
            problems.append(f"speakers.replay={replay.folder}: prepared with another text frontend than this corpus")
        if self.style and corpus.info.style_identity != self.corpus.info.style_identity:
            problems.append(f"speakers.replay={replay.folder}: prepared with another style encoder than this corpus")
        if problems:
            raise UnisonError(problems)
        chosen = replay.utterances(corpus, count, numbering.speakers)
        if not chosen:
            raise UnisonError(f"speakers.replay={replay.folder}: none of its speakers is in this run's table")
        return UtteranceDataset(corpus, chosen, numbering, self.style)


def leave_signals_to_the_parent(worker: int) -> None:
    """A scheduler's SIGTERM and a terminal's Ctrl-C reach all processes; the run saves, then ends its workers."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
