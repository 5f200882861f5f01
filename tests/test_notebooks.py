"""The notebooks run from top to bottom."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
MEDIA = {"01_quickstart": (2, 3), "03_prompts_and_text": (3, 8)}
"""Of each notebook, the pictures and the players that it shows."""


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNISON_OUTPUTS", str(tmp_path))
    monkeypatch.setenv("UNISON_STEPS", "4")
    monkeypatch.setenv("UNISON_SENTENCES", "2")
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(NOTEBOOKS)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    media = [mime for output in outputs for mime in output.get("data", {})]
    players = sum("audio" in str(output.get("data", {}).get("text/html", "")) for output in outputs)
    assert (media.count("image/png"), players) == MEDIA[path.stem]
