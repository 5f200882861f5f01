"""What was spoken."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import Any

import numpy as np

PAUSE_SECONDS = 0.25
MAX_PAUSE_SECONDS = 60.0


@dataclass
class Audio:
    """What was spoken."""

    samples: np.ndarray
    """float32 [L] in −1 … 1."""
    sample_rate: int
    timings: dict[str, float] = field(default_factory=dict)
    """Seconds spent on each part of the way, as text, acoustic model and vocoder; a batch's time is shared out."""
    details: dict[str, Any] = field(default_factory=dict)
    """What else there is to tell of how it came about, as primitives: a family's own."""

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate

    @property
    def real_time_factor(self) -> float:
        """Compute time over audio time."""
        return sum(self.timings.values()) / max(self.seconds, 1e-9)


def pause_after(text: str, pause: float) -> float:
    """Seconds of silence behind a piece of a text: ``pause`` at a sentence's end, half at a comma, else none."""
    last = text.rstrip("\"'”’」』）)】》] ")[-1:]
    if last in ",，、:：—–":
        return pause / 2
    return pause if unicodedata.category(last or " ").startswith("P") else 0.0
