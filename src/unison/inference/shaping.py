"""What a text asks of its sound, symbol by symbol: timed breaks, and spans at another volume."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from unison.text.reading import PLAIN, Prosody

FADE_SECONDS = 0.005
"""Over which sound goes into the silence of a timed break, and one volume into another."""

Marks = Sequence[tuple[str, Prosody, float | None]]
"""Symbols, each with its prosody, and of a timed break its seconds."""


def is_marked(marks: Marks) -> bool:
    """Whether anything is asked for."""
    return any(prosody != PLAIN or seconds is not None for _, prosody, seconds in marks)


def padded(rows: Sequence[Sequence[float]], fill: float) -> Tensor:
    """Rows of numbers as one tensor [B, T], behind their ends `fill`; of integers it is int64."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (longest - len(row))] for row in rows])


def shaped(samples: np.ndarray, marks: Marks, lengths: np.ndarray, rate: int) -> np.ndarray:
    """A sentence with its spans at their volumes and its timed breaks at their lengths, silent.

    Args:
        samples: [L], the sum of `lengths`.
        marks: of each symbol.
        lengths: samples of each symbol.
        rate: samples a second.
    """
    fade = round(FADE_SECONDS * rate)
    ends = np.cumsum(lengths)
    gain = _smooth(np.repeat([prosody.volume for _, prosody, _ in marks], lengths), fade)
    samples = samples * gain.astype(samples.dtype)
    parts: list[np.ndarray] = []
    place = 0
    for (_, _, seconds), length, end in zip(marks, lengths, ends, strict=True):
        if seconds is None:
            continue
        parts += [
            _faded(samples[place : end - length], fade, bool(parts), True),
            np.zeros(round(seconds * rate), samples.dtype),
        ]
        place = int(end)
    return np.concatenate((*parts, _faded(samples[place:], fade, bool(parts), False)))


def _smooth(gain: np.ndarray, width: int) -> np.ndarray:
    """The mean over `width` samples: no step is heard."""
    if len(gain) == 0 or width < 2 or (gain == gain[0]).all():
        return gain
    before = width // 2
    held = np.pad(gain, (before, width - 1 - before), mode="edge")
    return np.convolve(held, np.full(width, 1 / width), mode="valid")


def _faded(samples: np.ndarray, width: int, begin: bool, end: bool) -> np.ndarray:
    """A copy that rises from silence where it begins, and falls into it where it ends."""
    faded, width = samples.copy(), min(width, len(samples))
    ramp = np.linspace(0, 1, width, dtype=samples.dtype)
    if begin:
        faded[:width] *= ramp
    if end and width:
        faded[-width:] *= ramp[::-1]
    return faded
