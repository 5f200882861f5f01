"""Fundamental frequency by Praat's autocorrelation method, one value a mel frame.

Boersma (1993), "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of
a sampled sound"; the implementation is Praat's own, through parselmouth.
"""

from __future__ import annotations

import numpy as np

from unison.audio.geometry import AudioGeometry

FLOOR_HZ = 60.0
CEILING_HZ = 500.0

# Praat's analysis window holds this many periods of the lowest pitch
_PERIODS_PER_WINDOW = 3.0


def track_f0(
    waveform: np.ndarray, geometry: AudioGeometry, floor: float = FLOOR_HZ, ceiling: float = CEILING_HZ
) -> np.ndarray:
    """F0 at the centres of the mel frames, sample i * hop_length + hop_length / 2.

    Args:
        waveform: float [L], full scale is 1; any length, also shorter than the analysis window.
        geometry: sample rate and hop length.
        floor: lowest pitch looked for, in Hz; the analysis window is 3 / floor seconds.
        ceiling: highest pitch looked for, in Hz.

    Returns:
        float32 [F] in Hz, F = L // hop_length; 0 where the frame is unvoiced.
    """
    import parselmouth

    frames = len(waveform) // geometry.hop_length
    if frames == 0:
        return np.zeros(0, dtype=np.float32)
    # Praat lays floor((duration - window) / step) + 1 frames symmetrically about the middle of the sound.
    # With `window - step / 2` seconds of silence around whole hops these are F frames, at the frame centres.
    window = _PERIODS_PER_WINDOW / floor * geometry.sample_rate
    pad = round((window - geometry.hop_length / 2) / 2)
    samples = np.pad(waveform[: frames * geometry.hop_length].astype(np.float64), pad)
    sound = parselmouth.Sound(samples, sampling_frequency=geometry.sample_rate)
    pitch = sound.to_pitch_ac(
        time_step=geometry.hop_length / geometry.sample_rate, pitch_floor=floor, pitch_ceiling=ceiling
    )
    f0: np.ndarray = pitch.selected_array["frequency"].astype(np.float32)
    if len(f0) != frames:
        raise RuntimeError(f"Praat gave {len(f0)} frames for {frames} hops of {geometry.hop_length} samples")
    return f0


def interpolate(f0: np.ndarray) -> np.ndarray:
    """Fill unvoiced frames (0) linearly between voiced ones; the ends hold the nearest voiced value.

    A clip without any voiced frame stays 0 throughout.

    Args:
        f0: [F] in Hz.

    Returns:
        float32 [F] in Hz.
    """
    voiced = np.flatnonzero(f0 > 0)
    if voiced.size == 0:
        return np.zeros(len(f0), dtype=np.float32)
    return np.interp(np.arange(len(f0)), voiced, f0[voiced]).astype(np.float32)
