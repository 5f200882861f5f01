"""No style."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from unison.errors import UnisonError
from unison.style.config import CLASSES


class NoStyle(nn.Module):
    """The interface of a style encoder, with vectors of width 0."""

    style_dim = 0
    content_dim = 0

    @property
    def identity(self) -> dict[str, Any]:
        """What the contract says about it."""
        return {"name": "none"}

    def ids(self, style: dict[str, str]) -> list[int]:
        """All unspecified; raises UnisonError when a label is asked for."""
        asked = [name for name in CLASSES if style.get(name)]
        if asked:
            raise UnisonError(f"style {', '.join(asked)}: this voice was trained without style labels")
        return [0] * len(CLASSES)

    def encode(self, texts: list[str]) -> Tensor:
        """Vectors of width 0, float32 [N, 0]."""
        return torch.zeros(len(texts), 0)

    def forward(self, labels: Tensor) -> Tensor:
        """labels [B, 4] int64 → float32 [B, 0]."""
        return torch.zeros(labels.shape[0], 0, device=labels.device)
