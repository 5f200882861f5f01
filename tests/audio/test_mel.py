"""The mel spectrogram against a numpy FFT and the published filter formula."""

import numpy as np
import pytest
import torch

from unison.audio.geometry import AudioGeometry
from unison.audio.mel import MelSpectrogram, log_mel, mel_filterbank

GEOMETRIES = [
    AudioGeometry(),
    AudioGeometry(sample_rate=24000, n_fft=2048, hop_length=300, win_length=1200, n_mels=100, fmin=20, fmax=12000),
    AudioGeometry(sample_rate=8000, n_fft=512, hop_length=100, win_length=400, n_mels=40, fmax=4000),
]


def slaney_filters(geometry: AudioGeometry) -> np.ndarray:
    """Filter by filter and bin by bin, as the Auditory Toolbox defines them."""

    def hz_to_mel(hz: float) -> float:
        return hz / (200 / 3) if hz < 1000 else 15 + np.log(hz / 1000) / (np.log(6.4) / 27)

    def mel_to_hz(mel: float) -> float:
        return mel * 200 / 3 if mel < 15 else 1000 * np.exp((mel - 15) * np.log(6.4) / 27)

    low, high = hz_to_mel(geometry.fmin), hz_to_mel(geometry.fmax)
    points = [mel_to_hz(low + (high - low) * i / (geometry.n_mels + 1)) for i in range(geometry.n_mels + 2)]
    filters = np.zeros((geometry.n_mels, geometry.n_fft // 2 + 1))
    for band in range(geometry.n_mels):
        left, centre, right = points[band : band + 3]
        for index in range(filters.shape[1]):
            hz = index * geometry.sample_rate / geometry.n_fft
            if left < hz <= centre:
                filters[band, index] = (hz - left) / (centre - left)
            elif centre < hz < right:
                filters[band, index] = (right - hz) / (right - centre)
        filters[band] *= 2 / (right - left)
    return filters


def reference_log_mel(waveform: np.ndarray, geometry: AudioGeometry) -> np.ndarray:
    """[L] float64 to [n_mels, F], one frame at a time."""
    pad = (geometry.n_fft - geometry.hop_length) // 2
    padded = np.pad(waveform, (pad, pad + 1), mode="reflect")
    window = np.zeros(geometry.n_fft)
    offset = (geometry.n_fft - geometry.win_length) // 2
    phase = 2 * np.pi * np.arange(geometry.win_length) / geometry.win_length
    window[offset : offset + geometry.win_length] = 0.5 - 0.5 * np.cos(phase)
    frames = []
    for index in range(len(waveform) // geometry.hop_length):
        start = index * geometry.hop_length
        spectrum = np.fft.rfft(padded[start : start + geometry.n_fft] * window)
        frames.append(np.sqrt(np.abs(spectrum) ** 2 + 1e-9))
    return np.log(np.maximum(slaney_filters(geometry) @ np.stack(frames, axis=1), geometry.log_floor))


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: str(g.sample_rate))
def test_filters_are_slaneys(geometry: AudioGeometry) -> None:
    np.testing.assert_allclose(mel_filterbank(geometry), slaney_filters(geometry), atol=1e-12)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: str(g.sample_rate))
def test_log_mel_equals_a_frame_by_frame_fft(geometry: AudioGeometry) -> None:
    rng = np.random.default_rng(0)
    length = 37 * geometry.hop_length + 11
    waveform = 0.1 * rng.standard_normal(length) * np.linspace(0, 1, length)
    mel = log_mel(torch.from_numpy(waveform).float(), geometry)
    assert mel.shape == (geometry.n_mels, 37)
    np.testing.assert_allclose(mel.numpy(), reference_log_mel(waveform, geometry), atol=2e-3)


@pytest.mark.parametrize("length", [1, 255, 256, 384, 385, 511, 512, 1024, 5000])
def test_frames_are_the_whole_hops(length: int) -> None:
    mel = log_mel(torch.randn(2, 1, length), AudioGeometry())
    assert mel.shape == (2, 1, 80, length // 256)
    assert mel.isfinite().all()


def test_silence_is_the_floor_with_a_finite_gradient() -> None:
    waveform = torch.zeros(1, 4096, requires_grad=True)
    geometry = AudioGeometry(log_floor=1e-9)
    mel = log_mel(waveform, geometry)
    mel.sum().backward()
    assert waveform.grad is not None
    assert waveform.grad.isfinite().all()
    assert (log_mel(torch.zeros(4096), AudioGeometry()) == np.float32(np.log(1e-5))).all()


def test_batch_gives_what_each_waveform_gives() -> None:
    waveforms = torch.randn(3, 2, 4000)
    batched = log_mel(waveforms, AudioGeometry())
    for i in range(3):
        for j in range(2):
            torch.testing.assert_close(batched[i, j], log_mel(waveforms[i, j], AudioGeometry()))


def test_cast_and_autocast_change_nothing() -> None:
    waveform = torch.randn(2, 4000)
    expected = log_mel(waveform, AudioGeometry())
    transform = MelSpectrogram(AudioGeometry()).to(torch.bfloat16)
    assert transform.window.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(transform(waveform), expected, rtol=0, atol=0)
    assert not transform.state_dict()


def test_usable_for_training_after_inference_mode() -> None:
    geometry = AudioGeometry(n_mels=13)
    with torch.inference_mode():
        log_mel(torch.randn(4000), geometry)
    waveform = torch.randn(4000, requires_grad=True)
    log_mel(waveform, geometry).mean().backward()
    assert waveform.grad is not None
