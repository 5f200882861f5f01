"""The style demo: sentences in several ways, each labelled by how it was read."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("espeakng_loader")

from unison.audio import io
from unison.prepare.clip import Clip
from unison.prepare.config import DataConfig
from unison.prepare.corpora import read
from unison.prepare.corpora.demo import sentences
from unison.prepare.corpora.style_demo import ENERGIES, PITCHES, READINGS, SPEEDS, readings


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    raw = tmp_path_factory.mktemp("made") / "style_demo"
    return DataConfig(corpus="style_demo", raw=str(raw), demo_sentences=2, demo_valid_sentences=1)


@pytest.fixture(scope="module")
def clips(config: DataConfig) -> list[Clip]:
    entries = read(config)
    assert all(isinstance(entry, Clip) for entry in entries)
    return [entry for entry in entries if isinstance(entry, Clip)]


def test_each_sentence_in_several_ways(clips: list[Clip]) -> None:
    assert len(clips) == 2 * 3 * READINGS
    assert {clip.speaker for clip in clips} == {"amy", "mei"}
    assert sum(clip.split == "valid" for clip in clips) == 2 * READINGS
    held = {clip.text for clip in clips if clip.split == "valid"}
    assert not held & {clip.text for clip in clips if clip.split == "train"}
    for text in {clip.text for clip in clips}:
        ways = [tuple(clip.style[name] for name in ("pitch", "speed", "energy")) for clip in clips if clip.text == text]
        assert len(set(ways)) == READINGS


def test_all_ways_occur_about_as_often(config: DataConfig) -> None:
    every = readings("en", sentences("en", DataConfig()))
    for name, labels in (("pitch", PITCHES), ("speed", SPEEDS), ("energy", ENERGIES)):
        counts = [sum(getattr(one, name) == label for one in every) for label in labels]
        assert min(counts) > 0.25 * len(every)


def test_it_sounds_as_it_is_labelled(clips: list[Clip]) -> None:
    """Loud clips have more power than quiet ones, whatever else they are."""
    loud: dict[str, list[float]] = {label: [] for label in ENERGIES}
    for clip in clips:
        loud[clip.style["energy"]].append(float((io.read(clip.audio, 22050) ** 2).mean() ** 0.5))
    assert max(loud["low"]) < min(loud["high"])


def test_made_once(config: DataConfig, clips: list[Clip]) -> None:
    times = {path: path.stat().st_mtime_ns for path in Path(config.raw).rglob("*.wav")}
    assert [clip.key for clip in read(config)] == [clip.key for clip in clips]  # type: ignore[union-attr]
    assert {path: path.stat().st_mtime_ns for path in Path(config.raw).rglob("*.wav")} == times
