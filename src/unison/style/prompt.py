"""What is asked for in words: ``emotion=happy, speed=fast`` or just ``happy``, as labels by class."""

from __future__ import annotations

import difflib
import re

from unison.errors import UnisonError


def parse_labels(prompt: str | None, labels: dict[str, list[str]]) -> dict[str, str]:
    """Labels by class from a prompt of labels.

    Args:
        prompt: labels separated by commas, each with its class (``speed=fast``) or alone where only one class has it.
        labels: the voice's labels by class.

    Raises:
        UnisonError: a label or class that the voice does not have, or a label that several classes have.
    """
    found: dict[str, str] = {}
    problems: list[str] = []
    for part in re.split(r"[,，;；]", prompt or ""):
        name, given, value = (piece.strip() for piece in part.partition("="))
        if not name:
            continue
        if given:
            if value not in labels.get(name, []):
                hint = _nearest(value, labels[name]) if name in labels else ""
                problems.append(f"prompt={prompt}: no {part.strip()}; {hint}{_known(labels)}")
            found[name] = value
            continue
        classes = [kind for kind, values in labels.items() if name in values]
        if len(classes) == 1:
            found[classes[0]] = name
        elif classes:
            meant = " or ".join(f"{kind}={name}" for kind in classes)
            problems.append(f"prompt={prompt}: {name} may be {meant}; say which")
        else:
            hint = _nearest(name, [value for values in labels.values() for value in values])
            problems.append(f"prompt={prompt}: no label {name}; {hint}{_known(labels)}")
    if problems:
        raise UnisonError(problems)
    return found


def _nearest(label: str, known: list[str]) -> str:
    near = difflib.get_close_matches(label, known, n=3)
    return f"nearest: {', '.join(near)}; " if near else ""


def _known(labels: dict[str, list[str]]) -> str:
    listed = "; ".join(f"{kind}: {', '.join(values)}" for kind, values in labels.items() if values)
    return f"this voice knows {listed}" if listed else "this voice was trained without style: leave prompt out"
