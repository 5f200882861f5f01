"""Prompts with what they ask for, for a style encoder: made without end, and the corpus's own."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from unison.data.config import LoaderConfig
from unison.data.datamodule import leave_signals_to_the_parent
from unison.data.manifest import Corpus
from unison.errors import UnisonError
from unison.style.config import CLASSES
from unison.style.wording import Example, Wording, held_out

_OWN_SHARE = 0.3
"""Of what is learnt, where the corpus has prompts with labels."""
_POOL = 8
"""Batches drawn together, of which one, of prompts of like length, is taken."""


@dataclass
class Prompts:
    """A batch of prompts."""

    keys: list[str]
    """The prompts themselves."""
    labels: Tensor
    """Class ids int64 [B, 4] of emotion, pitch, speed, energy; 0 is unspecified."""

    @classmethod
    def of(cls, examples: Sequence[Example], labels: Mapping[str, Sequence[str]]) -> Prompts:
        """Examples as a batch, by the lists of labels that an encoder knows."""
        ids = {name: {"": 0} | {label: i for i, label in enumerate(labels[name], 1)} for name in CLASSES}
        rows = [[ids[name][example.labels.get(name, "")] for name in CLASSES] for example in examples]
        return cls([example.text for example in examples], torch.tensor(rows))

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Prompts:
        """The batch on a device."""
        return Prompts(self.keys, self.labels.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Prompts:
        """The batch in page-locked memory; the data loader calls it."""
        return Prompts(self.keys, self.labels.pin_memory())


def own_prompts(corpus: Corpus, split: str, wording: Wording) -> list[Example]:
    """A split's prompts in words that come with labels, each once."""
    found = {
        utterance.style["prompt"]: wording.standardised(utterance.style)
        for utterance in corpus.split(split)
        if utterance.style.get("prompt")
    }
    return [Example(text, labels) for text, labels in found.items() if labels]


class PromptDataset(Dataset[Prompts]):
    """Batches by their numbers: batch k follows from the seed and k alone."""

    def __init__(
        self, wording: Wording, labels: Mapping[str, Sequence[str]], own: Sequence[Example], size: int, seed: int
    ) -> None:
        """Batches of `size` prompts, `own` ones among them."""
        self._wording, self._labels, self._own, self._size, self._seed = wording, labels, own, size, seed

    def __getitem__(self, number: int) -> Prompts:
        draw = random.Random(f"{self._seed}/{number}")
        examples = [
            draw.choice(self._own) if self._own and draw.random() < _OWN_SHARE else self._wording.example(draw)
            for _ in range(_POOL * self._size)
        ]
        examples.sort(key=lambda example: len(example.text))
        start = draw.randrange(_POOL) * self._size
        return Prompts.of(examples[start : start + self._size], self._labels)


class _From(Sampler[int]):
    """This rank's numbers without end."""

    def __init__(self, start: int, rank: int, world: int) -> None:
        self._start, self._rank, self._world = start, rank, world

    def __iter__(self) -> Iterator[int]:
        number = self._start
        while True:
            yield number * self._world + self._rank
            number += 1


class PromptDataModule(LightningDataModule):
    """Batches of made prompts; a validation is of those that are held out, of the data files and of the corpus."""

    def __init__(
        self,
        corpus: Corpus,
        batch_size: int,
        labels: Mapping[str, Sequence[str]],
        loader: LoaderConfig,
        seed: int = 0,
        start_batch: int = 0,
    ) -> None:
        """Serve prompts for an encoder of these `labels`; `corpus` brings its own, if it has any.

        Raises:
            UnisonError: the corpus has labels that the encoder does not know.
        """
        super().__init__()
        wording = Wording(corpus.labels)
        listed = ((name, label) for name, own in wording.labels.items() for label in own)
        if missing := [f"{name}={label}" for name, label in listed if label not in labels[name]]:
            raise UnisonError(
                f"{corpus.folder}: the encoder that this run starts from knows no {', '.join(missing)}; leave"
                " init_from= out, and one is trained that does"
            )
        own = own_prompts(corpus, "train", wording)
        self.train_set = PromptDataset(wording, labels, own, batch_size, seed)
        examples = [*held_out(), *own_prompts(corpus, "valid", wording)]
        self.valid_set = [
            Prompts.of(examples[start : start + batch_size], labels) for start in range(0, len(examples), batch_size)
        ]
        self._loader, self._start_batch = loader, start_batch

    def train_dataloader(self) -> DataLoader[Any]:
        trainer = self.trainer
        ranks = (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)
        workers = self._loader.num_workers
        return DataLoader(
            self.train_set,
            batch_size=None,
            sampler=_From(self._start_batch, *ranks),
            num_workers=workers,
            prefetch_factor=self._loader.prefetch if workers else None,
            persistent_workers=workers > 0,
            pin_memory=self._loader.pin_memory,
            worker_init_fn=leave_signals_to_the_parent,
            generator=torch.Generator().manual_seed(0),
        )

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.valid_set, batch_size=None)  # type: ignore[arg-type]
