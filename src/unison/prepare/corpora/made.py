"""Corpora that are made on the spot: once for a recipe, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from unison.errors import UnisonError
from unison.prepare.store import lock

RECIPE = "recipe.json"


def make_once(root: Path, recipe: Mapping[str, Any], make: Callable[[Path], None]) -> None:
    """Have `make` fill a folder that takes the place of `root`, unless that was made by this recipe already.

    Args:
        root: the corpus's folder.
        recipe: primitives; another one makes it again.
        make: fills an empty folder.

    Raises:
        UnisonError: the folder holds something that was not made so.
    """
    if _recipe(root) == recipe:
        return
    root.parent.mkdir(parents=True, exist_ok=True)
    with lock(root.parent):
        known = _recipe(root)
        if known == recipe:
            return
        if root.exists() and any(root.iterdir()) and known is None:
            raise UnisonError(
                f"{root}: the folder holds something else than a demo corpus; set data.raw to a new folder"
            )
        _make(root, recipe, make)


def _make(root: Path, recipe: Mapping[str, Any], make: Callable[[Path], None]) -> None:
    new = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
    try:
        make(new)
        (new / RECIPE).write_text(json.dumps(recipe, indent=2) + "\n", encoding="utf-8")
        new.chmod(0o755)
        old = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
        if root.exists():
            os.replace(root, old)
        os.replace(new, root)
        shutil.rmtree(old)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _recipe(root: Path) -> dict[str, Any] | None:
    try:
        recipe: dict[str, Any] = json.loads((root / RECIPE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return recipe
