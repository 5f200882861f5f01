"""Recordings with plain text: one file of lines (also LJSpeech's ``metadata.csv``), or a text file beside each.

A line is ``name|text``, with a tab, or with a space behind a name that is a recording's; LJSpeech's is
``id|raw text|normalised text``, of which the last is taken. The name is a recording's path, from the file's folder or
its ``wavs/`` on, with or without its ending. Beside ``001.wav`` lies ``001.txt``.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from unison.errors import UnisonError
from unison.prepare.clip import Clip, Reject

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
TEXT = ".txt"
"""What a file with a text is called by."""
_SHOWN, _EXAMPLES = 20, 5
_ENOUGH = 10
"""Lines from which on a column is judged by what it repeats."""

log = logging.getLogger(__name__)


def separator_of(line: str, folder: Path) -> str | None:
    """What stands between name and text in such a line; None if it is none."""
    for separator in ("|", "\t"):
        if len(line.split(separator)) in (2, 3):
            return separator
    name = line.split(maxsplit=1)[0]
    return " " if recording(folder, name).is_file() else None


def read_lines(path: Path, lines: Iterable[str], separator: str, speaker: str | None) -> list[Clip | Reject]:
    """The clips of a file of lines; see :func:`speakers` for who says them.

    Raises :class:`UnisonError` with every problem of the file at once, by line number.
    """
    problems: list[str] = []
    rows: list[list[str]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        cells = [cell.strip() for cell in (line.split(None, 1) if separator == " " else line.split(separator))]
        if len(cells) not in (2, 3) or not cells[0]:
            form = {"|": "id|text|normalised text or name|text", "\t": "name, a tab, text", " ": "name, a space, text"}
            problems.append(f"{path}: line {number}: {len(cells)} cells; expected {form[separator]}")
            continue
        rows.append(cells)
    if (repeated := _repeated(rows)) is not None:
        which, example = repeated
        problems.append(
            f"{path}: of three cells the {which} says the same over and over ('{example}'), so these are not name|text|"
            "normalised text; where a column says who speaks, the first line names the columns, as path|text|speaker"
        )
    raise_some(problems)
    names = [Path(cells[0]) for cells in rows]
    keys = [(n.with_suffix("") if n.suffix.lower() in SUFFIXES else n).as_posix() for n in names]
    whose = speakers(keys, path.parent, speaker)
    return [
        checked(Clip(key=key, audio=recording(path.parent, cells[0]), text=cells[-1], speaker=who))
        for key, cells, who in zip(keys, rows, whose, strict=True)
    ]


def _repeated(rows: list[list[str]]) -> tuple[str, str] | None:
    """Which of two texts is none, and what it says most: it has far fewer different values and no words in common."""
    texts = [cells[1:] for cells in rows if len(cells) == 3 and all(cells)]
    if len(texts) < _ENOUGH or 2 * sum(map(_alike, texts)) > len(texts):
        return None
    counts = {which: Counter(text[i] for text in texts) for i, which in enumerate(("second", "third"))}
    fewer, more = sorted(counts, key=lambda which: len(counts[which]))
    return (fewer, counts[fewer].most_common(1)[0][0]) if 2 * len(counts[fewer]) < len(counts[more]) else None


def _alike(texts: list[str]) -> bool:
    one, two = (set(re.findall(r"\w+", text.casefold())) for text in texts)
    return bool(one & two)


def recordings(folder: Path) -> list[Path]:
    """All recordings under a folder, sorted."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def read_beside(folder: Path, speaker: str | None) -> list[Clip | Reject]:
    """Every recording under a folder with the text of the file beside it; see :func:`speakers` for who says it."""
    found = recordings(folder)
    heard = {path.with_suffix("") for path in found}
    keys = [path.relative_to(folder).with_suffix("").as_posix() for path in found]
    silent = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob(f"*{TEXT}") if path.with_suffix("") not in heard
    )
    if silent:  # notes, perhaps
        shown = ", ".join(silent[:_EXAMPLES]) + (", …" if len(silent) > _EXAMPLES else "")
        log.warning("%s: left out, since no recording lies beside: %d .txt (%s)", folder, len(silent), shown)
    entries: list[Clip | Reject] = []
    for path, key, who in zip(found, keys, speakers(keys, folder, speaker), strict=True):
        text = read_text(path.with_suffix(TEXT), key)
        entries.append(text if isinstance(text, Reject) else checked(Clip(key, path, text, who)))
    return entries


def speakers(keys: list[str], folder: Path, given: str | None) -> list[str]:
    """Whose each recording is: the one that is given; else by the folder that it is in, where there are several of
    them in `folder`; else one, called as `folder`."""
    if given is not None:
        return [given] * len(keys)
    firsts = [key.partition("/")[0] if "/" in key else "" for key in keys]
    if "" not in firsts and len({*firsts}) > 1:
        return firsts
    return [folder.resolve().name] * len(keys)


def recording(folder: Path, name: str) -> Path:
    """The recording of that name, with or without its ending; where there is none, the path that was expected."""
    if Path(name).suffix.lower() in SUFFIXES:
        candidates = [folder / name, folder / "wavs" / name]
    else:
        endings = [*SUFFIXES, *(suffix.upper() for suffix in SUFFIXES)]
        candidates = [place / f"{name}{ending}" for place in (folder / "wavs", folder) for ending in endings]
    return next((path for path in candidates if path.is_file()), candidates[0])


def read_text(path: Path, key: str) -> str | Reject:
    """The text in a file, or why there is none."""
    try:
        return " ".join(path.read_text(encoding="utf-8-sig").split())
    except FileNotFoundError:
        return Reject(key, "missing text", f"{path}: there is no such file")
    except (OSError, UnicodeDecodeError) as error:
        return Reject(key, "unreadable text", f"{path}: can't be read as UTF-8 text ({error})")


def checked(clip: Clip) -> Clip | Reject:
    """The clip, if its recording is there and its text is not empty."""
    if not clip.audio.is_file():
        return Reject(clip.key, "missing audio", f"{clip.audio}: there is no such file")
    if not clip.text and not clip.symbols:
        return Reject(clip.key, "no text", f"{clip.audio}: the text is empty")
    return clip


def raise_some(problems: list[str]) -> None:
    """Raise the problems, if there are any, the first of many."""
    if len(problems) > _SHOWN:
        problems = [*problems[:_SHOWN], f"… and {len(problems) - _SHOWN} more lines"]
    if problems:
        raise UnisonError(problems)
