"""Pieces of several speakers' recordings, for a speaker encoder."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchaudio.transforms import Resample

from unison.data.datamodule import DataModule
from unison.data.manifest import Corpus, Utterance
from unison.data.speaker_sampler import Crop, SpeakerSampler
from unison.errors import UnisonError, some
from unison.models.speaker_encoder.config import SpeakerEncoderConfig

ENROLLED = 4
"""Pieces of a speaker's clips to learn from that make the centroid which held-out pieces are held against."""


@dataclass
class Piece:
    """A piece of a speaker's clips, joined end to end."""

    key: str
    """Names of the clips."""
    speaker: str
    """Whose they are."""
    waveform: Tensor
    """Samples float32 [L] at the encoder's rate."""


@dataclass
class Voices:
    """As many pieces of each of several speakers, speaker by speaker."""

    keys: list[str]
    """Names of the clips of each piece [S * U]."""
    speakers: list[str]
    """Names [S]."""
    waveforms: Tensor
    """Samples float32 [S, U, L] at the encoder's rate."""

    @classmethod
    def of(cls, pieces: Sequence[Piece], each: int) -> Voices:
        """A batch with so many pieces of each speaker."""
        waveforms = torch.stack([piece.waveform for piece in pieces]).unflatten(0, (-1, each))
        return cls([piece.key for piece in pieces], [piece.speaker for piece in pieces[::each]], waveforms)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Voices:
        """The batch on a device."""
        return Voices(self.keys, self.speakers, self.waveforms.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Voices:
        """The batch in page-locked memory; the data loader calls it."""
        return Voices(self.keys, self.speakers, self.waveforms.pin_memory())


class VoiceDataset(Dataset[Piece]):
    """The clips of one split, in pieces that :class:`SpeakerSampler` asks for."""

    def __init__(self, corpus: Corpus, utterances: Sequence[Utterance], config: SpeakerEncoderConfig) -> None:
        """Read `utterances` of `corpus`, whatever its sample rate, for an encoder of this `config`."""
        self.corpus = corpus
        self.utterances = utterances
        self._samples = config.partial_frames * config.hop_length
        rate = corpus.geometry.sample_rate
        self._resample = Resample(rate, config.sample_rate)
        self.crop = math.ceil(self._samples * rate / config.sample_rate)
        """Samples of a piece, at the corpus's rate."""

    @property
    def speakers(self) -> list[str]:
        """Whose each clip is."""
        return [utterance.speaker for utterance in self.utterances]

    @property
    def lengths(self) -> list[int]:
        """Samples of the clips, at the corpus's rate."""
        return [utterance.frames * self.corpus.geometry.hop_length for utterance in self.utterances]

    def sampler(
        self,
        speakers: int,
        pieces: int,
        seed: int,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
        weights: Mapping[str, float] | None = None,
    ) -> SpeakerSampler:
        """Batches of so many pieces of each of so many speakers."""
        return SpeakerSampler(
            self.speakers, self.lengths, self.crop, speakers, pieces, seed, start, rank, world, weights
        )

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: Any) -> Piece:
        """The piece of this :class:`Crop`."""
        crop: Crop = index
        samples = crop.read(self.crop, lambda i: self.corpus.features.waveform(self.utterances[i]))
        clips = [self.utterances[i] for i in crop.clips]
        waveform = self._resample(torch.from_numpy(samples))[: self._samples]
        return Piece("+".join(clip.key for clip in clips), clips[0].speaker, waveform)

    def batch(self, pieces: int) -> Voices:
        """Always the same pieces, so many of every speaker."""
        crops = self.sampler(len(set(self.speakers)), pieces, seed=0).batch(0)
        return Voices.of([self[crop] for crop in crops], pieces)


class VoiceDataModule(DataModule):
    """Batches of `batch_size` pieces, `utterances` of each speaker.

    A validation is two batches: pieces of the clips that are learnt, of every speaker who has held-out clips, and
    pieces of the latter. Clips shorter than a piece are joined with others of their speaker.
    """

    train_sets: list[VoiceDataset]  # type: ignore[assignment]
    valid_set: VoiceDataset

    def __init__(
        self, folder: str | Path, *settings: Any, config: SpeakerEncoderConfig, utterances: int, **named: Any
    ) -> None:
        """As :class:`DataModule`.

        Args:
            folder: what `unison.prepare.prepare` wrote.
            settings: as there.
            config: the encoder's, which says how long a piece is and at which rate it is heard.
            utterances: pieces of each speaker in a batch.
            named: as there.

        Raises:
            UnisonError: there are fewer than two speakers, or one of them has fewer than two clips to learn from.
        """
        self.config = config
        self.utterances = utterances
        super().__init__(folder, *settings, **named)
        self._check()

    def can_say(self, utterance: Utterance) -> bool:
        return utterance.speaker in self.corpus.speakers

    def clips(self, utterances: Sequence[Utterance]) -> VoiceDataset:
        return VoiceDataset(self.corpus, utterances, self.config)

    def collate(self, items: Sequence[Piece]) -> Any:
        return Voices.of(items, self.utterances)

    def train_sampler(self) -> Any:
        speakers = self.batch_size // self.utterances
        return self.train_sets[0].sampler(
            speakers, self.utterances, self.seed, self.start_batch, *self._ranks(), self._speaker_weights()
        )

    def train_dataloader(self) -> DataLoader[Any]:
        return self._loader(self.train_sets[0], self.train_sampler(), self.loader.num_workers)

    def val_dataloader(self) -> DataLoader[Any]:
        held_out, names = self.valid_set, set(self.valid_set.speakers)
        batches: list[Any] = []
        if len(names) > 1:
            learnt = self.clips([clip for clip in self.train_sets[0].utterances if clip.speaker in names])
            pieces = round(sum(held_out.lengths) / (len(names) * held_out.crop))
            batches = [learnt.batch(ENROLLED), held_out.batch(max(pieces, 2))]
        return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]

    def _speaker_weights(self) -> dict[str, float] | None:
        """The weight of each corpus of a mix shared out among its speakers."""
        if self.weights is None:
            return None
        voices = {(u.corpus, u.speaker) for u in self.train_sets[0].utterances}
        sizes = Counter(corpus for corpus, _ in voices)
        found = dict.fromkeys((speaker for _, speaker in voices), 0.0)
        for corpus, speaker in voices:
            found[speaker] += self.weights[corpus] / sizes[corpus]
        return found

    def _check(self) -> None:
        learnt = self.train_sets[0]
        counts = Counter(learnt.speakers)
        problems = []
        if len(counts) < 2:
            problems.append(
                f"{self.corpus.folder}: {len(counts)} speaker to learn from ({', '.join(counts)}); voices are learnt by"
                " comparing, which takes 2 or more"
            )
        if single := sorted(name for name, count in counts.items() if count < 2):
            problems.append(
                f"{self.corpus.folder}: {some(single)}: 1 clip to learn from; each speaker needs 2 or more: add some,"
                " or leave these speakers out of the corpus"
            )
        if problems:
            raise UnisonError(problems)
