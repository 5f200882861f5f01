"""When a prepared corpus is no longer what its recordings, texts and settings would give."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from unison.prepare import staleness
from unison.prepare.config import DataConfig
from unison.text import frontend

from .conftest import GEOMETRY, RATE, make_corpus, run, voice, write_table

Config = Callable[..., DataConfig]


def test_staleness(tmp_path: Path, config: Config) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    rows = make_corpus(raw, 4)

    def stale(**fields: object) -> str | None:
        return staleness(config(**fields), GEOMETRY, frontend("english"), out)

    assert "not prepared" in str(stale())
    run(config(), out)
    assert stale() is None
    assert stale(workers=3, max_reject_share=0.5, name="other") is None
    assert "data" in str(stale(max_seconds=5.0))
    assert "features" in str(staleness(config(), type(GEOMETRY)(), frontend("english"), out))
    assert "frontend" in str(staleness(config(), GEOMETRY, frontend("auto"), out))

    os.utime(raw / "clip001.wav", ns=(1, 1))
    assert "raw" in str(stale())
    run(config(), out)
    write_table(raw, rows[:3])
    assert "raw" in str(stale())
    run(config(), out)
    assert stale() is None

    raw.rename(tmp_path / "moved")
    assert stale() is None
    assert stale(raw=str(tmp_path / "moved")) is None

    with (out / "mel.f32").open("ab") as file:
        file.truncate(100)
    assert "mel.f32" in str(stale())


def test_a_corpus_in_the_home_folder(tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    make_corpus(tmp_path / "raw", 2)
    corpus = run(config(raw="~/raw"), tmp_path / "out")
    assert corpus.utterances[0].audio == str(tmp_path / "raw" / "clip000.wav")
    assert staleness(config(raw="~/raw"), GEOMETRY, frontend("english"), tmp_path / "out") is None
    os.utime(tmp_path / "raw" / "clip001.wav", ns=(1, 1))
    assert "raw" in str(staleness(config(raw="~/raw"), GEOMETRY, frontend("english"), tmp_path / "out"))


@pytest.mark.parametrize("beside", [True, False])
def test_a_changed_text_file_makes_it_stale(tmp_path: Path, config: Config, beside: bool) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for name in ("a", "b"):
        soundfile.write(raw / f"{name}.wav", voice(1.0, ord(name)), RATE)
    texts = {"a.txt": "one", "b.txt": "two"} if beside else {"lines.txt": "a|one\nb|two\n"}
    for file, text in texts.items():
        (raw / file).write_text(text)
    run(config(speaker="ann"), tmp_path / "out")
    assert staleness(config(speaker="ann"), GEOMETRY, frontend("english"), tmp_path / "out") is None
    (raw / max(texts)).write_text("two three" if beside else "a|one\nb|two three\n")
    assert "raw" in str(staleness(config(speaker="ann"), GEOMETRY, frontend("english"), tmp_path / "out"))
    assert [u.text for u in run(config(speaker="ann"), tmp_path / "out").utterances] == ["one", "two three"]
