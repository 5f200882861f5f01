"""CSTR VCTK Corpus, version 0.92: 44,000 English sentences by 110 people with many accents, 48 kHz.

``wav48_silence_trimmed/p225/p225_001_mic1.flac`` and ``…_mic2.flac``, ``txt/p225/p225_001.txt``; beside the speakers p…
there is one called s5. The first microphone is heard, for it recorded every speaker: the second failed with p280 and
p315, as the corpus's README says, and two microphones would be two kinds of voices.
"""

from __future__ import annotations

import re
from pathlib import Path

from unison.prepare.clip import Clip, Reject
from unison.prepare.config import DataConfig
from unison.prepare.corpora.places import unpacked
from unison.prepare.corpora.texts import paired

AUDIO, TEXTS = "wav48_silence_trimmed", "txt"
FOLDERS = ("VCTK-Corpus-0.92", "VCTK-Corpus")
MICROPHONE = "mic1"
_RECORDING = re.compile(r"([ps]\d+_\d+)_mic[12]")
_TEXT = re.compile(r"[ps]\d+_\d+")


def read(config: DataConfig) -> list[Clip | Reject]:
    """The folder that holds ``wav48_silence_trimmed/`` and ``txt/``, or its parent."""
    root = unpacked(config.raw, FOLDERS, (AUDIO, TEXTS), "VCTK corpus (0.92)")
    speakers = sorted({path.name for folder in (AUDIO, TEXTS) for path in (root / folder).iterdir() if path.is_dir()})
    return [entry for speaker in speakers for entry in _speaker(root, speaker)]


def _speaker(root: Path, speaker: str) -> list[Clip | Reject]:
    odd: list[Clip | Reject] = []
    recordings: dict[str, Path] = {}
    for path in sorted((root / AUDIO / speaker).glob("*.flac")):
        if match := _RECORDING.fullmatch(path.stem):
            recordings |= {match[1]: path} if path.stem.endswith(MICROPHONE) else {}
        else:
            odd.append(
                Reject(path.stem, "unexpected file name", f"{path}: expected {speaker}_001_mic1.flac or the like")
            )
    texts = {path.stem: path for path in (root / TEXTS / speaker).glob("*.txt") if _TEXT.fullmatch(path.stem)}
    return [*odd, *paired(recordings, texts, speaker)]
