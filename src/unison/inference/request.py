"""What is asked for: one text, who says it and how; from the command line, files and standard input."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from unison.errors import UnisonError


@dataclass(frozen=True)
class Request:
    """One text to speak."""

    text: str
    speaker: str | None = None
    prompt: str | None = None
    speed: float = 1.0
    seed: int = 0
    out: str | None = None
    symbols: tuple[str, ...] | None = None
    """A pronunciation that stands instead of the frontend's, in one piece; held-out utterances bring their corpus's."""


KNOBS = {"emotivoice": ("prompt", "speed")}
"""What a request to each family may say besides text, speaker and seed."""
_TYPES: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "speaker": (str,),
    "prompt": (str,),
    "speed": (int, float),
    "seed": (int,),
    "out": (str,),
}


def foreign_knobs(request: Request, family: str) -> list[str]:
    """What a request says although the voice's family has no such knob."""
    owners = {name: other for other, names in KNOBS.items() for name in names if name not in KNOBS[family]}
    defaults = {f.name: f.default for f in fields(Request)}
    given = [name for name in owners if getattr(request, name) != defaults[name]]
    return [
        f"{name}={getattr(request, name)}: only voices of the {owners[name]} family have it, this one is of {family}"
        for name in given
    ]


def parse_lines(lines: Iterable[str], defaults: Request, source: str) -> list[Request]:
    """Requests from plain lines or JSON lines; empty lines are passed over.

    Args:
        lines: each a text, or a JSON object with any of text, speaker, prompt, speed, seed, out.
        defaults: what a line does not say.
        source: name of the file, for error messages.

    Raises:
        UnisonError: every line that can't be read, with its number.
    """
    requests: list[Request] = []
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        line = line.strip("\r\n\ufeff ")
        if not line:
            continue
        if not line.startswith("{"):
            requests.append(replace(defaults, text=line))
            continue
        try:
            requests.append(replace(defaults, **_checked(json.loads(line))))
        except (ValueError, TypeError) as error:
            problems.append(f"{source}, line {number}: {error}")
    if problems:
        raise UnisonError(problems)
    return requests


def _checked(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise ValueError("a JSON line must be an object")
    for key, value in given.items():
        if key not in _TYPES:
            raise ValueError(f"no such field {key!r}; known are {', '.join(_TYPES)}")
        if isinstance(value, bool) or not isinstance(value, _TYPES[key]):
            raise ValueError(f"{key}: expected {' or '.join(t.__name__ for t in _TYPES[key])}, found {value!r}")
    if "text" not in given:
        raise ValueError("text is missing")
    return given


def file_name(key: str) -> str:
    """An utterance's key, which may be a path, as a file's name in one folder; different keys, different names."""
    plain = re.sub(r"[^\w.-]+", "_", key).lstrip(".")
    return plain if plain == key else f"{plain[-80:]}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
