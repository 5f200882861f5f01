"""Style vectors of a prepared corpus."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from unison.prepare import staleness
from unison.prepare.config import DataConfig
from unison.text import frontend

from .conftest import GEOMETRY, make_corpus, run, write_table

Config = Callable[..., DataConfig]


class CountingEncoder:
    """Vectors that are a function of the text; remembers what it was asked."""

    reads_texts = True
    dim = 3

    def __init__(self, digest: str = "counting") -> None:
        self.digest = digest
        self.asked: list[str] = []

    def encode(self, texts: list[str]) -> np.ndarray:
        self.asked += texts
        return np.array([[len(text), ord(text[0]), 0.5] for text in texts], dtype=np.float32)

    def prompt_for(self, key: str, text: str, style: Mapping[str, str]) -> str:
        return style.get("prompt") or text


def test_style_vectors_are_computed_once_a_text(tmp_path: Path, config: Config) -> None:
    raw = tmp_path / "raw"
    rows = make_corpus(raw, 8)
    lines = [
        "path|text|speaker|prompt",
        *("|".join([*row, "softly" if i < 2 else ""]) for i, row in enumerate(rows)),
    ]
    (raw / "metadata.csv").write_text("\n".join(lines))
    encoder = CountingEncoder()
    corpus = run(config(), tmp_path / "out", encoder)
    assert corpus.info.style_dim == 3
    for utterance in corpus.utterances:
        prompt = utterance.style.get("prompt") or utterance.text
        np.testing.assert_array_equal(corpus.style_table[utterance.prompt_row], encoder.encode([prompt])[0])
        np.testing.assert_array_equal(corpus.style_table[utterance.content_row], encoder.encode([utterance.text])[0])
    assert len(corpus.style_table) == 5

    again = CountingEncoder()
    write_table(raw, [*rows[:7], ("clip007.wav", "eleven", "ann")])
    grown = run(config(), tmp_path / "out", again)
    assert set(again.asked) <= {"eleven", grown.utterances[0].text}
    assert grown.style_table[grown.utterances[7].content_row][0] == len("eleven")

    other = CountingEncoder("other")
    assert staleness(config(), GEOMETRY, frontend("english"), tmp_path / "out", again) is None  # type: ignore[arg-type]
    assert "another encoder" in str(staleness(config(), GEOMETRY, frontend("english"), tmp_path / "out", other))  # type: ignore[arg-type]
    run(config(), tmp_path / "out", other)
    assert len(set(other.asked)) == 5
