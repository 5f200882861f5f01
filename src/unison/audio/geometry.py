"""The audio geometry: stated once, stored in the contract, used by every spectrogram."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AudioGeometry:
    """How a waveform becomes frames and mel bands; the defaults are EmotiVoice's."""

    sample_rate: int = 16000
    """Samples a second; recordings at other rates are resampled."""
    n_fft: int = 1024
    """FFT size in samples."""
    hop_length: int = 256
    """Samples between frames; a frame lasts hop_length / sample_rate seconds."""
    win_length: int = 1024
    """Hann window in samples, at most n_fft."""
    n_mels: int = 80
    """Mel bands (Slaney scale and normalisation)."""
    fmin: float = 0.0
    """Lowest mel band edge in Hz."""
    fmax: float = 8000.0
    """Highest mel band edge in Hz, at most sample_rate / 2."""
    log_floor: float = 1e-5
    """Mel magnitudes are clamped to this before the natural logarithm."""

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.hop_length
