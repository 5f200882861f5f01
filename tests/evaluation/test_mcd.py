from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from unison.audio.geometry import AudioGeometry
from unison.audio.mel import log_mel
from unison.evaluation import mcd
from unison.evaluation.mcd import mel_cepstral_distortion, mel_cepstrum

GEOMETRY = AudioGeometry(sample_rate=8000, n_fft=512, hop_length=128, win_length=512, n_mels=40, fmax=4000.0)


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise in a swelling and falling envelope, float32."""
    length = int(seconds * 8000)
    envelope = 0.2 + np.sin(np.linspace(0, 9, length)) ** 2
    return (0.1 * envelope * np.random.default_rng(seed).normal(size=length)).astype(np.float32)


def test_the_same_signal_is_at_no_distance() -> None:
    assert mel_cepstral_distortion(noise(0.5), noise(0.5), GEOMETRY) == pytest.approx(0, abs=1e-4)


def test_loudness_is_no_distance() -> None:
    assert mel_cepstral_distortion(noise(0.5), 0.3 * noise(0.5), GEOMETRY) == pytest.approx(0, abs=0.02)


def test_silence_at_the_ends_is_no_distance() -> None:
    silence = np.zeros(4000, np.float32)
    padded = np.concatenate([silence, noise(0.5), silence])
    assert mel_cepstral_distortion(padded, noise(0.5), GEOMETRY) < 1.0
    assert mel_cepstral_distortion(noise(0.5, 1), noise(0.5), GEOMETRY) > 2.0


def test_the_cepstrum_is_the_inverse_cosine_transform_of_the_log_mel() -> None:
    """log mel(n) = c0/2 + sum c_k cos(pi k (n + 1/2) / N), written out."""
    waveform = noise(0.3)
    mel = log_mel(torch.from_numpy(waveform), GEOMETRY).double().numpy()
    cepstrum = mel_cepstrum(waveform, GEOMETRY, coefficients=39)
    assert cepstrum.shape == (mel.shape[1], 39)
    bands = np.arange(40) + 0.5
    cosines = np.cos(np.pi * np.arange(1, 40)[:, None] * bands / 40)
    np.testing.assert_allclose(cepstrum @ cosines, (mel - mel.mean(0)).T, atol=1e-4)
    np.testing.assert_array_equal(mel_cepstrum(waveform, GEOMETRY), cepstrum[:, :13])


@pytest.mark.parametrize(("coefficient", "heard"), [(1, True), (13, True), (0, False), (14, False)])
def test_a_change_of_one_coefficient_gives_the_decibels_of_the_formula(
    monkeypatch: pytest.MonkeyPatch, coefficient: int, heard: bool
) -> None:
    change = 0.25
    cosine = change * torch.cos(math.pi * coefficient * (torch.arange(40) + 0.5) / 40)
    mels = iter(
        [mel := torch.randn(40, 30, generator=torch.Generator().manual_seed(0)).cumsum(1), mel + cosine[:, None]]
    )
    monkeypatch.setattr(mcd, "log_mel", lambda waveform, geometry: next(mels))
    found = mel_cepstral_distortion(noise(0.5), noise(0.5), GEOMETRY)
    # 10 / ln 10 * sqrt(2 * sum of squared differences), on the diagonal
    expected = 10 / math.log(10) * math.sqrt(2 * change**2) if heard else 0.0
    assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("length", [0, 1, 100, 300])
def test_signals_of_less_than_a_window(length: int) -> None:
    for short in (np.zeros(length, np.float32), noise(0.5)[:length]):
        assert np.isfinite(mel_cepstral_distortion(short, noise(0.5), GEOMETRY))
        assert np.isfinite(mel_cepstral_distortion(noise(0.5), short, GEOMETRY))
