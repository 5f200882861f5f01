"""The tables of the package: whole, and what their columns promise."""

from __future__ import annotations

from importlib.resources import files

import pytest

from unison.text.normalization import rules
from unison.text.normalization.rules import Grammar
from unison.text.normalization.tables import table

NAMES = sorted(file.name.removesuffix(".tsv") for file in (files("unison.text.normalization") / "data").iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_first_columns_are_filled_and_unlike(name: str) -> None:
    rows = table(name)
    first = next(iter(rows[0]))
    keys = [row["pattern"] if "pattern" in row else row[first] for row in rows]
    assert all(keys)
    assert sorted(keys) == sorted(set(keys))


@pytest.mark.parametrize("name", ["units", "currencies"])
def test_names_are_given_in_both_languages(name: str) -> None:
    assert all(row["english"] and row["mandarin"] for row in table(name))


def test_a_row_is_a_category_a_pattern_and_a_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (
        {"category": "define", "pattern": r"\d+", "reading": "number"},
        {"category": "dozen", "pattern": r"{n:number} dozen", "reading": "{n:twelve} things"},
        {"category": "rest", "pattern": r"(?P<a>things) (?P<b>\w+)", "reading": "{b} {a}"},
    )
    monkeypatch.setattr(rules, "table", lambda name: rows)
    readers = {
        "verbatim": lambda value, match: value,
        "twelve": lambda value, match: str(12 * int(value)) if int(value) < 100 else None,
    }
    grammar = Grammar("any", {}, readers)
    assert grammar.read("2 dozen here") == "24 here things"
    assert grammar.read("200 dozen here") == "200 dozen here"
