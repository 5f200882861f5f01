"""Corpora described by a table: a CSV with a header, or LJSpeech's ``metadata.csv`` without one.

With a header (separated by comma, tab, semicolon or ``|``) the columns are ``path``, ``text``, ``speaker``
and, where wanted, ``key``, ``split`` (train or valid), ``symbols`` (separated by spaces) and the styles
``emotion``, ``pitch``, ``speed``, ``energy``, ``prompt``. Paths are relative to the table. MetaVoice's header is
``audio_files|captions``, where a caption is a text or the path of a .txt file. LJSpeech's lines are
``id|raw text|normalised text``, with recordings in ``wavs/``; the normalised text is taken.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from unison.errors import UnisonError
from unison.prepare.clip import STYLE_FIELDS, Clip, Reject
from unison.prepare.config import DataConfig

REQUIRED = ("path", "text")
OPTIONAL = ("key", "speaker", "split", "symbols", *STYLE_FIELDS)
ALIASES = {"audio_files": "path", "captions": "text"}
"""MetaVoice's names of columns."""
CAPTION = ".txt"
"""What the path of a caption's file ends in."""
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
_SEPARATORS = ("|", "\t", ";", ",")
_SHOWN = 20


def read(config: DataConfig) -> list[Clip | Reject]:
    """The table that ``config.raw`` is, or that the folder ``config.raw`` holds."""
    return read_table(_table(Path(config.raw)), config.speaker)


def read_table(path: Path, speaker: str | None = None) -> list[Clip | Reject]:
    """The entries of one table; ``speaker`` names them where it has no such column.

    Raises :class:`UnisonError` with every problem of the table at once, by line number.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnisonError(f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8") from error
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), "")
    if not first:
        raise UnisonError(f"{path}: the file is empty; expected a header line with path, text and speaker")
    columns = {separator: [cell.strip().lower() for cell in first.split(separator)] for separator in _SEPARATORS}
    for separator, cells in columns.items():
        if set(REQUIRED) <= {_column(cell.strip('"')) for cell in cells}:
            return _with_header(path, lines, separator, speaker)
    if len(columns["|"]) in (2, 3) and not set(columns["|"]) & {*REQUIRED, *OPTIONAL}:
        return _ljspeech(path, lines, speaker or "LJ")
    raise UnisonError(
        f"{path}: line 1 is '{first[:80]}'; expected a header with the columns path, text and speaker "
        "(separated by comma, tab, semicolon or |), or LJSpeech's lines id|text|normalised text"
    )


def _table(raw: Path) -> Path:
    if raw.is_file():
        return raw
    if not raw.is_dir():
        raise UnisonError(
            f"{raw}: there is no such file or folder; set data.raw to a CSV or to the folder that holds it"
        )
    if (raw / "metadata.csv").is_file():
        return raw / "metadata.csv"
    tables = sorted(path for suffix in ("*.csv", "*.tsv") for path in raw.glob(suffix))
    if len(tables) != 1:
        found = ", ".join(path.name for path in tables) or "none"
        raise UnisonError(
            f"{raw}: expected metadata.csv or one .csv or .tsv file, found {found}; set data.raw to the file"
        )
    return tables[0]


def _with_header(path: Path, lines: list[str], separator: str, speaker: str | None) -> list[Clip | Reject]:
    # In a file separated by | quotation marks are part of the text, as in LJSpeech.
    quoting: Literal[0, 3] = csv.QUOTE_NONE if separator == "|" else csv.QUOTE_MINIMAL
    rows = csv.reader(lines, delimiter=separator, quoting=quoting)
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
        row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
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
    _raise(problems)
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
    if captioned and row["text"].lower().endswith(CAPTION):
        caption = folder / row["text"]
        try:
            row["text"] = " ".join(caption.read_text(encoding="utf-8-sig").split())
        except FileNotFoundError:
            return Reject(key, "missing caption", f"{caption}: there is no such file")
        except (OSError, UnicodeDecodeError) as error:
            return Reject(key, "unreadable caption", f"{caption}: can't be read as UTF-8 text ({error})")
    return _checked(
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


def _ljspeech(path: Path, lines: list[str], speaker: str) -> list[Clip | Reject]:
    problems: list[str] = []
    entries: list[Clip | Reject] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) not in (2, 3) or not cells[0]:
            problems.append(f"{path}: line {number}: {len(cells)} cells; expected id|text|normalised text")
            continue
        entries.append(
            _checked(Clip(key=cells[0], audio=_recording(path.parent, cells[0]), text=cells[-1], speaker=speaker))
        )
    _raise(problems)
    return entries


def _recording(folder: Path, name: str) -> Path:
    candidates = [folder / "wavs" / f"{name}{suffix}" for suffix in SUFFIXES]
    return next((path for path in candidates if path.is_file()), candidates[0])


def _checked(clip: Clip) -> Clip | Reject:
    if not clip.audio.is_file():
        return Reject(clip.key, "missing audio", f"{clip.audio}: there is no such file")
    if not clip.text and not clip.symbols:
        return Reject(clip.key, "no text", f"{clip.audio}: the text is empty")
    return clip


def _raise(problems: list[str]) -> None:
    if len(problems) > _SHOWN:
        problems = [*problems[:_SHOWN], f"… and {len(problems) - _SHOWN} more lines"]
    if problems:
        raise UnisonError(problems)
