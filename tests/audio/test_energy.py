"""Frame energy against Parseval's theorem."""

import numpy as np
import torch

from unison.audio.energy import frame_energy
from unison.audio.geometry import AudioGeometry
from unison.audio.mel import mel_spectrogram


def energy(waveform: torch.Tensor) -> torch.Tensor:
    return frame_energy(mel_spectrogram(AudioGeometry(), waveform.device).magnitude(waveform))


def test_equals_the_windowed_signals_energy_by_parseval() -> None:
    """sum over all n bins |S|^2 = n * sum over samples x^2; the half spectrum lacks the mirrored bins."""
    waveform = np.random.default_rng(0).standard_normal(256 * 20 + 5) * 0.1
    measured = energy(torch.from_numpy(waveform).float()).numpy()
    padded = np.pad(waveform, 384, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    expected = []
    for index in range(20):
        segment = padded[index * 256 : index * 256 + 1024] * window
        dc, nyquist = segment.sum(), (segment * (-1.0) ** np.arange(1024)).sum()
        expected.append(np.sqrt((1024 * (segment**2).sum() + dc**2 + nyquist**2) / 2))
    assert measured.shape == (20,)
    np.testing.assert_allclose(measured, expected, rtol=1e-4)


def test_grows_with_the_amplitude() -> None:
    waveform = torch.randn(2, 4096)
    torch.testing.assert_close(energy(3 * waveform), 3 * energy(waveform))
