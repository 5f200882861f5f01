"""Cutting the silence around a recording."""

from __future__ import annotations

import numpy as np

_FRAME_SECONDS = 0.01


def trim(waveform: np.ndarray, sample_rate: int, trim_db: float, margin_ms: float = 50.0) -> np.ndarray:
    """The part of a recording between its first and last sound, with a margin on both sides.

    Sound is a 10 ms frame whose RMS is at most `trim_db` below that of the loudest frame.

    Args:
        waveform: float [L].
        sample_rate: samples a second.
        trim_db: distance to the loudest frame in dB, positive.
        margin_ms: what is kept of the silence before and after, in milliseconds.

    Returns:
        float [L'], a view of the waveform; the whole of it when it is silent.
    """
    frame = max(round(sample_rate * _FRAME_SECONDS), 1)
    power = np.pad(np.square(waveform, dtype=np.float64), (0, -len(waveform) % frame)).reshape(-1, frame).mean(1)
    if not power.any():
        return waveform
    loud = np.flatnonzero(power >= power.max() * 10 ** (-abs(trim_db) / 10))
    margin = round(sample_rate * margin_ms / 1000)
    return waveform[max(loud[0] * frame - margin, 0) : (loud[-1] + 1) * frame + margin]
