"""A corpus that is made on the spot is made once, whoever asks for it meanwhile, and is always whole."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from unison.errors import UnisonError
from unison.prepare.corpora.made import make_once


def test_whoever_waits_finds_it_made(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        time.sleep(0.2)
        (folder / "a.wav").touch()

    root = tmp_path / "corpora" / "demo"
    threads = [threading.Thread(target=make_once, args=(root, {"seed": 1}, make)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert (root / "a.wav").is_file()
    make_once(root, {"seed": 1}, make)
    assert len(made) == 1


def test_another_recipe_takes_its_place(tmp_path: Path) -> None:
    root = tmp_path / "demo"
    make_once(root, {"seed": 1}, lambda folder: (folder / "a.wav").touch())
    make_once(root, {"seed": 2}, lambda folder: (folder / "b.wav").touch())
    assert {path.name for path in root.iterdir()} == {"b.wav", "recipe.json"}
    assert {path.name for path in tmp_path.iterdir()} == {"demo", ".lock"}

    def fail(folder: Path) -> None:
        (folder / "c.wav").touch()
        raise ValueError("no voice")

    with pytest.raises(ValueError, match="no voice"):
        make_once(root, {"seed": 3}, fail)
    assert {path.name for path in root.iterdir()} == {"b.wav", "recipe.json"}
    assert {path.name for path in tmp_path.iterdir()} == {"demo", ".lock"}


def test_what_was_not_made_so_stays(tmp_path: Path) -> None:
    (tmp_path / "mine.wav").touch()
    with pytest.raises(UnisonError, match="something else than a demo corpus"):
        make_once(tmp_path, {"seed": 1}, lambda folder: None)
    assert (tmp_path / "mine.wav").is_file()
