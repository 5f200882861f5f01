"""Utterances as tensors, read from the memory-mapped features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from unison.audio.f0 import interpolate
from unison.data.batch import Item
from unison.data.manifest import Corpus, Statistics, Utterance
from unison.errors import UnisonError
from unison.style.config import CLASSES


@dataclass(frozen=True)
class Numbering:
    """What names become ids by, and what scales features: the corpus's own, or a trained model's."""

    speakers: Sequence[str]
    """Speakers by id."""
    symbols: Sequence[str]
    """Symbols by id."""
    labels: dict[str, list[str]]
    """Names by id - 1, for each style class."""
    statistics: Statistics
    """What pitch and energy are scaled with."""

    @classmethod
    def of(cls, corpus: Corpus) -> Numbering:
        """The corpus's own."""
        return cls(corpus.speakers, corpus.symbols, corpus.labels, corpus.statistics)


class UtteranceDataset(Dataset[Item]):
    """The utterances of one split.

    Raises :class:`UnisonError` when an utterance has a speaker, symbol or label that the numbering lacks.
    """

    def __init__(
        self,
        corpus: Corpus,
        utterances: Sequence[Utterance],
        numbering: Numbering | None = None,
        style: bool = True,
    ) -> None:
        """Read `utterances` of `corpus`; without `style` the style vectors have no width."""
        self.corpus = corpus
        self.utterances = utterances
        self.numbering = numbering or Numbering.of(corpus)
        self.style_dim = corpus.info.style_dim if style else 0
        self._speakers = _ids(self.numbering.speakers)
        self._symbols = _ids(self.numbering.symbols)
        self._labels = {label: _ids(["", *self.numbering.labels.get(label, [])]) for label in CLASSES}
        self._check()

    @property
    def lengths(self) -> list[int]:
        """Mel frames of the utterances."""
        return [utterance.frames for utterance in self.utterances]

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> Item:
        utterance = self.utterances[index]
        features, statistics = self.corpus.features, self.numbering.statistics
        f0 = interpolate(features.f0(utterance))
        # a clip without any voiced frame gets the mean
        pitch = (f0 - statistics.f0_mean) / statistics.f0_std if f0.any() else np.zeros_like(f0)
        energy = (features.energy(utterance) - statistics.energy_mean) / statistics.energy_std
        return Item(
            key=utterance.key,
            tokens=torch.tensor([self._symbols[symbol] for symbol in utterance.symbols]),
            speaker=self._speakers[utterance.speaker],
            labels=torch.tensor([self._labels[label][utterance.style.get(label, "")] for label in CLASSES]),
            style=self._vector(utterance.prompt_row),
            content=torch.zeros(0) if utterance.content_row is None else self._vector(utterance.content_row),
            mel=torch.tensor(features.mel(utterance)),
            pitch=torch.tensor(pitch, dtype=torch.float32),
            energy=torch.tensor(energy, dtype=torch.float32),
            waveform=torch.from_numpy(features.waveform(utterance)),
        )

    def _vector(self, row: int | None) -> Tensor:
        if not self.style_dim or row is None:
            return torch.zeros(self.style_dim)
        return torch.tensor(self.corpus.style_table[row])

    def _check(self) -> None:
        missing: dict[str, set[str]] = {
            "speaker": {u.speaker for u in self.utterances} - self._speakers.keys(),
            "symbol": {symbol for u in self.utterances for symbol in u.symbols} - self._symbols.keys(),
        }
        for label in CLASSES:
            missing[label] = {u.style.get(label, "") for u in self.utterances} - self._labels[label].keys()
        problems = [
            f"{self.corpus.folder}: the model knows no {kind} {', '.join(sorted(names)[:10])}; "
            "train on a corpus that it knows, or extend the model first"
            for kind, names in missing.items()
            if names
        ]
        if problems:
            raise UnisonError(problems)


def _ids(names: Sequence[str]) -> dict[str, int]:
    return {name: index for index, name in enumerate(names)}
