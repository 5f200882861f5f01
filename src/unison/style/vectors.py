"""Style from a trained encoder's vectors."""

from __future__ import annotations

import torch
from torch import Tensor

from unison.style.config import PromptStyleConfig
from unison.style.none import NoStyle


class PromptStyle(NoStyle):
    """No labels: all of the style is in the vectors of a style encoder, zero where nothing is asked for."""

    def __init__(self, config: PromptStyleConfig) -> None:
        super().__init__()
        self.dropout = config.dropout

    def hidden(self, vectors: Tensor) -> Tensor:
        """Vectors [B, S] as they are; in training some are zero, so that speaking without a prompt is learnt."""
        if not self.training or self.dropout <= 0:
            return vectors
        return vectors.masked_fill(torch.rand(len(vectors), 1, device=vectors.device) < self.dropout, 0)
