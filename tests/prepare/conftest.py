"""Miniature corpora, made of harmonics and noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from unison.audio.geometry import AudioGeometry
from unison.data.manifest import Corpus
from unison.prepare import features as features_module
from unison.prepare import prepare
from unison.prepare.config import DataConfig
from unison.text import frontend

RATE = 16000
GEOMETRY = AudioGeometry(n_fft=512, win_length=512, hop_length=128, n_mels=20)
WORDS = ("one two three", "four five", "six seven eight nine", "zero")


def voice(seconds: float, seed: int, rate: int = RATE) -> np.ndarray:
    """A buzz of slowly moving pitch in a little noise, [L] float64."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(110 + 10 * (seed % 7) + 20 * np.sin(3 * time)) / rate
    return 0.1 * sum(np.sin(k * phase) / k for k in range(1, 8)) + 0.002 * rng.standard_normal(len(time))


def write_table(raw: Path, rows: list[tuple[str, str, str]]) -> None:
    """`metadata.csv` of (path, text, speaker)."""
    lines = ["path|text|speaker", *("|".join(row) for row in rows)]
    (raw / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_corpus(raw: Path, count: int, speakers: tuple[str, ...] = ("ann", "bob")) -> list[tuple[str, str, str]]:
    """`count` good clips by turns of the speakers; returns the rows of the table."""
    raw.mkdir(parents=True, exist_ok=True)
    rows = []
    for index in range(count):
        soundfile.write(raw / f"clip{index:03d}.wav", voice(0.5 + 0.05 * (index % 9), index), RATE)
        rows.append((f"clip{index:03d}.wav", WORDS[index % len(WORDS)], speakers[index % len(speakers)]))
    write_table(raw, rows)
    return rows


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., DataConfig]:
    """A configuration of a CSV corpus in `tmp_path / "raw"`."""

    def make(**fields: object) -> DataConfig:
        given: dict[str, object] = {
            "name": "mini",
            "corpus": "csv",
            "raw": str(tmp_path / "raw"),
            "workers": 1,
        }
        return DataConfig(**{**given, **fields})  # type: ignore[arg-type]

    return make


def run(config: DataConfig, folder: Path, style: object | None = None) -> Corpus:
    return Corpus(prepare(config, GEOMETRY, frontend("english"), folder, style, progress=False))  # type: ignore[arg-type]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of samples of every clip whose features are computed."""
    calls: list[int] = []
    extract = features_module.extract

    def count(pcm: np.ndarray, geometry: object) -> object:
        calls.append(len(pcm))
        return extract(pcm, geometry)  # type: ignore[arg-type]

    monkeypatch.setattr(features_module, "extract", count)
    return calls
