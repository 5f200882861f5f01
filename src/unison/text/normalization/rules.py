"""Rules in tables: what is found in a text, and how it is read.

A row has a category, a pattern and a reading. Within a pattern ``{name}`` stands for a definition (a row whose
category is ``define``), and ``{group:name}`` for the same as a named group. Within a reading ``{group:reader}`` is
what the reader called so makes of the group; ``{group}`` is the group as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from unison.text.normalization.tables import table

Reader = Callable[[str, "re.Match[str]"], "str | None"]
"""What a group is read as, given the group and the whole match; None where this is not what the pattern took it for."""

_DEFINED = re.compile(r"\{(?:([a-z]\w*):)?([a-z]\w*)\}")
_FIELD = re.compile(r"\{([a-z]\w*)(?::([a-z]\w*))?\}")


@dataclass(frozen=True)
class Rule:
    """A pattern, and its reading as pieces of text and (group, reader)."""

    category: str
    pattern: re.Pattern[str]
    reading: tuple[str | tuple[str, Reader], ...]

    def apply(self, text: str) -> str:
        """The text with all that the pattern finds read."""
        return self.pattern.sub(self._read, text)

    def _read(self, match: re.Match[str]) -> str:
        words = []
        for piece in self.reading:
            if isinstance(piece, str):
                words.append(piece)
                continue
            group, reader = piece
            word = reader(match[group] or "", match)
            if word is None:
                return match[0]
            words.append(word)
        return "".join(words)


class Grammar:
    """The rules of a table, in its order: each sees what those before it have left."""

    def __init__(self, name: str, definitions: Mapping[str, str], readers: Mapping[str, Reader]) -> None:
        """Read ``data/<name>.tsv``.

        Args:
            name: of the table.
            definitions: patterns by name, beside those that the table defines.
            readers: by the name that readings call them by.
        """
        known = dict(definitions)
        rules = []
        for row in table(name):
            pattern = _DEFINED.sub(lambda found: _group(found, known), row["pattern"])
            if row["category"] == "define":
                known[row["reading"]] = f"(?:{pattern})"
            else:
                reading = _reading(row["reading"], readers)
                rules.append(Rule(row["category"], re.compile(pattern, re.ASCII), reading))
        self.rules: Sequence[Rule] = tuple(rules)

    def read(self, text: str) -> str:
        """The text with every rule applied."""
        for rule in self.rules:
            text = rule.apply(text)
        return text


def alternatives(words: Sequence[str]) -> str:
    """A pattern for any of the words, the longest first."""
    return "(?:" + "|".join(re.escape(word) for word in sorted(set(words), key=lambda word: (-len(word), word))) + ")"


def _group(found: re.Match[str], known: Mapping[str, str]) -> str:
    name, definition = found[1], known[found[2]]
    return f"(?P<{name}>{definition})" if name else definition


def _reading(text: str, readers: Mapping[str, Reader]) -> tuple[str | tuple[str, Reader], ...]:
    pieces: list[str | tuple[str, Reader]] = []
    end = 0
    for found in _FIELD.finditer(text):
        pieces += [text[end : found.start()], (found[1], readers[found[2] or "verbatim"])]
        end = found.end()
    return (*pieces, text[end:])
