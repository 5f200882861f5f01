"""What a language model learns from: texts as byte pairs, recordings as codes, and who speaks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from unison.data.datamodule import DataModule
from unison.data.joining import Group, joined
from unison.data.manifest import Corpus, Utterance
from unison.data.references import references
from unison.data.rows import Rows
from unison.errors import UnisonError
from unison.text.bpe import BytePairs

log = logging.getLogger(__name__)


@dataclass
class Spoken:
    """One utterance, or several of one speaker joined."""

    key: str
    """Names in the corpus."""
    text: Tensor
    """Byte pairs int64 [N], without an end."""
    codes: Tensor
    """int64 [K, T]."""
    reference: int
    """Its own reference: row of :attr:`Voices.vectors`."""
    seconds: float


@dataclass
class Tokens:
    """Utterances padded to the longest; padding is 0 everywhere (the lengths say where it starts)."""

    keys: list[str]
    text: Tensor
    """int64 [B, N]."""
    text_lengths: Tensor
    """int64 [B]."""
    codes: Tensor
    """int64 [B, K, T]."""
    code_lengths: Tensor
    """Frames int64 [B]."""
    references: Tensor
    """Each one's own reference int64 [B]."""
    seconds: float
    """Audio in all."""

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Tokens:
        """The batch on a device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Tokens:
        """The batch in page-locked memory; the data loader calls it."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, change: Callable[[Tensor], Tensor]) -> Tokens:
        changed: dict[str, Any] = {n: change(v) for n, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **changed)


def collate(items: Sequence[Spoken]) -> Tokens:
    """Pad items into a batch."""
    return Tokens(
        keys=[item.key for item in items],
        text=pad_sequence([item.text for item in items], batch_first=True),
        text_lengths=torch.tensor([len(item.text) for item in items]),
        codes=pad_sequence([item.codes.T for item in items], batch_first=True).transpose(1, 2),
        code_lengths=torch.tensor([item.codes.shape[1] for item in items]),
        references=torch.tensor([item.reference for item in items]),
        seconds=sum(item.seconds for item in items),
    )


class Voices:
    """The speaker vectors of a corpus's references, and which of them a speaker has."""

    def __init__(self, corpus: Corpus, table: Rows) -> None:
        found = [reference for split in ("train", "valid") for reference in references(corpus.split(split))]
        self.vectors = torch.stack([torch.tensor(table[reference.key][0]) for reference in found])
        """float32 [R, D]."""
        self.speakers = [reference.speaker for reference in found]
        self.splits = [reference.utterances[0].split for reference in found]
        self.of_recording = {u.digest: row for row, reference in enumerate(found) for u in reference.utterances}
        """For a recording's digest, the row of the reference that it is in."""
        self._learnt: dict[str, list[int]] = {}
        for row, (speaker, split) in enumerate(zip(self.speakers, self.splits, strict=True)):
            if split == "train":
                self._learnt.setdefault(speaker, []).append(row)

    def rows_of(self, speaker: str) -> list[int]:
        """Rows of a speaker's references to learn from."""
        return self._learnt.get(speaker, [])

    def mean(self, speaker: str) -> Tensor:
        """The vector [D] of a speaker by name: the mean of the references', of length 1."""
        return torch.nn.functional.normalize(self.vectors[self.rows_of(speaker)].mean(0), dim=0)


class TokenDataset(Dataset[Spoken]):
    """The utterances of one split that fit the model's window, each an item until they are joined."""

    def __init__(
        self,
        utterances: Sequence[Utterance],
        codes: Rows,
        voices: Voices,
        tokenizer: BytePairs,
        positions: Callable[[int, int], int],
        window: int,
    ) -> None:
        """Serve `utterances`; `positions` says how many a text of N byte pairs and T frames take, of `window`.

        Raises:
            UnisonError: none fits the window.
        """
        self._codes, self._voices, self._encode = codes, voices, tokenizer.encode
        self._positions, self._window = positions, window
        lengths = [self._length((utterance,)) for utterance in utterances]
        fitting = [i for i, length in enumerate(lengths) if length <= window]
        if len(fitting) < len(utterances):
            left = len(utterances) - len(fitting)
            note = f"{left} of {len(utterances)} clips are longer than the model's window of {window} positions"
            if not fitting:
                raise UnisonError(f"{note}: lower data.max_seconds, or take a model with more model.max_positions")
            log.warning("%s and are left out", note)
        self.utterances = [utterances[i] for i in fitting]
        self.lengths = [lengths[i] for i in fitting]
        self._items: list[Group] = [(utterance,) for utterance in self.utterances]

    def join(self, seconds: float, seed: int) -> None:
        """Make items of several utterances, see :func:`unison.data.joining.joined`."""
        self._items = joined(self.utterances, seconds, seed, self._fits)
        self.utterances = [first for first, *_ in self._items]
        self.lengths = [self._length(item) for item in self._items]

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int, /) -> Spoken:
        item = self._items[index]
        codes = np.concatenate([self._codes[utterance.digest] for utterance in item])
        return Spoken(
            key=" + ".join(utterance.key for utterance in item),
            text=torch.tensor(self._text(item), dtype=torch.int64),
            codes=torch.tensor(codes.T, dtype=torch.int64),
            reference=self._voices.of_recording[item[0].digest],
            seconds=sum(utterance.seconds for utterance in item),
        )

    def _text(self, item: Group) -> list[int]:
        return self._encode(" ".join(utterance.text for utterance in item))

    def _length(self, item: Group) -> int:
        return self._positions(len(self._text(item)), sum(self._codes.length(utterance.digest) for utterance in item))

    def _fits(self, item: Group) -> bool:
        return self._length(item) <= self._window


class TokenDataModule(DataModule):
    """Batches of :class:`Tokens`; `batch_frames` counts positions."""

    train_sets: list[TokenDataset]  # type: ignore[assignment]

    def __init__(
        self,
        folder: str | Path,
        *settings: Any,
        codes: str,
        voices: str,
        tokenizer: BytePairs,
        positions: Callable[[int, int], int],
        window: int,
        joined_seconds: float = 0.0,
        **named: Any,
    ) -> None:
        """As :class:`DataModule`.

        Args:
            folder: what `unison.prepare.prepare` wrote.
            settings: as there.
            codes: name of the table of codes.
            voices: name of the table of speaker vectors.
            tokenizer: reads the texts.
            positions: see :class:`TokenDataset`.
            window: see there.
            joined_seconds: clips to learn from are also joined, up to so long; 0 leaves each alone.
            named: as there.
        """
        folder = Path(folder)
        self._codes = Rows(folder, codes)
        self.voices = Voices(Corpus(folder), Rows(folder, voices))
        self._reading = (tokenizer, positions, window)
        super().__init__(folder, *settings, **named)
        if joined_seconds:
            for clips in self.train_sets:
                clips.join(joined_seconds, self.seed)

    def clips(self, utterances: Sequence[Utterance]) -> TokenDataset:  # type: ignore[override]
        return TokenDataset(utterances, self._codes, self.voices, *self._reading)

    def collate(self, items: Sequence[Spoken]) -> Tokens:
        return collate(items)
