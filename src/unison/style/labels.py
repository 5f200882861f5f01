"""Style from labels: one learned table for each class."""

from __future__ import annotations

import difflib

import torch
from torch import Tensor, nn

from unison.errors import UnisonError
from unison.style.config import CLASSES, LabelStyleConfig


class LabelStyle(nn.Module):
    """Tables of vectors for emotion, pitch, speed and energy; id 0 of each is 'unspecified'.

    A class without labels in the corpus has no table and no share in the vector, which is `dim` wide.
    """

    def __init__(self, config: LabelStyleConfig, labels: dict[str, list[str]]) -> None:
        super().__init__()
        self.labels = {name: list(labels.get(name, [])) for name in CLASSES}
        self.dropout = config.dropout
        widths = config.widths(self.labels)
        self.dim = sum(widths.values())
        self.tables = nn.ModuleDict(
            {name: nn.Embedding(1 + len(self.labels[name]), width) for name, width in widths.items()}
        )

    def ids(self, style: dict[str, str]) -> list[int]:
        """A clip's or a request's labels as ids in the order of `CLASSES`; 0 where the class is not named.

        Raises UnisonError that names each label that the corpus did not have, and the nearest.
        """
        problems = []
        ids = []
        for name in CLASSES:
            label, known = style.get(name), self.labels[name]
            if label and label not in known:
                problems.append(_unknown(name, label, known))
            ids.append(1 + known.index(label) if label in known else 0)
        if problems:
            raise UnisonError(problems)
        return ids

    def forward(self, labels: Tensor) -> Tensor:
        """labels [B, 4] int64 (0 = unspecified) → [B, dim]; in training some labels are hidden."""
        if self.training and self.dropout > 0:
            labels = labels.masked_fill(torch.rand(labels.shape, device=labels.device) < self.dropout, 0)
        vectors = [table(labels[:, CLASSES.index(name)]) for name, table in self.tables.items()]
        return torch.cat(vectors, dim=-1) if vectors else torch.zeros(labels.shape[0], 0, device=labels.device)


def _unknown(name: str, label: str, known: list[str]) -> str:
    close = difflib.get_close_matches(label, known, n=3)
    hint = f"nearest: {', '.join(close)}" if close else f"known: {', '.join(known) or 'none in this corpus'}"
    return f"style {name}={label}: unknown label; {hint}"
