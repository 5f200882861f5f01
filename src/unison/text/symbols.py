"""Symbol lists: what a corpus's pronunciations are written in, and the ids that a model knows them by."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from unison.errors import UnisonError

PAD = "_"
"""Fills a batch behind the end of a sentence; always id 0."""
BOUNDARY = "<sos/eos>"
"""Stands before and after every sentence; always id 1."""

_PAUSE = re.compile(r"(sp|engsp)(\d)")


def symbol_list(pronunciations: Iterable[Sequence[str]], previous: Sequence[str] = (PAD, BOUNDARY)) -> list[str]:
    """The ordered symbols of a corpus: those that have a place already, then every other symbol once, sorted."""
    found = {symbol for symbols in pronunciations for symbol in symbols}
    return [*previous, *sorted(found.difference(previous))]


def to_ids(symbols: Sequence[str], table: Sequence[str]) -> list[int]:
    """The positions of ``symbols`` in ``table``.

    A pause that the table lacks is read as the table's nearest pause of that language. Any other symbol that
    it lacks raises :class:`UnisonError` with all such symbols and what comes near each.
    """
    ids = {symbol: index for index, symbol in enumerate(table)}
    read_as = {symbol: symbol if symbol in ids else _pause(symbol, ids) for symbol in dict.fromkeys(symbols)}
    unknown = [symbol for symbol, known in read_as.items() if known is None]
    if unknown:
        raise UnisonError(
            [
                f"symbol '{symbol}' is not among the {len(table)} of this model{_hint(symbol, table)}"
                for symbol in unknown
            ]
        )
    return [ids[known] for known in (read_as[symbol] for symbol in symbols) if known is not None]


def near(symbol: str, table: Sequence[str]) -> list[str]:
    """Symbols of the table that differ in tone or stress only, else those spelled much alike."""
    bare = re.sub(r"\d", "", symbol)
    same = [other for other in table if re.sub(r"\d", "", other) == bare]
    return same or difflib.get_close_matches(symbol, table, n=3, cutoff=0.6)


def _pause(symbol: str, ids: dict[str, int]) -> str | None:
    match = _PAUSE.fullmatch(symbol)
    if not match:
        return None
    kind, level = match[1], int(match[2])
    return min(
        (other for other in (f"{kind}{n}" for n in range(5)) if other in ids),
        key=lambda other: abs(int(other[-1]) - level),
        default=None,
    )


def _hint(symbol: str, table: Sequence[str]) -> str:
    found = near(symbol, table)
    return f"; near it are {', '.join(found)}" if found else ""
