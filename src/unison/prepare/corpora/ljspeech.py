"""The LJ Speech Dataset, version 1.1: 13,100 English sentences by one woman, 22.05 kHz.

``wavs/LJ001-0001.wav …`` and ``metadata.csv``, a line a recording: ``id|text|text with numbers in words``. The latter
is taken; quotation marks are part of it.
"""

from __future__ import annotations

from pathlib import Path

from unison.prepare.clip import Clip, Reject
from unison.prepare.config import DataConfig
from unison.prepare.corpora.places import read_lines, unpacked
from unison.prepare.corpora.recordings import checked

FOLDERS = ("LJSpeech-1.1",)
TABLE, WAVES = "metadata.csv", "wavs"
SPEAKER = "LJ"


def read(config: DataConfig) -> list[Clip | Reject]:
    """The folder that holds ``metadata.csv`` and ``wavs/``, or its parent."""
    root = unpacked(config.raw, FOLDERS, (TABLE, WAVES), "LJ Speech corpus")
    lines = enumerate(read_lines(root / TABLE), start=1)
    return [_entry(root, number, line, config.speaker or SPEAKER) for number, line in lines if line]


def _entry(root: Path, number: int, line: str, speaker: str) -> Clip | Reject:
    key, *texts = [cell.strip() for cell in line.split("|")]
    if not key or len(texts) != 2:
        detail = f"{TABLE}: line {number}: {1 + len(texts)} cells; expected id|text|normalised text"
        return Reject(key or f"line {number}", "damaged line", detail)
    # numbers are not put in words where there are none
    return checked(Clip(key, root / WAVES / f"{key}.wav", texts[1] or texts[0], speaker))
