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
from unison.evaluation.alignment import align

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
    i, j = align(a, b)
    return float(distortion(a[i], b[j]).mean())


def distortion(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distance in dB between the frames of two mel cepstra [..., C] without their 0th coefficients: [...]."""
    return 10 * math.sqrt(2) / math.log(10) * np.linalg.norm(a - b, axis=-1)
