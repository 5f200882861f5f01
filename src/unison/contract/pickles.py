"""Which globals a pickle would import: found by reading its opcodes; nothing is executed."""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from typing import IO

_PLAIN = re.compile(
    r"collections\.OrderedDict"
    r"|torch\.\w+Storage|torch\.storage\.UntypedStorage"
    r"|torch\._utils\._rebuild_(tensor_v2|tensor_v3|parameter)"
    r"|torch\.(uint16|uint32|uint64|float8_\w+)"
)
"""What `torch.save` writes for dicts, lists, primitives and tensors."""

_STRINGS = {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_STRINGS |= {"STRING", "BINSTRING", "SHORT_BINSTRING"}
_PUTS = {"PUT", "BINPUT", "LONG_BINPUT"}
_GETS = {"GET", "BINGET", "LONG_BINGET"}


def foreign_globals(names: set[str]) -> list[str]:
    """Those of `names` that data alone does not need."""
    return sorted(name for name in names if not _PLAIN.fullmatch(name))


def globals_in_zip(file: IO[bytes]) -> set[str] | None:
    """The globals of a torch file's `data.pkl`; None when the archive has none.

    Raises zipfile.BadZipFile when the file is not a ZIP archive.
    """
    with zipfile.ZipFile(file) as archive:
        pickles = [name for name in archive.namelist() if name.split("/")[-1] == "data.pkl"]
        if not pickles:
            return None
        return set().union(*(globals_in_pickle(io.BytesIO(archive.read(name)))[0] for name in pickles))


def globals_in_pickle(file: IO[bytes]) -> tuple[set[str], bool]:
    """The globals of the pickles that follow each other in `file`, and whether one of them was complete."""
    found: set[str] = set()
    complete = False
    try:
        while True:
            found |= _globals_in_one(file)
            complete = True
    except Exception:  # pickletools raises whatever the bytes lead to; the end of the file too
        return found, complete


def _globals_in_one(file: IO[bytes]) -> set[str]:
    found: set[str] = set()
    strings: list[str] = ["?", "?"]
    memo: dict[int, str] = {}
    last, memoized = "?", 0
    for opcode, argument, _ in pickletools.genops(file):
        name = opcode.name
        if name in ("GLOBAL", "INST"):
            found.add(str(argument).replace(" ", "."))
        elif name == "STACK_GLOBAL":
            found.add(".".join(strings[-2:]))
        elif name in ("EXT1", "EXT2", "EXT4"):
            found.add(f"copyreg extension {argument}")
        elif name in _STRINGS:
            strings.append(str(argument))
        elif name in _GETS and int(argument or 0) in memo:
            strings.append(memo[int(argument or 0)])
        elif name in _PUTS:
            memo[int(argument or 0)] = last
        elif name == "MEMOIZE":
            memo[memoized] = last
            memoized += 1
        last = strings[-1] if name in _STRINGS else (last if name in _PUTS | {"MEMOIZE"} else "?")
    return found
