"""No style."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unison.errors import UnisonError
from unison.style.config import CLASSES


class NoStyle(nn.Module):
    """As `LabelStyle`, without labels: vectors of width 0."""

    dim = 0

    def ids(self, style: dict[str, str]) -> list[int]:
        """All unspecified; raises UnisonError when a label is asked for."""
        asked = [name for name in CLASSES if style.get(name)]
        if asked:
            raise UnisonError(f"style {', '.join(asked)}: this voice was trained without style labels")
        return [0] * len(CLASSES)

    def forward(self, labels: Tensor) -> Tensor:
        """labels [B, 4] int64 → float32 [B, 0]."""
        return torch.zeros(labels.shape[0], 0, device=labels.device)
