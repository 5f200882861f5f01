"""espeak-ng through its shared library: a small formant synthesizer that makes the demo corpus.

The library comes in the wheel ``espeakng-loader`` (the extra ``demo``; espeak-ng is GPL-3). Its oscillators
keep their state from one sentence to the next, so equal samples need equal calls in a fresh process:
:func:`render` starts one. A few variants (f2, f3, f5, whisper) sound different in every process all the same.
"""

from __future__ import annotations

import ctypes
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile

from unison.errors import UnisonError

SAMPLE_RATE = 22050
"""What espeak-ng synthesizes at, in Hz."""

_SYNCHRONOUS = 2
_UTF8 = 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_LONGEST_DATA_PATH = 150  # the library copies the path into 160 bytes
_TONES = {"55": "1", "35": "2", "214": "3", "51": "4", "11": "5"}


@dataclass(frozen=True)
class Voice:
    """How a speaker of the demo corpus sounds."""

    speaker: str
    voice: str
    """espeak-ng's voice and variant, such as ``en-us+m3``."""
    rate: int
    """Words a minute."""
    pitch: int
    """0–99; 50 is the variant's own."""
    pitch_range: int = 50
    """0–99; 50 is the variant's own."""
    volume: int = 100
    """0–200; 100 is the variant's own."""


class Engine:
    """The library, set to one voice; one an interpreter, for its state is global."""

    def __init__(self, voice: Voice) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise UnisonError(
                "the demo corpus needs espeak-ng, which is not installed: pip install unison-tts[demo]"
            ) from error
        self._samples: list[bytes] = []
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        self._library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        data = Path(espeakng_loader.get_data_path())
        if len(str(data).encode()) > _LONGEST_DATA_PATH:
            self._folder = tempfile.TemporaryDirectory()
            (Path(self._folder.name) / data.name).symlink_to(data, target_is_directory=True)
            data = Path(self._folder.name) / data.name
        rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, str(data).encode(), 0)
        found = rate == SAMPLE_RATE and self._library.espeak_SetVoiceByName(voice.voice.encode()) == 0
        if not found:
            raise UnisonError(f"espeak-ng has no voice '{voice.voice}' at {SAMPLE_RATE} Hz; reinstall espeakng-loader")
        # Kept on the object: ctypes does not hold a callback's reference.
        self._callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(self._receive)
        self._library.espeak_SetSynthCallback(self._callback)
        settings = {_RATE: voice.rate, _PITCH: voice.pitch, _RANGE: voice.pitch_range, _VOLUME: voice.volume}
        for parameter, value in settings.items():
            self._library.espeak_SetParameter(parameter, value, 0)

    def speak(self, text: str) -> np.ndarray:
        """16 bit samples [L] of ``text``."""
        self._samples.clear()
        encoded = text.encode()
        self._library.espeak_Synth(encoded, len(encoded) + 1, 0, 0, 0, _UTF8, None, None)
        self._library.espeak_Synchronize()
        return np.frombuffer(b"".join(self._samples), dtype=np.int16)

    def phonemes(self, text: str) -> str:
        """espeak-ng's own phoneme names, clauses separated by spaces."""
        buffer = ctypes.create_string_buffer(text.encode())
        place = ctypes.c_void_p(ctypes.addressof(buffer))
        clauses = []
        while place.value:
            clauses.append(self._library.espeak_TextToPhonemes(ctypes.byref(place), _UTF8, 0).decode())
        return " ".join(clauses)

    def _receive(self, samples: int | None, count: int, events: int | None) -> int:
        if samples and count > 0:
            self._samples.append(ctypes.string_at(samples, 2 * count))
        return 0


def tones(phonemes: str) -> str | None:
    """The Mandarin tones 1–5 in espeak-ng's phonemes, one digit a syllable; None where it reads no Mandarin.

    Some builds read Chinese characters under the voice ``cmn`` as English letters or words.
    """
    found = re.findall("214|55|51|35|11", phonemes)
    return "".join(_TONES[tone] for tone in found) if found and "(en)" not in phonemes else None


def render(voice: Voice, texts: Sequence[str], paths: Sequence[Path]) -> list[str]:
    """Write each text as a WAV and return each text's phonemes; the same call gives the same bytes."""
    job = json.dumps({"voice": asdict(voice), "texts": list(texts), "paths": [str(path) for path in paths]})
    done = subprocess.run([sys.executable, "-m", __name__], input=job.encode(), capture_output=True, check=False)
    if done.returncode:
        raise UnisonError(done.stderr.decode(errors="replace").strip() or f"espeak-ng stopped with {done.returncode}")
    phonemes: list[str] = json.loads(done.stdout)
    return phonemes


def _main() -> None:
    job = json.load(sys.stdin)
    try:
        engine = Engine(Voice(**job["voice"]))
    except UnisonError as error:
        sys.exit(str(error))
    for text, path in zip(job["texts"], job["paths"], strict=True):
        soundfile.write(path, engine.speak(text), SAMPLE_RATE, subtype="PCM_16")
    json.dump([engine.phonemes(text) for text in job["texts"]], sys.stdout)


if __name__ == "__main__":
    _main()
