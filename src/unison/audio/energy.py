"""Loudness a frame, from the same framing as the mel."""

from __future__ import annotations

from torch import Tensor

from unison.audio.geometry import AudioGeometry
from unison.audio.mel import mel_spectrogram


def frame_energy(magnitude: Tensor) -> Tensor:
    """Magnitudes [..., n_fft // 2 + 1, F] to their Euclidean norm a frame, [..., F]."""
    return magnitude.square().sum(-2).sqrt()


def energy(waveform: Tensor, geometry: AudioGeometry) -> Tensor:
    """Waveform [..., L] to sqrt(sum |S|^2) a frame: float32 [..., L // hop_length], as EmotiVoice has it."""
    return frame_energy(mel_spectrogram(geometry, waveform.device).magnitude(waveform))
