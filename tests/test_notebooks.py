"""The notebooks run from top to bottom."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import soundfile
from nbclient import NotebookClient

from tests.conftest import WORDS, voice_like

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
RATE = 22050


def executed(name: str, outputs: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the cells of a notebook show."""
    monkeypatch.setenv("UNISON_OUTPUTS", str(outputs))
    monkeypatch.setenv("UNISON_STEPS", "4")
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs are stripped"
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(NOTEBOOKS)}}).execute()
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def shown(outputs: list[Any]) -> Counter[str]:
    """How many pictures, players and pages of Markdown."""
    media = Counter(mime for output in outputs for mime in output.get("data", {}))
    players = sum("audio" in str(output.get("data", {}).get("text/html", "")) for output in outputs)
    return Counter(pictures=media["image/png"], pages=media["text/markdown"], players=players)


def test_quickstart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = executed("01_quickstart", tmp_path, monkeypatch)
    assert shown(outputs) == Counter(pictures=2, players=3), "the mel of a clip and a preview"


def test_your_own_voice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of recordings with a text file, one of them damaged."""
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    texts = [f"{text} {again}" for again in ("one", "two") for text in WORDS]
    for number, text in enumerate(texts):
        seconds = 0.5 + 0.3 * len(text.split())
        sound = voice_like(180, seconds, RATE, number) if number else np.zeros(RATE)
        soundfile.write(recordings / f"{number:03d}.flac", sound, RATE)
    lines = [f"{number:03d}|{text}" for number, text in enumerate(texts)]
    (recordings / "lines.txt").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setenv("UNISON_RECORDINGS", str(recordings))
    monkeypatch.setenv("UNISON_TEXT", "seven four")

    outputs = executed("02_your_own_voice", tmp_path / "outputs", monkeypatch)
    # distributions, the mel of a clip, a preview
    assert shown(outputs) == Counter(pictures=3, pages=1, players=4)
    (card,) = (output["data"]["text/markdown"] for output in outputs if "text/markdown" in output.get("data", {}))
    assert "| silent | 1 | record it again" in card
    assert "| licence | my own |" in card
    assert (tmp_path / "outputs" / "my_voice" / "data-card.html").is_file()


def test_prompts_and_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNISON_SENTENCES", "2")
    assert shown(executed("03_prompts_and_text", tmp_path, monkeypatch)) == Counter(pictures=3, players=8)
