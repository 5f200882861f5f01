"""Free Spoken Digit Dataset: ``{digit}_{speaker}_{index}.wav``, the test set being index 0–4."""

from __future__ import annotations

import re
from pathlib import Path

from unison.errors import UnisonError
from unison.prepare.clip import Clip, Reject
from unison.prepare.config import DataConfig

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_NAME = re.compile(r"(\d)_([^_]+)_(\d+)")


def read(config: DataConfig) -> list[Clip | Reject]:
    """The folder of recordings, or its parent that holds ``recordings/``."""
    raw = Path(config.raw)
    folder = raw / "recordings" if (raw / "recordings").is_dir() else raw
    wavs = sorted(folder.glob("*.wav"))
    if not wavs:
        raise UnisonError(
            f"{raw}: no FSDD recordings; expected files such as 0_george_0.wav there or in "
            f"{raw / 'recordings'}; set data.raw to a copy of https://github.com/Jakobovski/free-spoken-digit-dataset"
        )
    return [_entry(wav) for wav in wavs]


def _entry(wav: Path) -> Clip | Reject:
    match = _NAME.fullmatch(wav.stem)
    if not match:
        return Reject(wav.stem, "unexpected file name", f"{wav.name}: expected {{digit}}_{{speaker}}_{{index}}.wav")
    digit, speaker, index = match.groups()
    split = "valid" if int(index) < 5 else "train"
    return Clip(key=wav.stem, audio=wav, text=WORDS[int(digit)], speaker=speaker, split=split)
