"""What a corpus reader gives: clips that may be used, and entries that may not, with the reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from unison.style.config import CLASSES

STYLE_FIELDS = (*CLASSES, "prompt")
"""What a clip's style may say: a label of each class, and a description in free text."""


@dataclass(frozen=True)
class Clip:
    """One recording and what was said in it."""

    key: str
    """Names the clip; unique in its corpus and stable from run to run."""
    audio: Path
    """The recording."""
    text: str
    """What is said, as written."""
    speaker: str
    """Who says it."""
    symbols: list[str] | None = None
    """The pronunciation, when the corpus brings its own; else a frontend makes it from the text."""
    style: dict[str, str] = field(default_factory=dict)
    """Any of ``STYLE_FIELDS``."""
    split: str | None = None
    """"train" or "valid" when the corpus says so."""


@dataclass(frozen=True)
class Reject:
    """An entry of a corpus that can't be used."""

    key: str
    reason: str
    """One of a few words, to count by: "missing audio", "known bad entry", …"""
    detail: str
    """What was found, for the person who looks into it."""
