"""Where a published corpus lies below the folder that is given, and how its text files are read."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from unison.errors import UnisonError


def unpacked(raw: str, names: Sequence[str], expected: Sequence[str], what: str) -> Path:
    """The folder that holds all of ``expected``: ``raw``, or one of ``names`` in it.

    Raises:
        UnisonError: none does; the message says ``what`` was looked for, and where.
    """
    places = [Path(raw), *(Path(raw) / name for name in names)]
    found = next((place for place in places if all((place / name).exists() for name in expected)), None)
    if found is None:
        raise UnisonError(
            f"{raw}: no {what}; expected {' and '.join(expected)} there or in {' or '.join(names)} below it; "
            "set data.raw to the unpacked corpus"
        )
    return found


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, stripped.

    Raises:
        UnisonError: it is not UTF-8.
    """
    try:
        return [line.strip() for line in io.StringIO(path.read_text(encoding="utf-8-sig"))]
    except UnicodeDecodeError as error:
        raise UnisonError(f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8") from error
