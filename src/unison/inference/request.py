"""What is asked for: one text, who says it and how; from the command line, files and standard input."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from unison.config.validate import validate
from unison.errors import UnisonError


@dataclass(frozen=True)
class Request:
    """One text to speak."""

    text: str
    speaker: str | None = None
    prompt: str | None = None
    speed: float = 1.0
    pitch: float = 0.0
    """Semitones by which F0 is shifted."""
    pitch_range: float = 1.0
    """Factor of F0's distance from its mean."""
    energy: float = 1.0
    """Factor of the energy."""
    pause_scale: float = 1.0
    """Factor of the lengths of pauses within a sentence."""
    seed: int = 0
    reference: tuple[str, ...] = ()
    """Recordings of the voice to imitate."""
    guidance: float | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    out: str | None = None
    symbols: tuple[str, ...] | None = None
    """A pronunciation that stands instead of the frontend's, in one piece; held-out utterances bring their corpus's."""

    def filled(self, **values: Any) -> Request:
        """With these values where it says nothing."""
        return replace(self, **{name: value for name, value in values.items() if getattr(self, name) is None})


CONTROLS = {"pitch": (-24.0, 24.0), "pitch_range": (0.0, 4.0), "energy": (0.1, 10.0), "pause_scale": (0.0, 10.0)}
"""What is asked of a voice beside its prompt, and from where to where."""
KNOBS = {
    "emotivoice": ("prompt", "speed", *CONTROLS),
    "metavoice": ("reference", "guidance", "temperature", "top_p", "top_k"),
}
"""What a request to each family may say besides text, speaker and seed."""
_PINYIN = re.compile(r"\{\s*[^\W\d_]+[1-6]\b")
"""How a text begins that begins with how it is said, as {chong2 qing4}, and is no JSON."""
_TYPES: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "speaker": (str,),
    "prompt": (str,),
    "speed": (int, float),
    **dict.fromkeys(CONTROLS, (int, float)),
    "seed": (int,),
    "reference": (str, list),
    "guidance": (int, float),
    "temperature": (int, float),
    "top_p": (int, float),
    "top_k": (int,),
    "out": (str,),
}


def ill_typed(request: Request) -> list[str]:
    """Fields of another type than theirs; the command line and JSON lines let none through, a caller in Python may."""
    try:
        validate(vars(request), Request)
    except UnisonError as error:
        return error.problems
    return []


def foreign_knobs(request: Request, family: str) -> list[str]:
    """What a request says although the voice's family has no such knob."""
    owners = {name: other for other, names in KNOBS.items() for name in names if name not in KNOBS[family]}
    defaults = {f.name: f.default for f in fields(Request)}
    given = [name for name in owners if getattr(request, name) != defaults[name]]
    return [
        f"{name}={_shown(getattr(request, name))}: for a voice of the {owners[name]} family; this one is of {family}"
        for name in given
    ]


def _shown(value: Any) -> str:
    return ", ".join(value) if isinstance(value, tuple) else f"{value}"


def parse_lines(lines: Iterable[str], defaults: Request, source: str) -> list[Request]:
    """Requests from plain lines or JSON lines; empty lines are passed over.

    Args:
        lines: each a text, or a JSON object with text and any of the other fields.
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
        if not line.startswith("{") or _PINYIN.match(line):
            requests.append(replace(defaults, text=line))
            continue
        try:
            requests.append(_with(defaults, _checked(json.loads(line))))
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
    files = given.get("reference")
    if isinstance(files, list) and not (files and all(isinstance(file, str) for file in files)):
        raise ValueError(f"reference: expected a file or a list of files, found {files!r}")
    return given


def _with(defaults: Request, given: dict[str, Any]) -> Request:
    """A line's request: a voice that it names, by speaker or by reference, stands instead of the one that is set."""
    if "reference" in given:
        files = given["reference"]
        given = {"speaker": None} | given | {"reference": (files,) if isinstance(files, str) else tuple(files)}
    elif "speaker" in given:
        given = {"reference": ()} | given
    return replace(defaults, **given)


def files_of(value: str | None) -> tuple[str, ...]:
    """What ``reference=`` names: one file, or several as ``[a.wav,b.flac]``."""
    if value is None:
        return ()
    if not value.strip(" []"):
        raise UnisonError("reference=: nothing is given; a recording, or several as [a.wav,b.flac]")
    if value.startswith("[") and value.endswith("]"):
        return tuple(name for part in value[1:-1].split(",") if (name := part.strip(" \"'")))
    return (value,)


def file_name(key: str) -> str:
    """An utterance's key, which may be a path, as a file's name in one folder; different keys, different names."""
    plain = re.sub(r"[^\w.-]+", "_", key).lstrip(".")
    return plain if plain == key else f"{plain[-80:]}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
