"""Vectors by the content that they were made of, kept in a file."""

from __future__ import annotations

import fcntl
import hashlib
import os
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np


class VectorCache:
    """Float32 vectors of one encoder, appended to `<folder>/<encoder>.vectors` for later processes too.

    Records have one size: SHA-256 of the text, CRC-32 of the vector, the vector. A record cut by an
    interruption is removed by the next writer, and one that does not match its CRC is not read; both are made
    again. Several processes may share the file.
    """

    def __init__(self, folder: str | Path, encoder: str, dim: int) -> None:
        self.path = Path(folder) / f"{encoder}.vectors"
        self._record = np.dtype([("key", "V32"), ("crc", "<u4"), ("vector", "<f4", (dim,))])
        self._vectors: dict[bytes, np.ndarray] = {}
        if self.path.exists():
            self._read()

    def get(self, text: str) -> np.ndarray | None:
        """The text's vector [dim], or None."""
        return self._vectors.get(_key(text))

    def add(self, vectors: Mapping[str, np.ndarray]) -> None:
        """Keep vectors by text."""
        records = np.zeros(len(vectors), self._record)
        for record, (text, vector) in zip(records, vectors.items(), strict=True):
            record["key"], record["vector"] = _key(text), vector
            record["crc"] = zlib.crc32(record["vector"].tobytes())
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            end = os.fstat(file.fileno()).st_size
            file.truncate(end - end % self._record.itemsize)
            file.write(records.tobytes())
        self._keep(records)

    def _read(self) -> None:
        content = self.path.read_bytes()
        whole = len(content) - len(content) % self._record.itemsize
        records = np.frombuffer(content[:whole], self._record)
        self._keep(record for record in records if zlib.crc32(record["vector"].tobytes()) == record["crc"])

    def _keep(self, records: Iterable[np.void]) -> None:
        for record in records:
            self._vectors[record["key"].tobytes()] = record["vector"]


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
