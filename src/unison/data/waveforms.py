"""Recordings alone, for a codec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from unison.data.datamodule import DataModule
from unison.data.manifest import Corpus, Utterance


@dataclass
class Recording:
    """One clip."""

    key: str
    """Its name in the corpus."""
    waveform: Tensor
    """Samples float32 [L], full scale is 1."""


@dataclass
class Recordings:
    """Clips padded to the longest with silence."""

    keys: list[str]
    """Names of the clips."""
    waveform: Tensor
    """Samples float32 [B, 1, L], full scale is 1."""
    lengths: Tensor
    """Samples int64 [B]."""

    @classmethod
    def of(cls, items: Sequence[Recording]) -> Recordings:
        """Pad items into a batch."""
        return cls(
            [item.key for item in items],
            pad_sequence([item.waveform for item in items], batch_first=True)[:, None],
            torch.tensor([len(item.waveform) for item in items]),
        )

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Recordings:
        """The batch on a device."""
        waveform, lengths = (x.to(device, non_blocking=non_blocking) for x in (self.waveform, self.lengths))
        return Recordings(self.keys, waveform, lengths)

    def pin_memory(self) -> Recordings:
        """The batch in page-locked memory; the data loader calls it."""
        return Recordings(self.keys, self.waveform.pin_memory(), self.lengths.pin_memory())


class RecordingDataset(Dataset[Recording]):
    """The recordings of one split."""

    def __init__(self, corpus: Corpus, utterances: Sequence[Utterance], heard: int | None = None) -> None:
        """Read `utterances` of `corpus`; of each, `heard` frames count in a batch at most (None: all)."""
        self.corpus = corpus
        self.utterances = utterances
        self.heard = heard

    @property
    def lengths(self) -> list[int]:
        """Mel frames of the clips, as far as they are heard."""
        return [u.frames if self.heard is None else min(u.frames, self.heard) for u in self.utterances]

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> Recording:
        utterance = self.utterances[index]
        return Recording(utterance.key, torch.from_numpy(self.corpus.features.waveform(utterance)))


class RecordingDataModule(DataModule):
    """Batches of recordings.

    Those to learn from come whole, although only a segment of each is heard: what fills a batch are the segments, so
    that long clips meet one another and short ones in any order. Those to validate on are heard whole.
    """

    def __init__(self, folder: str | Path, *settings: Any, segment_frames: int, **named: Any) -> None:
        """As :class:`DataModule`.

        Args:
            folder: what `unison.prepare.prepare` wrote.
            settings: as there.
            segment_frames: mel frames that are heard of a clip at a time.
            named: as there.

        Raises:
            UnisonError: nothing is left to learn from.
        """
        super().__init__(folder, *settings, **named)
        self.train_sets = [RecordingDataset(self.corpus, clips.utterances, segment_frames) for clips in self.train_sets]

    def clips(self, utterances: Sequence[Utterance]) -> RecordingDataset:
        return RecordingDataset(self.corpus, utterances)

    def collate(self, items: Sequence[Recording]) -> Recordings:
        return Recordings.of(items)
