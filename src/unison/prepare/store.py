"""Features on disk: flat files that only grow, and a journal that says what in them is whole.

A clip's features are appended to every file before its line is appended to the journal, so what a killed
process left behind is the part of the files after the last line; the next one cuts it off and goes on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from unison.audio.geometry import AudioGeometry
from unison.data.manifest import FEATURES, feature_width
from unison.data.rows import rows_file
from unison.prepare.checks import Fault


class Journal:
    """A file of JSON lines: a header that must agree, then entries as they were finished."""

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self.path = path
        self.entries: list[dict[str, Any]] = []
        found = list(self._whole_lines())
        self.fresh = not found or found[0] != header
        if self.fresh:
            # a new file rather than an emptied one: someone may still be reading the old one
            self.path.unlink(missing_ok=True)
        else:
            self.entries = found[1:]
        self._file = path.open("ab")
        if self.fresh:
            self._write(header)

    def append(self, entry: dict[str, Any]) -> None:
        self._write(entry)

    def keep(self, count: int) -> None:
        """Forget all but the first entries."""
        lines = self.path.read_bytes().splitlines(keepends=True)
        self._file.truncate(sum(map(len, lines[: count + 1])))
        self.entries = self.entries[:count]

    def close(self) -> None:
        self._file.close()

    def _write(self, entry: dict[str, Any]) -> None:
        self._file.write(json.dumps(entry, ensure_ascii=False).encode() + b"\n")
        self._file.flush()

    def _whole_lines(self) -> Iterator[dict[str, Any]]:
        if not self.path.is_file():
            return
        good = 0
        with self.path.open("rb") as lines:
            for line in lines:
                try:
                    entry = json.loads(line) if line.endswith(b"\n") else None
                except ValueError:
                    entry = None
                if entry is None:
                    break
                good += len(line)
                yield entry
        os.truncate(self.path, good)


@dataclass(frozen=True)
class Entry:
    """What is known about a recording by its content."""

    samples: int
    """Samples after trimming and resampling; 0 with a fault."""
    offset: int
    """First frame in the feature files."""
    frames: int
    """Frames in the feature files; 0 when none were computed."""
    fault: Fault | None
    """Why it can't be used."""


class FeatureStore:
    """The single writer of a folder's features.

    Opening it repairs what an interrupted writer left; other settings than those of the features found there
    start it afresh. `entries` maps the SHA-256 of recordings to what is known about them.
    """

    def __init__(self, folder: Path, geometry: AudioGeometry, settings: dict[str, Any]) -> None:
        self.folder = folder
        self.geometry = geometry
        self.frames = 0
        self.entries: dict[str, Entry] = {}
        self._journal = Journal(folder / "journal.jsonl", {"settings": settings})
        if self._journal.fresh:
            for name in FEATURES:
                (folder / name).unlink(missing_ok=True)
        available = min(self._frames_on_disk(name) for name in FEATURES)
        for index, line in enumerate(self._journal.entries):
            if line["offset"] + line["frames"] > available:
                self._journal.keep(index)
                break
            self._remember(line)
        self._files = {name: self._open(name) for name in FEATURES}

    def add(
        self, digest: str, samples: int, features: dict[str, np.ndarray] | None, fault: Fault | None = None
    ) -> None:
        """Write a recording's features, [F, width] by feature file, or that it has none."""
        frames = 0
        if features:
            frames = len(features["mel.f32"])
            for name, file in self._files.items():
                file.write(np.ascontiguousarray(features[name], dtype=FEATURES[name]).data)
                file.flush()
        line: dict[str, Any] = {"hash": digest, "samples": samples, "offset": self.frames, "frames": frames}
        if fault:
            line |= {"reason": fault.reason, "detail": fault.detail}
        self._journal.append(line)
        self._remember(line)

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._journal.close()

    def _remember(self, line: dict[str, Any]) -> None:
        fault = Fault(line["reason"], line["detail"]) if "reason" in line else None
        self.entries[line["hash"]] = Entry(line["samples"], line["offset"], line["frames"], fault)
        self.frames += line["frames"]

    def _frame_bytes(self, name: str) -> int:
        return feature_width(name, self.geometry) * FEATURES[name].itemsize

    def _frames_on_disk(self, name: str) -> int:
        path = self.folder / name
        return path.stat().st_size // self._frame_bytes(name) if path.is_file() else 0

    def _open(self, name: str) -> IO[bytes]:
        file = (self.folder / name).open("ab")
        file.truncate(self.frames * self._frame_bytes(name))
        return file


class RowTable:
    """Rows of equal width on disk, some for each key; a key keeps its rows. Repaired as the features are.

    What is in it follows from the keys and from what made it: another `identity` begins anew.
    """

    def __init__(self, folder: Path, name: str, identity: str, width: int) -> None:
        """Open ``<name>.jsonl`` beside its rows; see :func:`unison.data.rows.rows_file`."""
        self._width = width
        path, self._dtype = rows_file(folder, name)
        self._journal = Journal(folder / f"{name}.jsonl", {"identity": identity, "width": width})
        if self._journal.fresh:
            path.unlink(missing_ok=True)
        row = width * self._dtype.itemsize
        available = path.stat().st_size // row if path.is_file() else 0
        self.places: dict[str, tuple[int, int]] = {}
        """For each key, its first row and how many it has."""
        self._rows = 0
        for index, line in enumerate(self._journal.entries):
            if line["row"] + line["rows"] > available:
                self._journal.keep(index)
                break
            self._remember(line)
        self._file = path.open("ab")
        self._file.truncate(self._rows * row)

    def add(self, rows: Mapping[str, np.ndarray]) -> None:
        """Append the rows [n, width] of keys that have none yet."""
        wrong = {key: values.shape for key, values in rows.items() if values.shape != (len(values), self._width)}
        if wrong:
            raise ValueError(f"rows of shape {wrong} where the width is {self._width}")
        for values in rows.values():
            self._file.write(np.ascontiguousarray(values, dtype=self._dtype).data)
        self._file.flush()
        for key, values in rows.items():
            line = {"key": key, "row": self._rows, "rows": len(values)}
            self._journal.append(line)
            self._remember(line)

    def close(self) -> None:
        self._file.close()
        self._journal.close()

    def _remember(self, line: dict[str, Any]) -> None:
        self.places[line["key"]] = (line["row"], line["rows"])
        self._rows += line["rows"]


@contextmanager
def lock(folder: Path) -> Iterator[bool]:
    """Hold a folder for one writer; a second one waits. Yields whether it had to."""
    try:
        import fcntl
    except ImportError:  # Windows has no advisory locks
        yield False
        return
    waited = False
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{folder}: another process prepares this corpus; waiting for it")
            waited = True
            fcntl.flock(file, fcntl.LOCK_EX)
        yield waited
