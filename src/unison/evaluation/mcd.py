"""Mel-cepstral distortion after dynamic time warping.

Kubichek (1993), "Mel-cepstral distance measure for objective speech quality assessment"; here the cepstrum is that of
our one mel.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torchaudio.functional import create_dct

from unison.audio.geometry import AudioGeometry
from unison.audio.mel import log_mel
from unison.audio.trim import trim

COEFFICIENTS = 13


def mel_cepstrum(waveform: np.ndarray, geometry: AudioGeometry, coefficients: int = COEFFICIENTS) -> np.ndarray:
    """Mel cepstrum without its 0th coefficient, the loudness.

    Args:
        waveform: float [L].
        geometry: the mel's.
        coefficients: how many, from the 1st on.

    Returns:
        float64 [F, coefficients], scaled like the cepstrum of a minimum-phase filter (twice the real cepstrum), for
        which the distortion's usual factor 10 √2 / ln 10 gives decibels.
    """
    mel = log_mel(torch.from_numpy(waveform).float(), geometry).double()
    basis = create_dct(coefficients + 1, geometry.n_mels, norm="ortho").double()
    return (mel.T @ basis[:, 1:] * math.sqrt(2 / geometry.n_mels)).numpy()


def mel_cepstral_distortion(spoken: np.ndarray, recorded: np.ndarray, geometry: AudioGeometry) -> float:
    """Mean distance in dB along the best warping path, silence at both ends cut off first.

    Args:
        spoken: float [L1].
        recorded: float [L2].
        geometry: the mel's; both are at its sample rate.
    """
    trimmed = (trim(x, geometry.sample_rate, trim_db=40.0, margin_ms=0.0) for x in (spoken, recorded))
    # a click, or nothing at all, still is a frame to compare with
    whole = (np.pad(x, (0, max(geometry.n_fft - len(x), 0))) for x in trimmed)
    a, b = (mel_cepstrum(x, geometry) for x in whole)
    distances = np.sqrt(np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T, 0))
    return 10 * math.sqrt(2) / math.log(10) * warped_mean(distances)


def warped_mean(distances: np.ndarray) -> float:
    """Mean of ``distances`` [N, M] along the path from corner to corner with the least sum (right, down, diagonal)."""
    n, m = distances.shape
    total = np.full((n + 1, m + 1), np.inf)
    total[0, 0] = 0.0
    length = np.zeros((n + 1, m + 1))
    # an anti-diagonal's cells depend on the two before it only, so each is one vector
    for diagonal in range(2, n + m + 1):
        i = np.arange(max(1, diagonal - m), min(n, diagonal - 1) + 1)
        j = diagonal - i
        rows, columns = np.stack([i - 1, i - 1, i]), np.stack([j - 1, j, j - 1])
        before = total[rows, columns]
        best = before.argmin(0)
        at = np.arange(len(i))
        total[i, j] = distances[i - 1, j - 1] + before[best, at]
        length[i, j] = 1 + length[rows, columns][best, at]
    return float(total[n, m] / length[n, m])
