"""The file of a checkpoint: a `torch.save` archive whose ZIP comment carries its SHA-256.

    archive ... | comment length, 2 bytes | unison-sha256:<64 hexadecimal digits>
                  0 when hashed             not hashed

The digest is that of the archive as it was before the comment. The file stays one that torch and every unzip
read, and one digest covers every byte.
"""

from __future__ import annotations

import difflib
import hashlib
import mmap
import time
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, cast

import torch

from unison.contract.pickles import foreign_globals, globals_in_pickle, globals_in_zip
from unison.errors import UnisonError

_MARK = b"unison-sha256:"
_DIGITS = 64
_COMMENT = len(_MARK) + _DIGITS
_LENGTH = _COMMENT.to_bytes(2, "little")
_NO_COMMENT = b"\0\0"
_ARCHIVE_START = b"PK\3\4"
_ARCHIVE_END = b"PK\5\6"
_ARCHIVE_END_SIZE = 22
_CHUNK = 1 << 22
_SETTLED_NS = 1_000_000_000
"""After so long a change is seen by its time, however coarse a file system's clock is."""
_whole: set[tuple[int, ...]] = set()
"""Files that were found whole, by device, inode, size and time of the last change: none is hashed twice."""
_NO_ARCHIVE = (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, RuntimeError, zlib.error)
"""What `zipfile` raises about bytes that are no archive."""


def write_archive(payload: Any, file: IO[bytes]) -> None:
    """`torch.save` to an empty file, hashed on its way, and closed by the digest."""
    sink = _HashingSink(file)
    torch.save(payload, cast(IO[bytes], sink))
    if sink.error:
        raise sink.error
    file.seek(-len(_NO_COMMENT), 2)
    file.write(_LENGTH + _MARK + sink.digest.hexdigest().encode())


def verify_archive(path: str | Path) -> Path:
    """The path of a file whose digest is right, and which runs no code when it is unpickled.

    Raises UnisonError, with its own message, for a file that is missing, empty, truncated, damaged, not of
    this format, or that would run code (the globals are named; nothing is executed).
    """
    if "://" in str(path):
        raise UnisonError(f"{path}: a checkpoint is a local file; download it first")
    path = Path(path)
    if not path.exists():
        raise UnisonError(f"{path}: no such file{nearest_paths(path)}")
    if not path.is_file():
        raise UnisonError(f"{path}: expected a checkpoint file, found a folder")
    known, now = path.stat(), time.time_ns()
    state = known.st_dev, known.st_ino, known.st_size, known.st_mtime_ns, known.st_ctime_ns
    if state in _whole:
        return path
    if known.st_size == 0:
        raise UnisonError(f"{path}: the file is empty; take another checkpoint, or copy it again")
    try:
        with open(path, "rb") as file:
            problem = _problem(file)
    except OSError as error:
        raise UnisonError(f"{path}: can't be read: {error.strerror or error}") from error
    if problem:
        raise UnisonError(f"{path}: {problem}")
    if now - known.st_ctime_ns > _SETTLED_NS:
        _whole.add(state)
    return path


def _problem(file: IO[bytes]) -> str | None:
    """What is wrong with a file that is not empty."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content, memoryview(content) as view:
        if bytes(view[-_COMMENT - 2 : -_DIGITS]) != _LENGTH + _MARK:
            return _what_it_is(view, content, file)
        stated, found = bytes(view[-_DIGITS:]), _digest(view[: -_COMMENT - 2])
    if stated != found.encode():
        return (
            f"the file is damaged: its SHA-256 is {found[:12]}…, it was written with "
            f"{stated[:12].decode('ascii', 'replace')}…; take another checkpoint, or copy it again"
        )
    try:
        names = globals_in_zip(file)
    except _NO_ARCHIVE:
        names = None
    if names is None:
        return "not a Unison checkpoint: its digest is right, but no torch archive is in front of it"
    code = foreign_globals(names)
    return _code_message(code) if code else None


def nearest_paths(path: Path) -> str:
    """'; nearest: a, b' with the existing paths whose names come closest, or where the path ends."""
    folder = path.parent
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    wanted = path.relative_to(folder).parts[0]
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    close = difflib.get_close_matches(wanted, names, n=3, cutoff=0.5)
    where = "" if folder == path.parent else f"; there is no {wanted} in {folder.absolute()}"
    return where + ("; nearest: " + ", ".join(str(folder / name) for name in close) if close else "")


class _HashingSink:
    """A file for `torch.save` that hashes what goes through it.

    torch writes from C++, where an exception can end the process: the first error is kept, more are ignored.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.digest = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, chunk: memoryview | bytes) -> int:
        if self.error is None:
            try:
                self.file.write(chunk)
                self.digest.update(chunk)
            except OSError as error:
                self.error = error
        return len(chunk)

    def flush(self) -> None:
        """`torch.save` asks for it; the file's owner flushes once, and sees the errors."""


def _digest(archive: memoryview) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(archive), _CHUNK):
        digest.update(archive[start : start + _CHUNK])
    digest.update(_NO_COMMENT)
    return digest.hexdigest()


def _what_it_is(view: memoryview, content: mmap.mmap, file: IO[bytes]) -> str:
    """What a file without our comment is, and what to do."""
    end = content.rfind(_ARCHIVE_END, max(0, len(view) - (1 << 16) - _ARCHIVE_END_SIZE))
    if end < 0 and _ARCHIVE_START.startswith(bytes(view[:4])):
        return _truncated(len(view))
    if end >= 0:
        stated = int.from_bytes(bytes(view[end + 20 : end + 22]), "little")
        present = len(view) - end - _ARCHIVE_END_SIZE
        if present < 0 or present < stated == _COMMENT:
            return _truncated(len(view))
        if _COMMENT in (stated, present):
            return "the file is damaged at its end; take another checkpoint, or copy it again"
    try:
        names = globals_in_zip(file)
    except _NO_ARCHIVE:
        return _what_unpickled(view, content)
    if names is None:
        return "a ZIP archive, but not a Unison checkpoint"
    if code := foreign_globals(names):
        return _code_message(code)
    return (
        "a PyTorch file, but not a Unison checkpoint: it has no digest and no contract; "
        "released checkpoints of other systems are converted first"
    )


def _what_unpickled(view: memoryview, content: mmap.mmap) -> str:
    content.seek(0)
    names, complete = globals_in_pickle(cast(IO[bytes], content))
    if complete or bytes(view[:1]) == b"\x80":
        if code := foreign_globals(names):
            return _code_message(code)
        if complete:
            return "a pickle, but not a Unison checkpoint"
    return "not a Unison checkpoint, and no PyTorch file either"


def _truncated(size: int) -> str:
    return f"the file is truncated: it ends after {size} bytes, before its archive does; copy it again"


def _code_message(names: list[str]) -> str:
    return (
        f"unpickling it would run code: it imports {', '.join(names)}, a Unison checkpoint holds data only; "
        "nothing was executed. A released model of another system goes through `unison convert` first; take any other"
        " checkpoint from a source that you trust"
    )
