"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from unison.errors import UnisonError

_LEFTOVER_SUFFIX = ".unison-tmp"
_LEFTOVER_SECONDS = 3600.0


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that takes `path`'s place when the block ends well; otherwise `path` stays as it was.

    The file is written beside its target, so that renaming never copies, and both the file and the folder are
    synchronised, so that a power cut leaves the old or the new one.

    Raises:
        UnisonError: the disk is full, or the folder can't be written to.
    """
    temporary = path.parent / f".{path.name}.{os.getpid()}{_LEFTOVER_SUFFIX}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path.parent)
        with open(temporary, "w+b", buffering=1 << 20) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            state = "the earlier file is untouched" if path.exists() else "nothing was written"
            raise UnisonError(f"{path}: the disk is full; {state}; free some space, then start again") from error
        raise UnisonError(f"{path}: can't be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, UTF-8 with line ends as they are in `text`, as `replacing` does."""
    with replacing(path) as file:
        file.write(text.encode())


def _sync_folder(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # a folder that may be written to but not read; any folder on Windows
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_leftovers(folder: Path) -> None:
    """Remove what killed writers left; a younger file may belong to a writer at work."""
    for leftover in folder.glob(f".*{_LEFTOVER_SUFFIX}"):
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > _LEFTOVER_SECONDS:
                leftover.unlink()
