"""Data files of the frontends, each line of which is ours to correct."""

from __future__ import annotations

from importlib.resources import files


def lines(name: str) -> list[str]:
    """The lines of a data file of this package, without comments and empty ones."""
    content = files(__name__).joinpath(name).read_text(encoding="utf-8")
    return [line for line in content.splitlines() if line.strip() and not line.startswith("#")]


def rows(name: str, columns: int) -> list[list[str]]:
    """The fields of its lines, separated by tabs, empty where a line ends early."""
    return [(line.split("\t") + [""] * columns)[:columns] for line in lines(name)]
