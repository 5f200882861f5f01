"""The tables that come with the package: tab-separated text, a header, lines that begin with # are remarks."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files


@lru_cache(maxsize=32)
def table(name: str) -> tuple[dict[str, str], ...]:
    """The rows of ``data/<name>.tsv`` by their column; a cell that is missing is empty.

    Raises ``ValueError`` for a row with more cells than the header.
    """
    text = (files("unison.text.normalization") / "data" / f"{name}.tsv").read_text(encoding="utf-8")
    lines = [(place, line) for place, line in enumerate(text.splitlines(), 1) if line and not line.startswith("# ")]
    header = lines[0][1].split("\t")
    rows = []
    for place, line in lines[1:]:
        cells = line.split("\t")
        if len(cells) > len(header):
            raise ValueError(f"{name}.tsv, line {place}: {len(cells)} cells, expected {', '.join(header)}")
        rows.append(dict(zip(header, cells + [""] * (len(header) - len(cells)), strict=True)))
    return tuple(rows)
