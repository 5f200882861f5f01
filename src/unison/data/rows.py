"""What another model has made of a corpus's recordings or texts: rows of a flat file, by key. Needs no torch."""

from __future__ import annotations

import io
import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from unison.data.manifest import map_rows
from unison.errors import UnisonError

KINDS: dict[str, np.dtype[Any]] = {
    "style": np.dtype("<f4"),
    "codes": np.dtype("<i2"),
    "voices": np.dtype("<f4"),
}
"""Style vectors of texts; codes [T, K] and speaker vectors of recordings."""


def rows_file(folder: Path, name: str) -> tuple[Path, np.dtype[Any]]:
    """The file of a table's rows, and their dtype; the name is a kind, or a kind, a dash, and what made it."""
    dtype = KINDS[name.partition("-")[0]]
    return folder / f"{name}.{dtype.kind}{8 * dtype.itemsize}", dtype


class Rows:
    """The rows that ``unison.prepare`` has written; each process maps them, read-only, when it first asks."""

    def __init__(self, folder: Path, name: str) -> None:
        """Raises UnisonError when nothing has been written."""
        self._file, self._dtype = rows_file(folder, name)
        journal = folder / f"{name}.jsonl"
        if not journal.is_file():
            raise UnisonError(f"{journal}: missing; `unison prepare` writes it")
        header, *entries = [json.loads(line) for line in io.StringIO(journal.read_text(encoding="utf-8"))]
        self.width: int = header["width"]
        self._places = {entry["key"]: (entry["row"], entry["rows"]) for entry in entries}
        self._count = sum(rows for _, rows in self._places.values())

    def __getstate__(self) -> dict[str, Any]:
        # a pickled memory map would be a copy of the file
        return {name: value for name, value in self.__dict__.items() if name != "_map"}

    def __getitem__(self, key: str) -> np.ndarray:
        """Rows [n, width] of a key."""
        row, rows = self._places[key]
        return self._map[row : row + rows]

    def length(self, key: str) -> int:
        """How many rows a key has."""
        return self._places[key][1]

    @cached_property
    def _map(self) -> np.ndarray:
        return map_rows(self._file, self._dtype, self._count, self.width)
