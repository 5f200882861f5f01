"""Reading and writing recordings: every format, channels, rates, and files that are no audio."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from unison.audio import io
from unison.errors import UnisonError


def sine(frequency: float, sample_rate: int, seconds: float = 0.5) -> np.ndarray:
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    return (0.5 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def peak_frequency(samples: np.ndarray, sample_rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), n=8 * len(samples)))
    return float(spectrum.argmax()) * sample_rate / (8 * len(samples))


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("sample_rate", [16000, 22050, 44100])
def test_reads_every_format_at_any_rate(tmp_path: Path, suffix: str, sample_rate: int) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, sine(440, sample_rate), sample_rate)
    samples = io.read(path, 16000)
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert abs(len(samples) - 8000) < (3000 if suffix == "mp3" else 2)
    assert peak_frequency(samples[1000:7000], 16000) == pytest.approx(440, abs=1.5)
    assert np.abs(samples[2000:6000]).max() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("sample_rate", [8000, 11025, 48000])
def test_resampling_keeps_the_pitch_and_the_length(tmp_path: Path, sample_rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", sine(1000, sample_rate), sample_rate)
    samples = io.read(tmp_path / "a.wav", 16000)
    assert len(samples) == pytest.approx(8000, abs=2)
    assert peak_frequency(samples, 16000) == pytest.approx(1000, abs=1)


def test_odd_rates_take_no_gigabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """44101 to 8000 Hz would take 8000 filters of as many taps as a second has samples."""
    from torchaudio import functional

    sizes: list[int] = []
    resample = functional.resample
    monkeypatch.setattr(functional, "resample", lambda x, old, new: (sizes.append(old * new), resample(x, old, new))[1])
    soundfile.write(tmp_path / "a.wav", sine(1000, 44101, 2), 44101)
    samples = io.read(tmp_path / "a.wav", 8000)
    assert max(sizes) <= 2**24
    assert len(samples) == 16000
    np.testing.assert_allclose(samples[100:-100], sine(1000, 8000, 2)[100:-100], atol=0.01)


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = sine(300, 16000), sine(900, 16000)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 16000, subtype="FLOAT")
    np.testing.assert_allclose(io.read(tmp_path / "a.wav", 16000), (left + right) / 2, atol=1e-6)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_sample_width_has_the_same_scale(tmp_path: Path, subtype: str) -> None:
    soundfile.write(tmp_path / "a.wav", sine(440, 16000), 16000, subtype=subtype)
    tolerance = 0.01 if subtype == "PCM_U8" else 1e-4
    np.testing.assert_allclose(io.read(tmp_path / "a.wav", 16000), sine(440, 16000), atol=tolerance)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_writing_clips_and_does_not_wrap(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "new folder" / f"a.{suffix}"
    io.write(path, np.array([0.0, 1.0, 1.7, -1.0, -2.5, 0.25], dtype=np.float32), 16000)
    written, sample_rate = soundfile.read(path, dtype="int16")
    assert sample_rate == 16000
    assert written.tolist() == [0, 32767, 32767, -32767, -32767, 8192]
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_failed_write_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.wav"
    io.write(path, sine(440, 16000), 16000)
    before = path.read_bytes()

    def full_disk(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(UnisonError, match=r"a\.wav: the disk is full; the earlier file is untouched"):
        io.write(path, sine(880, 16000), 16000)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing.wav", None, "no such recording"),
        ("empty.wav", b"", "empty"),
        ("text.wav", b"hello" * 50, "can't be read"),
    ],
)
def test_what_is_no_recording_is_named(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UnisonError, match=f"{name}.*{says}"):
        io.read(tmp_path / name, 16000)


def test_a_folder_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(UnisonError, match="a folder; expected a recording in it"):
        io.read(tmp_path, 16000)


@pytest.mark.parametrize(
    ("name", "samples", "says"),
    [
        ("a.mp3", np.zeros(9), ".mp3"),
        ("a.wav", np.zeros((2, 9)), r"\[2, 9\]"),
        ("a.wav", np.array([0.0, np.nan]), "NaN"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path: Path, name: str, samples: np.ndarray, says: str) -> None:
    with pytest.raises(UnisonError, match=says):
        io.write(tmp_path / name, samples, 16000)
    assert not list(tmp_path.iterdir())


def test_importing_needs_no_torch() -> None:
    code = "import sys, unison.audio.io; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
