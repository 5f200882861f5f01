"""Reading and writing recordings: WAV, FLAC, OGG and MP3 through libsndfile."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile

from unison.errors import UnisonError
from unison.files import replacing

READABLE = (".wav", ".flac", ".ogg", ".mp3")
"""Suffixes by which recordings are found in a folder; a file that is named may have any."""
_FILTERS = 2**24
"""Numbers that the filters of a resampling may hold."""
WRITABLE = {".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16")}


def read(path: str | Path, sample_rate: int) -> np.ndarray:
    """A recording as mono float32 samples [L] in about [-1, 1] at ``sample_rate`` Hz.

    Channels are averaged. Raises :class:`UnisonError` that names the file when it is missing, empty or no
    audio.
    """
    with _readable(path) as path:
        samples, found_rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)
    return resample(mono, found_rate, sample_rate)


def read_finite(path: str | Path, sample_rate: int) -> np.ndarray:
    """As :func:`read`; also raises when a sample is NaN or infinite, which makes all of what a model says so."""
    samples = read(path, sample_rate)
    if not np.isfinite(samples).all():
        raise UnisonError(f"{path}: the samples hold NaN or infinity; save the recording anew")
    return samples


def seconds_of(path: str | Path) -> float:
    """The length that a recording's header states; raises as :func:`read` does."""
    with _readable(path) as path:
        return float(soundfile.info(str(path)).duration)


@contextmanager
def _readable(path: str | Path) -> Iterator[Path]:
    path = Path(path).expanduser()
    if path.is_dir():
        raise UnisonError(f"{path}: a folder; expected a recording in it")
    if not path.is_file():
        raise UnisonError(f"{path}: there is no such recording")
    if path.stat().st_size == 0:
        raise UnisonError(f"{path}: the file is empty; expected a WAV, FLAC, OGG or MP3 recording")
    try:
        yield path
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise UnisonError(f"{path}: can't be read as WAV, FLAC, OGG or MP3 ({error})") from error


def resample(samples: np.ndarray, found_rate: int, sample_rate: int) -> np.ndarray:
    """Samples [L] at ``found_rate`` Hz as float32 samples [ceil(L * sample_rate / found_rate)].

    Rates that have no small numbers' ratio (44101 and 8000) are resampled by one nearby, about a ten-thousandth away at
    most: the exact one would take gigabytes of filters.
    """
    if found_rate == sample_rate or samples.size == 0:
        return np.ascontiguousarray(samples, dtype=np.float32)
    # Imported here: reading at the recording's own rate, and every --help, need no torch.
    import torch
    from torchaudio.functional import resample as torch_resample

    waveform = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
    ratio = Fraction(found_rate, sample_rate)
    if ratio.numerator * ratio.denominator > _FILTERS:
        ratio = ratio.limit_denominator(math.isqrt(_FILTERS * sample_rate // found_rate))
    found = torch_resample(waveform, ratio.numerator, ratio.denominator)
    length = -(-len(waveform) * sample_rate // found_rate)
    return torch.nn.functional.pad(found, (0, max(length - len(found), 0)))[:length].numpy()


def write(path: str | Path, samples: np.ndarray, sample_rate: int) -> None:
    """Write mono samples [L] as 16 bit WAV or FLAC, by the suffix; beyond ±1 they are clipped.

    The file appears whole or not at all. Raises :class:`UnisonError` for another suffix, for samples that
    are not [L] or not finite, and when the file can't be written.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITABLE:
        raise UnisonError(f"{path}: can't write audio as '{path.suffix}'; use one of {', '.join(WRITABLE)}")
    samples = np.asarray(samples)
    if samples.ndim != 1:
        raise UnisonError(f"{path}: samples have shape {list(samples.shape)}; expected mono samples [L]")
    if not np.isfinite(samples).all():
        raise UnisonError(f"{path}: the samples hold NaN or infinity; nothing was written")
    # Scaled by 32767 so that +1.0 is the largest 16 bit value and does not wrap to the smallest.
    pcm = np.round(np.clip(samples.astype(np.float64), -1.0, 1.0) * 32767).astype(np.int16)
    kind, subtype = WRITABLE[path.suffix.lower()]
    encoded = BytesIO()
    try:
        soundfile.write(encoded, pcm, sample_rate, format=kind, subtype=subtype)
    except soundfile.SoundFileError as error:
        raise UnisonError(f"{path}: can't be written as {kind} at {sample_rate} Hz ({error})") from error
    with replacing(path) as file:
        file.write(encoded.getbuffer())
