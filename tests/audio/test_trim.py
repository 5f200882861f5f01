"""Trimming keeps the sound and its margin."""

import numpy as np
import pytest

from unison.audio.trim import trim

RATE = 16000


def clip(before: int, sound: int, after: int, noise: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    tone = 0.5 * np.sin(2 * np.pi * 200 * np.arange(sound) / RATE)
    return np.concatenate([np.zeros(before), tone, np.zeros(after)]) + noise * rng.standard_normal(
        before + sound + after
    )


@pytest.mark.parametrize("noise", [0.0, 1e-4])
def test_cuts_to_the_margin(noise: float) -> None:
    waveform = clip(8000, 16000, 4800, noise)
    kept = trim(waveform, RATE, 40.0, margin_ms=50)
    assert abs(len(kept) - (16000 + 2 * 800)) <= 2 * 160
    start = np.flatnonzero(np.abs(kept) > 0.01)[0]
    assert abs(start - 800) <= 160


def test_noise_above_the_threshold_is_sound() -> None:
    waveform = clip(8000, 16000, 4800, 1e-2)
    assert len(trim(waveform, RATE, 60.0)) == len(waveform)


def test_margin_stops_at_the_ends() -> None:
    waveform = clip(100, 16000, 100)
    np.testing.assert_array_equal(trim(waveform, RATE, 40.0), waveform)


@pytest.mark.parametrize("length", [0, 1, 159, 5000])
def test_silence_is_returned_whole(length: int) -> None:
    assert len(trim(np.zeros(length), RATE, 40.0)) == length
