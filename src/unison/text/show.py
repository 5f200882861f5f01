"""``unison text``: each stage of a text's way to symbols, and why a word is read as it is."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

from omegaconf import DictConfig

from unison.config.tools import TextToolConfig
from unison.config.validate import validate
from unison.errors import UnisonError
from unison.text import Lexicon, frontend
from unison.text.reading import PLAIN, Prosody, Reading, Word

_COLUMNS = ("word", "symbols", "break", "why")


def run(cfg: DictConfig) -> None:
    """Print how a text is read: a table for people, JSON for programs.

    Raises:
        UnisonError: no such frontend or format; a lexicon that can't be read; nothing to read.
    """
    config = validate(cfg, TextToolConfig)
    if config.format not in ("text", "json"):
        raise UnisonError(f"format={config.format}: expected text or json")
    reads = frontend(config.frontend, Lexicon.of(config.lexicon))
    reading = reads.read(config.text)
    if config.format == "json":
        print(json.dumps({"frontend": reads.identity} | described(reading), ensure_ascii=False, indent=2))
        return
    print(f"frontend    {reads.name} ({reads.version})")
    print(f"text        {reading.text}")
    print(f"normalised  {reading.normalised}\n")
    print(table(reading))
    print(f"\nsymbols     {' '.join(reading.symbols)}")
    for warning in reading.warnings:
        print(f"warning     {warning}")


def described(reading: Reading) -> dict[str, Any]:
    """A reading in primitives."""
    return {
        "text": reading.text,
        "normalised": reading.normalised,
        "words": [
            {
                "word": word.text,
                "symbols": list(word.symbols),
                "break": word.pause,
                "why": word.why,
                **({"seconds": word.silence} if word.silence is not None else {}),
                **({"prosody": vars(word.prosody)} if word.prosody != PLAIN else {}),
            }
            for word in reading.words
        ],
        "symbols": reading.symbols,
        "lead": reading.lead,
        "warnings": reading.warnings,
    }


def table(reading: Reading) -> str:
    """One line a word, columns aligned for a terminal."""
    rows = [_COLUMNS, *(_row(word, word is reading.words[-1]) for word in reading.words)]
    widths = [max(_width(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    lines = [
        "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)) for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def _row(word: Word, last: bool) -> tuple[str, ...]:
    seconds = f"{word.silence:g} s" if word.silence is not None else "" if last else word.pause
    why = word.why if word.prosody == PLAIN else f"{word.why}; {_prosody(word.prosody)}"
    return word.text, " ".join(word.symbols), seconds, why


def _prosody(prosody: Prosody) -> str:
    return f"rate {prosody.rate:g}, pitch {prosody.pitch:+g}, volume {prosody.volume:.3g}"


def _width(text: str) -> int:
    """Columns that a text takes in a terminal."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
