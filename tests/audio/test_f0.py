"""F0 on signals whose pitch is known by construction."""

import numpy as np
import pytest

from unison.audio.f0 import interpolate, track_f0
from unison.audio.geometry import AudioGeometry

GEOMETRIES = [
    AudioGeometry(),
    AudioGeometry(sample_rate=22050),
    AudioGeometry(sample_rate=8000, hop_length=100),
]


def harmonics(f0: np.ndarray, sample_rate: int) -> np.ndarray:
    """A voice-like sound with 1/k harmonics below 3.5 kHz, following the instantaneous frequency [L]."""
    phase = 2 * np.pi * np.cumsum(f0) / sample_rate
    sound = sum(np.sin(k * phase) / k * (k * f0 < 3500) for k in range(1, 20))
    return 0.1 * np.asarray(sound)


def centres(frames: int, geometry: AudioGeometry) -> np.ndarray:
    return np.arange(frames) * geometry.hop_length + geometry.hop_length // 2


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: str(g.sample_rate))
@pytest.mark.parametrize("hz", [75.0, 128.0, 210.0, 440.0])
def test_steady_tone(hz: float, geometry: AudioGeometry) -> None:
    length = geometry.sample_rate + 77
    f0 = track_f0(harmonics(np.full(length, hz), geometry.sample_rate), geometry)
    assert len(f0) == length // geometry.hop_length
    inner = f0[3:-3]
    np.testing.assert_allclose(inner, hz, rtol=2e-3)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: str(g.sample_rate))
def test_sweep_is_aligned_with_the_frames(geometry: AudioGeometry) -> None:
    """At 200 Hz a second an offset of half a hop would show as 1.6 Hz."""
    length = geometry.sample_rate
    truth = 120 + 200 * np.arange(length) / geometry.sample_rate
    f0 = track_f0(harmonics(truth, geometry.sample_rate), geometry)
    error = (f0 - truth[centres(len(f0), geometry)])[4:-4]
    assert np.abs(error).max() < 1.0
    assert abs(error.mean()) < 0.3


def test_noise_and_silence_are_unvoiced() -> None:
    geometry = AudioGeometry()
    assert not track_f0(np.zeros(16000), geometry).any()
    noise = 0.1 * np.random.default_rng(0).standard_normal(16000)
    assert (track_f0(noise, geometry) == 0).mean() > 0.8


def test_voicing_changes_where_the_tone_does() -> None:
    geometry = AudioGeometry()
    waveform = harmonics(np.full(16000, 150.0), 16000)
    waveform[:8000] = 0
    f0 = track_f0(waveform, geometry)
    voiced = np.flatnonzero(f0)
    assert abs(voiced[0] * 256 - 8000) < 3 * 256


@pytest.mark.parametrize("length", [0, 1, 255, 256, 300, 512, 800, 1600])
def test_shorter_than_the_analysis_window(length: int) -> None:
    f0 = track_f0(harmonics(np.full(length, 200.0), 16000), AudioGeometry())
    assert f0.shape == (length // 256,)
    assert f0.dtype == np.float32


@pytest.mark.parametrize("frames", range(1, 40, 3))
@pytest.mark.parametrize("floor", [50.0, 60.0, 75.0, 300.0])
def test_as_many_frames_as_the_mel(frames: int, floor: float) -> None:
    waveform = np.random.default_rng(frames).standard_normal(frames * 256 + frames)
    assert len(track_f0(waveform, AudioGeometry(), floor=floor)) == frames


def test_interpolation() -> None:
    f0 = np.array([0, 0, 100, 0, 0, 0, 200, 210, 0], dtype=np.float32)
    expected = [100, 100, 100, 125, 150, 175, 200, 210, 210]
    np.testing.assert_allclose(interpolate(f0), expected)


def test_interpolation_without_a_voiced_frame() -> None:
    assert interpolate(np.zeros(5, dtype=np.float32)).tolist() == [0] * 5
    assert interpolate(np.zeros(0, dtype=np.float32)).shape == (0,)
