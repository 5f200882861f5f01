"""Sizes of the speaker encoder."""

from __future__ import annotations

from dataclasses import dataclass

from unison.audio.geometry import AudioGeometry


@dataclass
class SpeakerEncoderConfig:
    """The speaker encoder's sizes and its spectrogram; the defaults are MetaVoice's (1.42 M parameters)."""

    hidden: int = 256
    """Width of the LSTM."""
    layers: int = 3
    """Layers of the LSTM."""
    dim: int = 256
    """Length of a speaker vector."""
    sample_rate: int = 16000
    """Samples a second of what it hears; recordings are resampled."""
    n_fft: int = 400
    """FFT size and Hann window in samples."""
    hop_length: int = 160
    """Samples between frames."""
    n_mels: int = 40
    """Mel bands."""
    partial_frames: int = 160
    """Frames that are heard at a time; the vectors of a recording's partials are averaged."""
    partials_a_second: float = 1.3
    """Partials that begin in a second of the recording."""
    min_coverage: float = 0.75
    """Share of the last partial that the recording must fill; below it the partial is dropped."""
    loudness_db: float | None = None
    """RMS level that recordings are brought to, in dB below full scale as a negative number; null leaves them as they
    are. The mel is linear, so the vector depends on the level: give one to an encoder that is trained here; MetaVoice's
    has none."""
    repeat_short: bool = False
    """Recordings shorter than a partial are repeated until they fill it; without, silence fills it, as in MetaVoice's,
    and a word by itself tells little of its voice."""

    @property
    def geometry(self) -> AudioGeometry:
        """Frames and mel bands as the contract states them."""
        return AudioGeometry(
            self.sample_rate, self.n_fft, self.hop_length, self.n_fft, self.n_mels, 0.0, self.sample_rate / 2
        )


@dataclass
class AugmentationConfig:
    """What is done to recordings in training, so that neither room nor microphone tells whose voice it is."""

    noise_db: tuple[float, float] = (-50.0, -15.0)
    """White noise is added between these levels, in dB below the recording."""
    tilt_db: float = 6.0
    """The lowest band is raised and the highest lowered by up to this, or the reverse."""
    masked_bands: int = 7
    """Up to so many neighbouring bands are silenced."""
