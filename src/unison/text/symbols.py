"""Symbol lists: what a corpus's pronunciations are written in, and the ids that a model knows them by."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

from unison.errors import UnisonError

PAD = "_"
"""Fills a batch behind the end of a sentence; always id 0."""
BOUNDARY = "<sos/eos>"
"""Stands before and after every sentence; always id 1."""

_PAUSE = re.compile(r"(sp|engsp)(\d)")
_COLOURED = re.compile(r"([aeiouvng]+)r([1-5])")
_GAPS = {
    "engsp": " (the gap between English words: it knows single words)",
    "sp": " (the gap between Chinese words: it knows single words)",
    "eng_cn_sp": " (from English to Chinese: it knows texts in one language)",
    "cn_eng_sp": " (from Chinese to English: it knows texts in one language)",
}
HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff〇"
_MOST = 5
"""Words whose symbols are told one by one."""


def symbol_list(pronunciations: Iterable[Sequence[str]], previous: Sequence[str] = (PAD, BOUNDARY)) -> list[str]:
    """The ordered symbols of a corpus: those that have a place already, then every other symbol once, sorted."""
    found = {symbol for symbols in pronunciations for symbol in symbols}
    return [*previous, *sorted(found.difference(previous))]


def is_sound(symbol: str) -> bool:
    """Whether a symbol is one that is heard: no padding, boundary, pause, gap or mark of punctuation."""
    silent = symbol in (PAD, BOUNDARY, *_GAPS) or _PAUSE.fullmatch(symbol)
    return not silent and any(character.isalnum() for character in symbol)


def to_ids(symbols: Sequence[str], table: Sequence[str]) -> list[int]:
    """The positions of ``symbols`` in ``table``.

    A pause that the table lacks is read as the table's nearest pause of that language, an r-coloured final (``uor3``)
    as the plain one (``uo3``). Any other symbol that it lacks raises :class:`UnisonError` with all such symbols and
    what comes near each.
    """
    ids = {symbol: index for index, symbol in enumerate(table)}
    read_as = _read_as(symbols, ids)
    unknown = [symbol for symbol, known in read_as.items() if known is None]
    if unknown:
        raise UnisonError(
            [
                f"symbol '{symbol}' is not among the {len(table)} of this model{_hint(symbol, table)}"
                for symbol in unknown
            ]
        )
    return [ids[known] for known in (read_as[symbol] for symbol in symbols) if known is not None]


def unread(
    words: Iterable[tuple[str, Sequence[str]]], symbols: Sequence[str], table: Sequence[str]
) -> dict[str, list[str]]:
    """The symbols of a text that a table lacks, by the word that they come from.

    Args:
        words: its words, each with its own symbols.
        symbols: all of its symbols.
        table: the symbols that a model knows.

    Returns:
        Words in order; behind them, as "", what no word has: the gaps between them.
    """
    left = _unknown(symbols, table)
    found: dict[str, list[str]] = {}
    for word, own in words if left else ():
        for symbol in _unknown(own, table):
            if symbol in left and symbol not in found.setdefault(word, []):
                found[word].append(symbol)
    found = {word: own for word, own in found.items() if own}
    told = {symbol for own in found.values() for symbol in own}
    rest = [symbol for symbol in left if symbol not in told]
    return found | ({"": rest} if rest else {})


def explained(words: Mapping[str, Sequence[str]], table: Sequence[str]) -> list[str]:
    """Lines for what :func:`unread` found, the first words one by one, and what to do."""
    lines = []
    for word, symbols in list(words.items())[:_MOST]:
        named = [f"{symbol}{_GAPS.get(symbol.rstrip('0123456789'), _knows(symbol, table))}" for symbol in symbols]
        lines.append(f"{f'“{word}”' if word else 'text'}: this voice has never learnt {', '.join(named)}")
    if len(words) > _MOST:
        lines.append(f"and {len(words) - _MOST} more such words")
    if lines:
        missing = ",".join(f'"{symbol}"' for symbol in dict.fromkeys(s for own in words.values() for s in own))
        lines.append(
            "say it in other words, or train it with texts that have them (init_from=… speakers.policy=extend), or give"
            f" each an average sound without training: unison extend ckpt=… out=… 'symbols=[{missing}]'"
        )
    return lines


def is_gap(symbol: str) -> bool:
    """Whether a symbol is no sound: a break of any level, a change of language, punctuation or a space."""
    return bool(_PAUSE.fullmatch(symbol)) or symbol in _GAPS or not any(map(str.isalnum, symbol))


def is_pause(symbol: str) -> bool:
    """Whether a symbol is a pause within a sentence: a break of level 2 or more, or punctuation; no mere word's end."""
    match = _PAUSE.fullmatch(symbol)
    return int(match[2]) > 1 if match else is_gap(symbol) and symbol not in _GAPS and not symbol.isspace()


def near(symbol: str, table: Sequence[str]) -> list[str]:
    """Symbols of the table that differ in tone or stress only, else those spelled much alike."""
    return _akin(symbol, table) or difflib.get_close_matches(symbol, table, n=3, cutoff=0.6)


def _akin(symbol: str, table: Sequence[str]) -> list[str]:
    bare = re.sub(r"\d", "", symbol)
    return [other for other in table if re.sub(r"\d", "", other) == bare]


def _knows(symbol: str, table: Sequence[str]) -> str:
    found = _akin(symbol, table)
    return f" (only {', '.join(found)})" if found else ""


def _unknown(symbols: Sequence[str], table: Sequence[str]) -> list[str]:
    read_as = _read_as(symbols, {symbol: index for index, symbol in enumerate(table)})
    return [symbol for symbol, known in read_as.items() if known is None]


def _read_as(symbols: Sequence[str], ids: dict[str, int]) -> dict[str, str | None]:
    return {
        symbol: symbol if symbol in ids else _pause(symbol, ids) or _uncoloured(symbol, ids)
        for symbol in dict.fromkeys(symbols)
    }


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


def _uncoloured(symbol: str, ids: dict[str, int]) -> str | None:
    match = _COLOURED.fullmatch(symbol)
    plain = match and match[1] + match[2]
    return plain if plain in ids else None


def _hint(symbol: str, table: Sequence[str]) -> str:
    found = near(symbol, table)
    return f"; near it are {', '.join(found)}" if found else ""
