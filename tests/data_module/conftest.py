"""A prepared corpus of two speakers, with style vectors and one clip without voice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile

from unison.audio.geometry import AudioGeometry
from unison.prepare import prepare
from unison.prepare.config import DataConfig
from unison.text import frontend

GEOMETRY = AudioGeometry(n_fft=512, win_length=512, hop_length=128, n_mels=20)
CLIPS = 45


class LengthEncoder:
    """Vectors [length, first character]."""

    digest = "length"
    reads_texts = True
    dim = 2

    def encode(self, texts: list[str]) -> np.ndarray:
        return np.array([[len(text), ord(text[0])] for text in texts], dtype=np.float32)

    def prompt_for(self, key: str, text: str, style: Mapping[str, str]) -> str:
        return style.get("prompt") or text


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prepared folder."""
    root = tmp_path_factory.mktemp("corpus")
    raw = root / "raw"
    raw.mkdir()
    rng = np.random.default_rng(0)
    lines = ["path|text|speaker|emotion|prompt|split"]
    for index in range(CLIPS):
        time = np.arange(int(16000 * (0.4 + 0.03 * (index * 7 % 31)))) / 16000
        phase = 2 * np.pi * np.cumsum(120 + 30 * (index % 2) + 10 * np.sin(4 * time)) / 16000
        sound = 0.1 * sum(np.sin(k * phase) / k for k in range(1, 6)) * (index > 0)
        soundfile.write(raw / f"{index:02d}.wav", sound + 0.01 * rng.standard_normal(len(time)), 16000)
        text = ("one two", "three", "four five six")[index % 3]
        prompt = ("", "softly")[index % 2]
        split = "valid" if index % 5 == 4 else "train"
        speaker = ("ann", "bob")[index % 2]
        lines.append(f"{index:02d}.wav|{text}|{speaker}|{('', 'sad', 'happy')[index % 3]}|{prompt}|{split}")
    (raw / "metadata.csv").write_text("\n".join(lines))
    data = DataConfig(name="mini", corpus="csv", raw=str(raw), workers=1)
    return prepare(data, GEOMETRY, frontend("english"), root / "out", LengthEncoder(), progress=False)
