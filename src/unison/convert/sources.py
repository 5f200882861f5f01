"""The reference's files: pickles of which nothing is executed, and lists whose line numbers are a model's rows."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from unison.contract.archive import nearest_paths
from unison.contract.pickles import foreign_globals, globals_in_pickle, globals_in_zip

_CHUNK = 1 << 22
_BYTES = {"_codecs.encode"}
"""What a pickle of torch's protocol spells bytes with, as the keys of a tokenizer's table; torch reads it as that."""


def read_pickle(key: str, path: Path, entries: Mapping[str, type], problems: list[str]) -> dict[str, Any]:
    """The entries of a file that `torch.save` wrote, tensors on the CPU; empty when `problems` says why not.

    Args:
        key: the override that named the file.
        path: the file; in torch's zipped format its tensors are read when they are first used.
        entries: what must be in it, and its type.
        problems: gets a line when it is missing, damaged, would run code when unpickled, or lacks
            an entry.
    """
    where = f"{key}={path}"
    if not path.is_file():
        problems.append(f"{where}: no such file{nearest_paths(path)}")
        return {}
    try:
        zipped = zipfile.is_zipfile(path)
        with open(path, "rb") as file:
            names = (globals_in_zip(file) if zipped else globals_in_pickle(file)[0]) or set()
        if code := foreign_globals(names - _BYTES):
            problems.append(
                f"{where}: unpickling it would run code: it imports {', '.join(code)}, and a released checkpoint holds"
                " tensors alone; nothing was executed. Take it from a source that you trust"
            )
            return {}
        payload = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:  # zipfile, torch and what they read with raise many kinds
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        problems.append(f"{where}: truncated, damaged or no PyTorch file ({reason}); copy it again")
        return {}
    if not isinstance(payload, dict):
        problems.append(f"{where}: expected the entries {', '.join(entries)}, found {type(payload).__name__}")
        return {}
    wrong = [name for name, kind in entries.items() if not isinstance(payload.get(name), kind)]
    if wrong:
        expected = ", ".join(f"{name} ({entries[name].__name__})" for name in wrong)
        found = ", ".join(f"{name} ({type(value).__name__})" for name, value in list(payload.items())[:8])
        problems.append(f"{where}: expected the entries {expected}, found {found or 'none'}; is it another file?")
        return {}
    return payload


def read_names(key: str, path: Path, problems: list[str]) -> list[str]:
    """A list's names in the order of its lines, without the space around them; row 0 is line 1.

    `problems` gets a line when the file can't be read, for every line without a name, and for every name that stands
    on several lines: the reference would take the last of them.
    """
    where = f"{key}={path}"
    if not path.is_file():
        problems.append(f"{where}: no such file{nearest_paths(path)}")
        return []
    try:
        with path.open(encoding="utf-8-sig") as file:
            names = [line.strip() for line in file]
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{where}: can't be read as UTF-8 text ({error})")
        return []
    if not names:
        problems.append(f"{where}: the file is empty; expected a name a line")
    lines: dict[str, list[int]] = {}
    for number, name in enumerate(names, 1):
        lines.setdefault(name, []).append(number)
    for name, numbers in lines.items():
        at = " and ".join(map(str, numbers))
        if not name:
            problems.append(f"{where}: no name on line {at}; every line is a row of the model's table")
        elif len(numbers) > 1:
            problems.append(
                f"{where}: {name} stands on lines {at}; every name stands once, for one row of the model's table"
            )
    return names


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
