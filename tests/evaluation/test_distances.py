"""Distances of two renderings, against signals whose distance is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from unison.audio.geometry import AudioGeometry
from unison.evaluation.distances import Comparison, analyse, compare_sounds, figures
from unison.evaluation.mcd import mel_cepstral_distortion

GEOMETRY = AudioGeometry(sample_rate=8000, n_fft=512, hop_length=128, win_length=512, n_mels=40, fmax=4000.0)
RATE, HOP = GEOMETRY.sample_rate, GEOMETRY.hop_length


def speech(seconds: float, seed: int = 0, hertz: float = 150.0) -> np.ndarray:
    """Syllables: harmonics whose strengths change three times a second, over noise; float32."""
    random = np.random.default_rng(seed)
    length = round(seconds * RATE)
    time = np.arange(length) / RATE
    knots = np.arange(0, seconds + 1, 0.3)
    waveform = 0.003 * random.normal(size=length)
    for k in range(1, 20):
        strength = np.exp(np.interp(time, knots, random.normal(size=len(knots)) - 0.1 * k))
        waveform += 0.02 * strength * np.sin(2 * np.pi * k * hertz * time)
    return waveform.astype(np.float32)


def compared(rendering: np.ndarray, reference: np.ndarray) -> Comparison:
    return compare_sounds(analyse(rendering, GEOMETRY), analyse(reference, GEOMETRY), GEOMETRY)


def test_the_same_audio_is_at_no_distance() -> None:
    found = figures([compared(speech(3.0), speech(3.0))], 1.0)
    assert found.mel_distance == found.worst_mel_distance == found.mcd == 0
    assert found.f0_error == found.voicing_error == found.duration_error == 0


@pytest.mark.parametrize("gain", [0.5, 0.9, 1.2])
def test_a_gain_is_its_logarithm_in_every_band_and_nothing_else(gain: float) -> None:
    comparison = compared(gain * speech(3.0), speech(3.0))
    found = figures([comparison], 1.0)
    assert found.mel_distance == pytest.approx(abs(math.log(gain)), rel=1e-3)
    assert found.worst_mel_distance == pytest.approx(abs(math.log(gain)), rel=1e-3)
    np.testing.assert_allclose(comparison.difference, math.log(gain), atol=2e-3)
    assert found.mcd == pytest.approx(0, abs=1e-2)
    assert found.f0_error == pytest.approx(0, abs=0.5)


@pytest.mark.parametrize("frames", [5, 40])
def test_a_silence_in_front_is_a_duration_and_a_delay_and_no_timbre(frames: int) -> None:
    reference = speech(4.0)
    late = np.concatenate([np.zeros(frames * HOP, np.float32), reference])
    comparison = compared(late, reference)
    assert figures([comparison], 1.0).duration_error == pytest.approx(100 * frames * HOP / len(reference))
    course = comparison.along_time(1.0)
    np.testing.assert_allclose(course.delay[1:], frames * HOP / RATE, atol=1e-9)
    np.testing.assert_allclose(course.mel[1:], 0, atol=1e-4)
    early = compared(reference, late).along_time(1.0)
    np.testing.assert_allclose(early.delay[2:], -frames * HOP / RATE, atol=1e-9)


def test_durations_of_texts_do_not_cancel() -> None:
    longer, shorter = compared(speech(2.2), speech(2.0)), compared(speech(2.0), speech(2.2))
    assert figures([longer, shorter], 1.0).duration_error == pytest.approx(100 * 0.4 / 4.2, rel=1e-6)


def test_pitch_is_in_cents_where_both_are_voiced() -> None:
    for semitones in (0.5, -1.0):
        higher = speech(3.0, hertz=150 * 2 ** (semitones / 12))
        found = figures([compared(higher, speech(3.0))], 1.0).f0_error
        assert found == pytest.approx(100 * abs(semitones), abs=4)


def test_voicing() -> None:
    noise = np.random.default_rng(0).normal(size=3 * RATE).astype(np.float32) * 0.05
    assert figures([compared(noise, noise)], 1.0).voicing_error == 0
    silence = np.zeros(RATE, np.float32)
    assert figures([compared(silence, silence)], 1.0).f0_error is None
    half = speech(4.0)
    half[2 * RATE :] = noise[: 2 * RATE]
    assert figures([compared(half, speech(4.0))], 1.0).voicing_error == pytest.approx(50, abs=10)


def test_cepstral_distortion_is_that_of_evaluation() -> None:
    """Without silence at the ends the two take the same frames along the same path."""
    a, b = speech(2.0, seed=1), speech(2.0, seed=2)
    assert figures([compared(a, b)], 1.0).mcd == pytest.approx(mel_cepstral_distortion(a, b, GEOMETRY), rel=1e-6)
    assert figures([compared(a, b)], 1.0).mcd > 2


def test_a_divergence_is_found_where_it_is() -> None:
    """From second 20 on noise grows, up to second 40; what was before is as it was."""
    reference = speech(40.0)
    growing = np.clip(np.arange(len(reference)) / RATE - 20, 0, None) / 20
    noise = np.random.default_rng(9).normal(size=len(reference))
    comparison = compared((reference + 0.05 * growing * noise).astype(np.float32), reference)
    course = comparison.along_time(2.0)
    np.testing.assert_allclose(course.at, np.arange(1, 40, 2), atol=0.02)
    for curve in (course.mel, course.mcd):
        assert np.all(curve[:10] < 1e-3)
        late = curve[10:]
        assert np.all(late > 0.05)
        assert np.corrcoef(np.arange(10), late)[0, 1] > 0.9
    found = figures([comparison], 2.0)
    assert found.worst_mel_distance == pytest.approx(course.mel.max())
    assert found.worst_mel_distance > 1.5 * found.mel_distance
    assert course.mel.argmax() >= 17


def test_a_slow_rendering_falls_further_and_further_behind() -> None:
    reference = speech(20.0)
    slow = reference.reshape(-1, 2 * HOP)
    # every eighth block of two hops is heard twice
    slow = np.concatenate([np.repeat(block[None], 1 + (i % 8 == 0), 0).ravel() for i, block in enumerate(slow)])
    course = compared(slow, reference).along_time(2.0)
    expected = np.arange(1, 20, 2) / 8
    np.testing.assert_allclose(course.delay, expected, atol=0.08)


@pytest.mark.parametrize("length", [0, 1, 200, 1000])
def test_less_than_a_stretch_or_a_window(length: int) -> None:
    short = speech(1.0)[:length]
    for a, b in ((short, speech(1.0)), (speech(1.0), short), (short, short)):
        comparison = compared(a, b)
        found = figures([comparison], 5.0)
        assert np.isfinite([found.mel_distance, found.mcd, found.duration_error, found.voicing_error]).all()
        assert len(comparison.along_time(5.0).at) == 1


def test_figures_of_several_texts_are_of_all_frames() -> None:
    same, other = compared(speech(3.0), speech(3.0)), compared(0.5 * speech(1.0, 3), speech(1.0, 3))
    both = figures([same, other], 1.0)
    frames = len(same.mel), len(other.mel)
    assert both.mel_distance == pytest.approx(math.log(2) * frames[1] / sum(frames), rel=1e-2)
    assert both.worst_mel_distance == pytest.approx(math.log(2), rel=1e-2)
