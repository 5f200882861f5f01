"""Means and deviations over the training split, read utterance by utterance."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from unison.audio.f0 import interpolate
from unison.data.manifest import Statistics


class Moments:
    """Running mean and standard deviation of vectors [N, D], merged in float64 (Chan et al., 1979)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: np.ndarray = np.zeros(1)
        self._squares: np.ndarray = np.zeros(1)

    def add(self, values: np.ndarray) -> None:
        """Take in [N, D] values."""
        if len(values) == 0:
            return
        values = values.astype(np.float64)
        mean = values.mean(0)
        delta = mean - self.mean
        total = self.count + len(values)
        self._squares = (
            self._squares + np.square(values - mean).sum(0) + np.square(delta) * self.count * len(values) / total
        )
        self.mean = self.mean + delta * len(values) / total
        self.count = total

    @property
    def std(self) -> np.ndarray:
        """Population deviation; 1 where nothing varies, so that it can be divided by."""
        std = np.sqrt(self._squares / max(self.count, 1))
        return np.where(std > 1e-6, std, 1.0)


def measure_statistics(clips: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Statistics:
    """Statistics of (mel [F, n_mels], f0 [F] with 0 for unvoiced, energy [F]) of all clips.

    F0 counts as it is used, interpolated over unvoiced frames; clips without any voiced frame don't count.
    """
    mel_moments, f0_moments, energy_moments = Moments(), Moments(), Moments()
    for mel, f0, energy in clips:
        mel_moments.add(mel)
        if f0.any():
            f0_moments.add(interpolate(f0)[:, None])
        energy_moments.add(energy[:, None])
    return Statistics(
        mel_mean=mel_moments.mean.tolist(),
        mel_std=mel_moments.std.tolist(),
        f0_mean=float(f0_moments.mean[0]),
        f0_std=float(f0_moments.std[0]),
        energy_mean=float(energy_moments.mean[0]),
        energy_std=float(energy_moments.std[0]),
    )
