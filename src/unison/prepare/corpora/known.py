"""Errors that published corpora are known for, kept in ``known_errors.tsv`` with the source of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from unison.prepare.clip import Clip, Reject

PATH = Path(__file__).with_name("known_errors.tsv")


@dataclass(frozen=True)
class KnownError:
    """One line of the table."""

    corpus: str
    """The layout whose published release has it."""
    key: str
    """The entry's key; * stands for anything."""
    wrong: str
    """What is wrong with it."""
    source: str
    """Who says so."""


@cache
def known_errors() -> tuple[KnownError, ...]:
    """All lines of the table."""
    lines = PATH.read_text(encoding="utf-8").splitlines()
    return tuple(KnownError(*line.split("\t")) for line in lines if line and not line.startswith("#"))


def without_known_errors(corpus: str, entries: Iterable[Clip | Reject]) -> list[Clip | Reject]:
    """The entries of a corpus, those that are known to be wrong as rejects."""
    errors = [error for error in known_errors() if error.corpus == corpus]

    def checked(entry: Clip | Reject) -> Clip | Reject:
        error = next((error for error in errors if fnmatchcase(entry.key, error.key)), None)
        return entry if error is None else Reject(entry.key, "known error", f"{error.wrong} ({error.source})")

    return [checked(entry) for entry in entries]
