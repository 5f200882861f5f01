"""A style encoder: what a prompt asks for, by cross entropy over the labels of each class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unison.data.manifest import Corpus
from unison.data.prompts import PromptDataModule, Prompts
from unison.models.style_encoder.encoder import StyleEncoder
from unison.style.config import CLASSES
from unison.training.config import STAGES
from unison.training.task import Losses, Task


class StyleEncoderTask(Task):
    """Trains a :class:`StyleEncoder`."""

    STAGES = STAGES["style_encoder"]
    SHOWN = ("accuracy",)
    voice: StyleEncoder

    def parts(self) -> dict[str, nn.Module]:
        return {"style encoder": self.voice}

    def parts_of(self, stage: str) -> tuple[str, ...]:
        return ("reader.", "heads.")

    def seconds_of(self, batch: Prompts) -> float:
        return 0.0  # nothing is heard

    def headline(self) -> dict[str, str]:
        return {name: value for name, value in super().headline().items() if name != "audio_per_second"}

    def loss_weights(self) -> dict[str, float]:
        return dict.fromkeys(CLASSES, 1.0)

    def losses(self, batch: Prompts, stepping: bool) -> Losses:
        logits = self._logits(self.voice, batch)
        own = dict(zip(CLASSES, batch.labels.unbind(1), strict=True))
        right = [logits[name].argmax(-1) == own[name] for name in CLASSES]
        losses = {name: F.cross_entropy(logits[name], own[name]) for name in CLASSES}
        return losses | {"accuracy": torch.stack(right).all(0).float().mean()}

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """The share of prompts of which a class, or all of them, is read right."""
        with torch.no_grad():
            logits = self._logits(self.speaking_voice, batch)
        right = torch.stack([logits[name].argmax(-1) for name in CLASSES], 1) == batch.labels
        figures = dict(zip(CLASSES, right.unbind(1), strict=True)) | {"accuracy": right.all(1)}
        for name, values in figures.items():
            self._validation_sums.setdefault(name, []).extend(values.float().tolist())

    def look_through(self, batch: Prompts) -> None:
        self._logits(self.voice, batch)

    def data(self, prepared: Path) -> PromptDataModule:
        stage = self.stage
        return PromptDataModule(
            Corpus(prepared),
            stage.batch_size,
            self.contract.labels,
            self.config.loader,
            self.config.seed,
            self.progress.stage_batch,
        )

    def _logits(self, encoder: nn.Module, batch: Prompts) -> dict[str, Tensor]:
        with self.policy.autocast():
            vectors = encoder(batch.keys)
        logits: dict[str, Tensor] = encoder.logits(vectors)  # type: ignore[operator]
        return logits
