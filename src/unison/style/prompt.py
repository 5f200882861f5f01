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
                problems.append(f"prompt={prompt}: no {part.strip()}; {_known(labels)}")
            found[name] = value
            continue
        classes = [kind for kind, values in labels.items() if name in values]
        if len(classes) == 1:
            found[classes[0]] = name
        elif classes:
            meant = " or ".join(f"{kind}={name}" for kind in classes)
            problems.append(f"prompt={prompt}: {name} may be {meant}; say which")
        else:
            every = [value for values in labels.values() for value in values]
            near = difflib.get_close_matches(name, every, n=3, cutoff=0.5)
            hint = f"nearest: {', '.join(near)}; " if near else ""
            problems.append(f"prompt={prompt}: no label {name}; {hint}{_known(labels)}")
    if problems:
        raise UnisonError(problems)
    return found


def _known(labels: dict[str, list[str]]) -> str:
    listed = "; ".join(f"{kind}: {', '.join(values)}" for kind, values in labels.items() if values)
    return f"this voice knows {listed}" if listed else "this voice was trained without style: leave prompt out"
