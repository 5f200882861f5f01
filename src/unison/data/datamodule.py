"""The corpus as Lightning wants it."""

from __future__ import annotations

import hashlib
import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule
from torch.utils.data import ConcatDataset, DataLoader, Dataset

from unison.data.batch import Batch, Item, collate
from unison.data.config import LoaderConfig
from unison.data.dataset import Numbering, UtteranceDataset
from unison.data.manifest import Corpus, Utterance
from unison.data.sampler import BucketSampler, buckets_of
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


class CorpusDataModule(LightningDataModule):
    """Training batches without end, and the same validation batches every time.

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
        numbering: Numbering | None = None,
        style: bool = True,
        start_batch: int = 0,
        replay: Replay | None = None,
    ) -> None:
        """Serve the prepared corpus in `folder`.

        Args:
            folder: what `unison.prepare.prepare` wrote.
            batch_size: utterances in a batch, at most.
            batch_frames: mel frames in a batch, padding included, at most.
            loader: worker processes and the size of a validation.
            seed: decides the order of the training batches.
            numbering: ids and scales of the model, when they are not the corpus's own.
            style: deliver the corpus's style vectors, if it has any.
            start_batch: this rank's first training batch.
            replay: what is heard beside it.

        Raises:
            UnisonError: nothing is left to learn from; the replayed corpus has other features.
        """
        super().__init__()
        self.corpus = Corpus(folder)
        self.batch_size = batch_size
        self.batch_frames = batch_frames
        self.loader = loader or LoaderConfig()
        self.seed = seed
        self.start_batch = start_batch
        learnt = self.corpus.split("train")
        if not learnt:
            raise UnisonError(f"{folder}: all clips are held out, none is left to learn from; lower data.valid")
        # the same clips whatever the order of the corpus, spread over its speakers and texts
        held_out = sorted(self.corpus.split("valid"), key=lambda u: hashlib.sha256(u.key.encode()).digest())
        if self.loader.overfit:
            learnt = held_out = learnt[: self.loader.overfit]
        self.train_sets = [UtteranceDataset(self.corpus, learnt, numbering, style)]
        if replay is not None:
            self.train_sets.append(self._replayed(replay, len(learnt), numbering or Numbering.of(self.corpus), style))
        self.valid_set = UtteranceDataset(self.corpus, held_out[: self.loader.valid_clips], numbering, style)

    def train_sampler(self) -> BucketSampler:
        """The stream of training batches, as the loader will read it."""
        rank, world = self._ranks()
        lengths = [u.frames for dataset in self.train_sets for u in dataset.utterances]
        return BucketSampler(lengths, self.batch_frames, self.batch_size, self.seed, self.start_batch, rank, world)

    def train_dataloader(self) -> DataLoader[Batch]:
        return self._loader(ConcatDataset(self.train_sets), self.train_sampler(), self.loader.num_workers)

    def val_dataloader(self) -> DataLoader[Batch]:
        lengths = [u.frames for u in self.valid_set.utterances]
        batches = [
            members[i : i + capacity].tolist()
            for members, capacity in buckets_of(lengths, self.batch_frames, self.batch_size)
            for i in range(0, len(members), capacity)
        ]
        # few and short: not worth a process that lives as long as the training, nor sharing out over the ranks
        return self._loader(self.valid_set, batches, 0)

    def _replayed(self, replay: Replay, count: int, numbering: Numbering, style: bool) -> UtteranceDataset:
        corpus = Corpus(replay.folder)
        problems = []
        if not 0 < replay.share < 1:
            problems.append(f"speakers.replay_share={replay.share:g}: expected more than 0 and less than 1")
        if corpus.info.geometry != self.corpus.info.geometry:
            problems.append(f"speakers.replay={replay.folder}: prepared with another audio geometry than this corpus")
        if (corpus.info.frontend, corpus.info.frontend_version) != (
            self.corpus.info.frontend,
            self.corpus.info.frontend_version,
        ):
            problems.append(f"speakers.replay={replay.folder}: prepared with another text frontend than this corpus")
        if style and corpus.info.style_identity != self.corpus.info.style_identity:
            problems.append(f"speakers.replay={replay.folder}: prepared with another style encoder than this corpus")
        if problems:
            raise UnisonError(problems)
        chosen = replay.utterances(corpus, count, numbering.speakers)
        if not chosen:
            raise UnisonError(f"speakers.replay={replay.folder}: none of its speakers is in this run's table")
        return UtteranceDataset(corpus, chosen, numbering, style)

    def _ranks(self) -> tuple[int, int]:
        trainer = self.trainer
        return (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)

    def _loader(self, dataset: Dataset[Item], batches: Any, workers: int) -> DataLoader[Batch]:
        return DataLoader(
            dataset,  # type: ignore[arg-type]
            batch_sampler=batches,
            num_workers=workers,
            prefetch_factor=self.loader.prefetch if workers else None,
            persistent_workers=workers > 0,
            pin_memory=self.loader.pin_memory,
            collate_fn=collate,
            worker_init_fn=_leave_signals_to_the_parent,
            # without its own, a loader draws from the global generator and a resumed run would differ
            generator=torch.Generator().manual_seed(self.seed),
        )


def _leave_signals_to_the_parent(worker: int) -> None:
    """A scheduler's SIGTERM and a terminal's Ctrl-C reach all processes; the run saves, then ends its workers."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
