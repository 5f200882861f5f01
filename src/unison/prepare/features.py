"""One clip's way from its file to its features; runs in the worker processes."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from unison.audio.f0 import CEILING_HZ, FLOOR_HZ
from unison.audio.geometry import AudioGeometry
from unison.errors import UnisonError
from unison.prepare.checks import Fault, audio_fault, length_fault
from unison.prepare.clip import Clip
from unison.prepare.config import DataConfig
from unison.text.reading import named

if TYPE_CHECKING:
    from unison.text import Frontend

VERSION = 1
"""Counts up when the same recording would give other features."""

# what these give beyond full scale is their own, a third more where a recording was clipped
_LOSSY = ("MP3", "OGG")


@dataclass(frozen=True)
class Measurement:
    """What a worker found out about a clip."""

    digest: str | None
    """SHA-256 of the recording's bytes; None when it can't be read."""
    symbols: list[str]
    """Its pronunciation; empty with a text fault."""
    text_fault: Fault | None
    """Why its text can't be used."""
    audio_fault: Fault | None = None
    """Why its recording can't be used, whatever the limits on its length."""
    samples: int = 0
    """Samples after trimming and resampling."""
    features: dict[str, np.ndarray] | None = None
    """By feature file, [F, width] each; None when known already, or the clip is outside the limits."""


def feature_settings(data: DataConfig, geometry: AudioGeometry) -> dict[str, Any]:
    """All that decides what the features of a recording are."""
    return {
        "version": VERSION,
        "geometry": asdict(geometry),
        "trim_db": data.trim_db,
        "f0_hz": [FLOOR_HZ, CEILING_HZ],
    }


def extract(pcm: np.ndarray, geometry: AudioGeometry) -> dict[str, np.ndarray]:
    """Features of int16 samples [F * hop_length], by feature file, [F, width] each."""
    import torch

    from unison.audio.energy import frame_energy
    from unison.audio.f0 import track_f0
    from unison.audio.mel import mel_spectrogram

    waveform = pcm.astype(np.float32) / 32768
    transform = mel_spectrogram(geometry, torch.device("cpu"))
    with torch.inference_mode():
        magnitude = transform.magnitude(torch.from_numpy(waveform))
        mel = transform.compress(magnitude).T.contiguous().numpy()
        energy = frame_energy(magnitude).numpy()
    return {
        "mel.f32": mel,
        "f0.f32": track_f0(waveform, geometry)[:, None],
        "energy.f32": energy[:, None],
        "wave.i16": pcm.reshape(-1, geometry.hop_length),
    }


class Measurer:
    """Measures clips; sent to every worker process once."""

    def __init__(self, data: DataConfig, geometry: AudioGeometry, frontend: Frontend, known: frozenset[str]) -> None:
        self.data = data
        self.geometry = geometry
        self.frontend = frontend
        self.known = known

    def __call__(self, clip: Clip) -> Measurement:
        symbols, text_fault = self._symbols(clip)
        try:
            content = clip.audio.read_bytes()
        except OSError as error:
            return Measurement(None, symbols, text_fault, Fault("unreadable", str(error)))
        if not content:
            return Measurement(None, symbols, text_fault, Fault("empty", "the file is empty"))
        digest = hashlib.sha256(content).hexdigest()
        if digest in self.known:
            return Measurement(digest, symbols, text_fault)
        try:
            samples, rate = self._read(clip)
        except UnisonError as error:
            return Measurement(None, symbols, text_fault, Fault("unreadable", str(error)))
        fault = audio_fault(samples)
        if fault:
            return Measurement(digest, symbols, text_fault, fault)
        pcm = self._pcm(samples, rate)
        if length_fault(len(pcm), self.data, self.geometry):
            return Measurement(digest, symbols, text_fault, samples=len(pcm))
        whole = pcm[: len(pcm) // self.geometry.hop_length * self.geometry.hop_length]
        return Measurement(digest, symbols, text_fault, None, len(pcm), extract(whole, self.geometry))

    def _symbols(self, clip: Clip) -> tuple[list[str], Fault | None]:
        if clip.symbols:
            return clip.symbols, None
        if not any(character.isalnum() for character in clip.text):
            return [], Fault("no text", f"nothing to say in {clip.text!r}")
        try:
            reading = self.frontend.read(clip.text)
        except UnisonError as error:
            return [], Fault("unknown symbols", str(error))
        if reading.skipped:  # what is heard and not written would be learnt by other sounds
            return [], Fault("unknown symbols", f"can't read {named(reading.skipped)}; remove or spell them out")
        return reading.symbols, None

    def _read(self, clip: Clip) -> tuple[np.ndarray, int]:
        """Samples at the recording's own rate: faults are plainest there, and trimming spares resampling."""
        import soundfile

        from unison.audio import io

        try:
            info = soundfile.info(str(clip.audio))
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise UnisonError(str(error)) from error
        samples = io.read(clip.audio, info.samplerate)
        if info.format in _LOSSY:
            samples = samples.clip(-1, 1)
        return samples, info.samplerate

    def _pcm(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """Trimmed, resampled and quantised: int16 [L], full scale is 32768; an overshoot is cut off."""
        from unison.audio import io
        from unison.audio.trim import trim

        if self.data.trim_db is not None:
            samples = trim(samples, rate, self.data.trim_db)
        resampled = io.resample(samples, rate, self.geometry.sample_rate)
        return np.round(resampled.astype(np.float64) * 32768).clip(-32768, 32767).astype(np.int16)
