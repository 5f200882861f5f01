"""A speaker encoder: voices apart, by the generalised end-to-end loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unison.data.voices import VoiceDataModule, Voices
from unison.models.speaker_encoder.augment import add_noise, colour
from unison.models.speaker_encoder.config import AugmentationConfig
from unison.models.speaker_encoder.encoder import SpeakerEncoder
from unison.models.speaker_encoder.ge2e import Ge2eLoss, equal_error_rate
from unison.training.config import STAGES
from unison.training.task import Losses, Task


class SpeakerEncoderTask(Task):
    """Trains a :class:`SpeakerEncoder`."""

    STAGES = STAGES["speaker_encoder"]
    SHOWN = ("accuracy", "equal_error_rate")
    voice: SpeakerEncoder

    def __init__(self, voice: nn.Module, *args: Any) -> None:
        super().__init__(voice, *args)
        self.ge2e = Ge2eLoss()
        self._heard: list[tuple[list[str], Tensor]] = []

    def parts(self) -> dict[str, nn.Module]:
        return {"speaker encoder": self.voice}

    def parts_of(self, stage: str) -> tuple[str, ...]:
        return ("lstm.", "linear.")

    def parameters_of(self, stage: str) -> list[nn.Parameter]:
        """With the loss's own scale and bias."""
        own = super().parameters_of(stage)
        return own and [*own, *self.ge2e.parameters()]

    def seconds_of(self, batch: Voices) -> float:
        return batch.waveforms.numel() / self.voice.sample_rate

    def loss_weights(self) -> dict[str, float]:
        return {"ge2e": 1.0}

    def losses(self, batch: Voices, stepping: bool) -> Losses:
        loss, similarity = self.ge2e(self._vectors(self.voice, batch, self.config.losses.augmentation))
        shown = {"accuracy": similarity.accuracy, "equal_error_rate": similarity.equal_error_rate}
        return {"ge2e": loss} | {name: torch.tensor(value) for name, value in shown.items()}

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """The figures are of all batches together."""
        with torch.no_grad():
            self._heard.append((batch.speakers, self._vectors(self.speaking_voice, batch)))

    def on_validation_epoch_end(self) -> None:
        if len(self._heard) == 2:
            figures = identification(*self._heard)
            self._validation_sums = {name: [value] for name, value in figures.items()}
        self._heard.clear()
        super().on_validation_epoch_end()

    def look_through(self, batch: Voices) -> None:
        self._vectors(self.voice, batch)

    def data(self, prepared: Path) -> VoiceDataModule:
        return VoiceDataModule(
            prepared,
            **self.batches(),
            config=self.config.model,
            utterances=self.config.losses.utterances,
        )

    def _vectors(self, encoder: nn.Module, batch: Voices, augmentation: AugmentationConfig | None = None) -> Tensor:
        """Vectors [S, U, dim] of the pieces."""
        waveforms = self.voice.level(batch.waveforms.flatten(0, 1))
        if augmentation is not None:
            waveforms = add_noise(waveforms, augmentation, torch.default_generator)
        mels = self.voice.mel(waveforms)[:, : self.voice.config.partial_frames]
        if augmentation is not None:
            mels = colour(mels, augmentation, torch.default_generator)
        with self.policy.autocast():
            vectors: Tensor = encoder(mels)
        return vectors.unflatten(0, batch.waveforms.shape[:2])


def identification(enrolled: tuple[list[str], Tensor], heard: tuple[list[str], Tensor]) -> dict[str, float]:
    """How well pieces are told apart by their distance to speakers' centroids.

    Args:
        enrolled: speakers [S], and vectors [S, E, dim] whose means are the centroids.
        heard: the same speakers in any order, and vectors [S, U, dim] of other pieces.

    Returns:
        `accuracy`, the share of pieces that are nearest to their own speaker's centroid, and `equal_error_rate` of
        telling from the cosine alone whether a piece is a speaker's.
    """
    names, vectors = enrolled
    centroids = F.normalize(vectors.mean(1), dim=-1)
    cosines = heard[1] @ centroids.T
    own = torch.tensor([names.index(name) for name in heard[0]], device=cosines.device)
    same = F.one_hot(own, len(names)).bool()[:, None].expand(cosines.shape)
    return {
        "accuracy": float((cosines.argmax(-1) == own[:, None]).sum() / cosines[..., 0].numel()),
        "equal_error_rate": equal_error_rate(cosines[same], cosines[~same]),
    }
