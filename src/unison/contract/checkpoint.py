"""Checkpoint files: written whole, verified before they are read, never executed.

A checkpoint is a `torch.save` file of primitives, lists, dicts and tensors. Its ZIP archive comment carries the
SHA-256 of the archive as it was before the comment:

    archive ... | comment length, 2 bytes | unison-sha256:<64 hexadecimal digits>
                  0 when hashed             not hashed

so the file stays one that torch and every unzip read, and one digest covers every byte.
"""

from __future__ import annotations

import difflib
import hashlib
import mmap
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch

from unison.contract.atomic import replacing
from unison.contract.contract import Contract
from unison.contract.pickles import foreign_globals, globals_in_pickle, globals_in_zip
from unison.errors import UnisonError

_MARK = b"unison-sha256:"
_COMMENT = len(_MARK) + 64
_LENGTH = _COMMENT.to_bytes(2, "little")
_NO_COMMENT = b"\0\0"
_ARCHIVE_START = b"PK\3\4"
_ARCHIVE_END = b"PK\5\6"
_ARCHIVE_END_SIZE = 22
_CHUNK = 1 << 22


def write_checkpoint(payload: Mapping[str, Any], path: str | Path) -> None:
    """Write `payload` to `path` atomically, with its digest.

    Only None, bool, int, float, str, list, tuple, dict and tensors may be in it; parameters are stored as tensors
    and ordered dicts as dicts.

    Raises UnisonError when something else is in the payload (naming each by its path, before anything is written)
    or when the disk is full; the file that was at `path` then stays whole.
    """
    path = Path(path)
    problems: list[str] = []
    plain = _plain(payload, "", problems)
    if problems:
        raise UnisonError(problems)
    with replacing(path) as file:
        sink = _HashingSink(file)
        torch.save(plain, sink)
        if sink.error:
            raise sink.error
        file.seek(-len(_NO_COMMENT), 2)
        file.write(_LENGTH + _MARK + sink.digest.hexdigest().encode())


def read_checkpoint(
    path: str | Path, map_location: str | torch.device = "cpu", mmap: bool = True
) -> dict[str, Any]:
    """The payload of a checkpoint, after verifying its digest.

    With `mmap` the tensors' bytes are read when they are first used.

    Raises UnisonError, with its own message, for a file that is missing, empty, truncated, damaged, not a Unison
    checkpoint, or that would run code when unpickled (the globals are named; nothing is executed).
    """
    path = verify_checkpoint(path)
    try:
        payload = torch.load(path, map_location=map_location, weights_only=True, mmap=mmap)
    except Exception as error:  # torch raises many kinds
        reason = str(error).strip().splitlines()[0]
        raise UnisonError(f"{path}: the file is whole, but torch {torch.__version__} can't read it: {reason}") from error
    if not isinstance(payload, dict):
        raise UnisonError(f"{path}: expected a dict, found {type(payload).__name__}; this is not a Unison checkpoint")
    return payload


def read_contract(path: str | Path) -> Contract:
    """The contract of a checkpoint; the file is verified, its tensors are not read into memory."""
    return contract_of(read_checkpoint(path), path)


def contract_of(payload: Mapping[str, Any], path: str | Path) -> Contract:
    """The contract in a checkpoint's payload; raises UnisonError that names the file."""
    if "contract" not in payload:
        raise UnisonError(f"{path}: no contract in it; this is not a checkpoint that Unison trained or converted")
    try:
        return Contract.from_dict(payload["contract"])
    except UnisonError as error:
        raise UnisonError([f"{path}: {problem}" for problem in error.problems]) from error


def verify_checkpoint(path: str | Path) -> Path:
    """Check a checkpoint's digest and that unpickling it would run no code; the errors of `read_checkpoint`."""
    if "://" in str(path):
        raise UnisonError(f"{path}: a checkpoint is a local file; download it first")
    path = Path(path)
    if not path.exists():
        raise UnisonError(f"{path}: no such file{nearest_paths(path)}")
    if not path.is_file():
        raise UnisonError(f"{path}: expected a checkpoint file, found a folder")
    if path.stat().st_size == 0:
        raise UnisonError(f"{path}: the file is empty; take another checkpoint, or copy it again")
    with open(path, "rb") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content, memoryview(content) as view:
            if bytes(view[-_COMMENT - 2 : -64]) != _LENGTH + _MARK:
                raise UnisonError(f"{path}: {_what_it_is(view, content, file)}")
            stated, found = bytes(view[-64:]), _digest(view[: -_COMMENT - 2])
        if stated != found.encode():
            raise UnisonError(
                f"{path}: the file is damaged: its SHA-256 is {found[:12]}…, not the {_text(stated[:12])}… it was written "
                "with; take another checkpoint, or copy it again"
            )
        if code := foreign_globals(globals_in_zip(file) or set()):
            raise UnisonError(f"{path}: {_code_message(code)}")
    return path


def nearest_paths(path: Path) -> str:
    """'; nearest: a, b' with the existing paths whose names come closest, or where the path stops existing."""
    folder = path.parent
    if not folder.is_dir():
        while not folder.is_dir() and folder != folder.parent:
            folder = folder.parent
        return f"; the folder {folder} has no {path.relative_to(folder).parts[0]}{_nearest_in(folder, path)}"
    return _nearest_in(folder, path)


def _nearest_in(folder: Path, path: Path) -> str:
    wanted = path.relative_to(folder).parts[0]
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    close = difflib.get_close_matches(wanted, names, n=3, cutoff=0.5)
    return "; nearest: " + ", ".join(str(folder / name) for name in close) if close else ""


class _HashingSink:
    """A file for `torch.save` that hashes what goes through it.

    torch writes from C++, where an exception would end the process: the first error is kept, the rest ignored.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.digest = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, chunk: memoryview | bytes) -> int:
        if self.error is None:
            try:
                self.file.write(chunk)
            except OSError as error:
                self.error = error
            self.digest.update(chunk)
        return len(chunk)

    def flush(self) -> None:
        if self.error is None:
            try:
                self.file.flush()
            except OSError as error:
                self.error = error


def _plain(value: Any, where: str, problems: list[str]) -> Any:
    """`value` with plain containers and tensors only; what is neither goes to `problems`."""
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind in (torch.Tensor, torch.nn.Parameter):
        if value.layout is not torch.strided or value.device.type == "meta":
            problems.append(f"{where}: expected a dense tensor with data, found {value.layout} on {value.device}")
        return value.detach()
    if kind in (list, tuple):
        return kind(_plain(item, f"{where}[{i}]", problems) for i, item in enumerate(value))
    if kind in (dict, OrderedDict) or (where == "" and isinstance(value, Mapping)):
        for key in value:
            if type(key) not in (bool, int, float, str):
                problems.append(f"{where}: key {key!r}: expected a string or a number, found {type(key).__name__}")
        return {key: _plain(item, f"{where}.{key}" if where else str(key), problems) for key, item in value.items()}
    problems.append(
        f"{where or 'payload'}: {kind.__module__}.{kind.__qualname__} can't be in a checkpoint; "
        "store primitives, lists, dicts and tensors"
    )
    return None


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
        comment = bytes(view[end + _ARCHIVE_END_SIZE :])
        stated = int.from_bytes(bytes(view[end + 20 : end + 22]), "little")
        if len(view) < end + _ARCHIVE_END_SIZE or len(comment) < stated == _COMMENT:
            return _truncated(len(view))
        if stated == _COMMENT or len(comment) == _COMMENT or comment.startswith(_MARK):
            return "the file is damaged at its end; take another checkpoint, or copy it again"
    try:
        names = globals_in_zip(file)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, OSError, RuntimeError):
        return _what_unpickled(view, content)
    if names is None:
        return "a ZIP archive, but not a Unison checkpoint"
    if code := foreign_globals(names):
        return _code_message(code)
    return (
        "a PyTorch file, but not a Unison checkpoint: it has no digest and no contract; "
        "see `unison convert` for released checkpoints"
    )


def _what_unpickled(view: memoryview, content: mmap.mmap) -> str:
    content.seek(0)
    names, complete = globals_in_pickle(content)  # type: ignore[arg-type]  # it reads like a file
    if complete or bytes(view[:1]) == b"\x80":
        if code := foreign_globals(names):
            return _code_message(code)
        if complete:
            return "a pickle, but not a Unison checkpoint"
    return "not a Unison checkpoint, and no PyTorch file either"


def _truncated(size: int) -> str:
    return f"the file is truncated (it ends after {size} bytes, before its archive does); copy it again"


def _code_message(names: list[str]) -> str:
    return (
        f"unpickling it would run code: it imports {', '.join(names)}; a Unison checkpoint holds data only. "
        "Nothing was executed; don't load it with other programs unless you trust where it comes from"
    )


def _text(digits: bytes) -> str:
    return digits.decode("ascii", "replace")
