"""One's own recordings, described by a table with a header, or by plain text: see :mod:`.recordings`.

In a table (separated by comma, tab, semicolon or ``|``) the columns are ``path``, ``text``, ``speaker``
and, where wanted, ``key``, ``split`` (train or valid), ``symbols`` (separated by spaces) and the styles
``emotion``, ``pitch``, ``speed``, ``energy``, ``prompt``. Paths are relative to the table. MetaVoice's header is
``audio_files|captions``, where a caption is a text or the path of a .txt file.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from unison.errors import UnisonError
from unison.prepare.clip import STYLE_FIELDS, Clip, Reject
from unison.prepare.config import DataConfig
from unison.prepare.corpora.recordings import (
    TEXT,
    checked,
    raise_some,
    read_beside,
    read_lines,
    read_text,
    recordings,
    separator_of,
)

REQUIRED = ("path", "text")
OPTIONAL = ("key", "speaker", "split", "symbols", *STYLE_FIELDS)
ALIASES = {"audio_files": "path", "captions": "text"}
"""MetaVoice's names of columns."""
LJSPEECH = "metadata.csv", "LJ"
"""The file and the speaker of LJSpeech."""
_SEPARATORS = ("|", "\t", ";", ",")


def read(config: DataConfig) -> list[Clip | Reject]:
    """The table or text file that ``config.raw`` is, or that the folder ``config.raw`` holds."""
    path = described_by(Path(config.raw))
    return read_beside(path, config.speaker) if path.is_dir() else read_table(path, config.speaker)


def texts(raw: Path) -> list[Path]:
    """The files that say, or may say, what is said in the recordings of a folder, but for those beside them."""
    if raw.is_file():
        return [raw]
    return sorted(path for suffix in ("*.csv", "*.tsv", f"*{TEXT}") for path in raw.glob(suffix))


def read_table(path: Path, speaker: str | None = None) -> list[Clip | Reject]:
    """The entries of one table or file of lines; ``speaker`` names them where it has no such column.

    Raises :class:`UnisonError` with every problem of the table at once, by line number.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnisonError(f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8") from error
    # not splitlines, which takes U+2028 and others that may stand in a text for ends of lines
    lines = text.split("\n")
    first = next((line for line in lines if line.strip()), "")
    if not first:
        raise UnisonError(f"{path}: the file is empty; expected a header line with path, text and speaker")
    columns = {separator: [cell.strip().lower() for cell in first.split(separator)] for separator in _SEPARATORS}
    for separator, cells in columns.items():
        if set(REQUIRED) <= {_column(cell.strip('"')) for cell in cells}:
            return _with_header(path, text, separator, speaker)
    between = separator_of(first, path.parent)
    if between and not {*columns.get(between, ())} & {*REQUIRED, *OPTIONAL}:
        if path.name == LJSPEECH[0]:
            speaker = speaker or LJSPEECH[1]
        return read_lines(path, lines, between, speaker)
    raise UnisonError(
        f"{path}: line 1 is '{first[:80]}'; expected a header with the columns path, text and speaker "
        "(separated by comma, tab, semicolon or |), or lines name|text, name being a recording's; LJSpeech's are "
        "id|text|normalised text"
    )


def described_by(raw: Path) -> Path:
    """The file with the texts of the recordings; the folder itself, where each has a text file of its own beside it."""
    if raw.is_file():
        return raw
    if not raw.is_dir():
        raise UnisonError(
            f"{raw}: there is no such file or folder; set data.raw to a CSV or text file or to the folder that holds it"
        )
    if (raw / LJSPEECH[0]).is_file():
        return raw / LJSPEECH[0]
    files = sorted(path for suffix in ("*.csv", "*.tsv") for path in raw.glob(suffix))
    if not files:
        if any(path.with_suffix(TEXT).is_file() for path in recordings(raw)):
            return raw
        files = sorted(raw.glob(f"*{TEXT}"))
    if len(files) != 1:
        found = ", ".join(path.name for path in files) or "none"
        raise UnisonError(
            f"{raw}: expected metadata.csv, one .csv or .tsv file, one .txt file of lines name|text, or a .txt file "
            f"beside each recording, found {found}; set data.raw to the file"
        )
    return files[0]


def _with_header(path: Path, text: str, separator: str, speaker: str | None) -> list[Clip | Reject]:
    # In a file separated by | quotation marks are part of the text, as in LJSpeech.
    quoting: Literal[0, 3] = csv.QUOTE_NONE if separator == "|" else csv.QUOTE_MINIMAL
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, quoting=quoting)
    header: list[str] = []
    while not header:
        header = [cell.strip().lower() for cell in next(rows)]
    captioned = "captions" in header
    if captioned:
        speaker = speaker or path.stem
    header = [_column(name) for name in header]
    problems = [
        f"{path}: line 1: column '{name}' is not known; use {', '.join((*REQUIRED, *OPTIONAL))}"
        for name in header
        if name not in (*REQUIRED, *OPTIONAL)
    ]
    problems += [
        f"{path}: line 1: column '{name}' occurs twice" for name in sorted({*header}) if header.count(name) > 1
    ]
    if "speaker" not in header and speaker is None:
        problems.append(f"{path}: line 1: there is no column 'speaker'; add it, or set data.speaker=<name>")
    if problems:
        raise UnisonError(problems)
    entries: list[Clip | Reject] = []
    seen: dict[str, int] = {}
    for cells in rows:
        if not any(cell.strip() for cell in cells):
            continue
        where = f"{path}: line {rows.line_num}"
        if len(cells) != len(header):
            problems.append(f"{where}: {len(cells)} cells; the header has {len(header)} columns ({', '.join(header)})")
            continue
        row = dict(zip(header, (re.sub(r"\s*\n\s*", " ", cell.strip()) for cell in cells), strict=True))
        row_problems = list(_problems(row, where, speaker))
        problems += row_problems
        if row_problems:
            continue
        entry = _entry(row, path.parent, speaker, captioned)
        if entry.key in seen:
            problems.append(
                f"{where}: '{entry.key}' was on line {seen[entry.key]} already; every clip needs its own key"
            )
        seen[entry.key] = rows.line_num
        entries.append(entry)
    raise_some(problems)
    return entries


def _problems(row: dict[str, str], where: str, speaker: str | None) -> Iterator[str]:
    if not row["path"]:
        yield f"{where}: the path is empty"
    if not row.get("speaker", speaker):
        yield f"{where}: the speaker is empty"
    if row.get("split", "") not in ("", "train", "valid"):
        yield f"{where}: split is '{row['split']}'; expected train, valid or nothing"


def _column(name: str) -> str:
    """A column by the name that it has here."""
    return ALIASES.get(name, name)


def _entry(row: dict[str, str], folder: Path, speaker: str | None, captioned: bool) -> Clip | Reject:
    audio = folder / row["path"]
    key = row.get("key") or Path(row["path"]).with_suffix("").as_posix()
    if captioned and row["text"].lower().endswith(TEXT):
        caption = read_text(folder / row["text"], key)
        if isinstance(caption, Reject):
            return caption
        row["text"] = caption
    return checked(
        Clip(
            key=key,
            audio=audio,
            text=row["text"],
            speaker=row.get("speaker") or str(speaker),
            symbols=row["symbols"].split() if row.get("symbols") else None,
            style={name: row[name] for name in STYLE_FIELDS if row.get(name)},
            split=row.get("split") or None,
        )
    )
