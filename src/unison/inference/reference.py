"""The recording of a voice that is to be imitated: read, checked, and made a speaker vector once."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unison.audio.io import read_finite
from unison.audio.trim import trim
from unison.errors import UnisonError
from unison.models.speaker_encoder.encoder import SpeakerEncoder

MIN_SECONDS = 3.0
"""Less than this tells too little of a voice."""
ADVISED_SECONDS = 10.0
"""Below this a voice is imitated less well."""
SILENCE = 1e-3
"""The peak of what is taken for silence: -60 dB."""
TRIM_DB = 40.0
"""What is this far below the loudest part is cut at both ends."""

log = logging.getLogger(__name__)


def read_reference(paths: str | Path | Sequence[str | Path], sample_rate: int) -> np.ndarray:
    """One recording of a voice, or several of the same voice in their order, as one waveform.

    Each is made mono and loses the silence at its ends. Warns when there are less than 10 s in all.

    Args:
        paths: WAV, FLAC, OGG or MP3 files, at any rates.
        sample_rate: what the waveform is wanted at.

    Returns:
        float32 [L] in about [-1, 1].

    Raises:
        UnisonError: every file that can't be read or is silent; less than 3 s in all.
    """
    files = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    if not files:
        raise UnisonError("reference: no recording is given; give one file or several of the same voice")
    waveforms: list[np.ndarray] = []
    problems: list[str] = []
    for file in files:
        try:
            waveforms.append(_sound(file, sample_rate))
        except UnisonError as error:
            problems += [f"reference: {problem}" for problem in error.problems]
    if problems:
        raise UnisonError(problems)
    joined = np.concatenate(waveforms)
    seconds = len(joined) / sample_rate
    found = " + ".join(f"{file} ({len(w) / sample_rate:.1f} s)" for file, w in zip(files, waveforms, strict=True))
    if seconds < MIN_SECONDS:
        raise UnisonError(
            f"reference: {found}: {seconds:.1f} s without the silence at the ends; a voice needs {MIN_SECONDS:g} s, "
            f"better {ADVISED_SECONDS:g} s or more: give a longer recording, or several of the same voice"
        )
    if seconds < ADVISED_SECONDS:
        log.warning("reference: %s: the voice is imitated better from %g s or more", found, ADVISED_SECONDS)
    return joined


class Embeddings:
    """An encoder's speaker vectors, each computed once: known by the samples of the recording, never by its name.

    Safe to share between threads. The encoder must not learn meanwhile: another one needs vectors of its own.
    """

    def __init__(self, encoder: SpeakerEncoder, capacity: int = 256) -> None:
        """Keep the `capacity` vectors that were asked for last."""
        self._encoder = encoder
        self._capacity = capacity
        self._vectors: OrderedDict[str, Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, waveforms: Sequence[np.ndarray]) -> Tensor:
        """The vectors of recordings; those that are new are computed together.

        Args:
            waveforms: each float32 [L] at the encoder's sample rate.

        Returns:
            float32 [N, dim] on the CPU.
        """
        keys = [_digest(waveform) for waveform in waveforms]
        with self._lock:
            vectors = {key: self._vectors[key] for key in keys if key in self._vectors}
            new = {key: waveform for key, waveform in zip(keys, waveforms, strict=True) if key not in vectors}
            vectors |= self._computed(new)
            for key in keys:
                self._vectors[key] = vectors[key]
                self._vectors.move_to_end(key)
            while len(self._vectors) > self._capacity:
                self._vectors.popitem(last=False)
        return torch.stack([vectors[key] for key in keys])

    def _computed(self, waveforms: dict[str, np.ndarray]) -> dict[str, Tensor]:
        if not waveforms:
            return {}
        device = self._encoder.linear.weight.device
        heard = [torch.from_numpy(np.array(waveform, dtype=np.float32)).to(device) for waveform in waveforms.values()]
        return dict(zip(waveforms, self._encoder.embed_batch(heard).cpu(), strict=True))


def _digest(waveform: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(waveform, dtype="<f4").data).hexdigest()


def _sound(file: Path, sample_rate: int) -> np.ndarray:
    """A recording without the silence at its ends."""
    waveform = read_finite(file, sample_rate)
    if np.abs(waveform).max(initial=0.0) < SILENCE:
        seconds = len(waveform) / sample_rate
        raise UnisonError(
            f"{file}: its {seconds:.1f} s are silent; give a recording of the voice, {MIN_SECONDS:g} s or more"
        )
    return trim(waveform, sample_rate, TRIM_DB)
