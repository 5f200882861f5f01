"""The numbers of English."""

from __future__ import annotations

import pytest

from unison.text import normalize
from unison.text.normalization.english import cardinal, in_pairs, ordinal, roman, year


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ("0", "zero"), ("14", "fourteen"), ("40", "forty"), ("105", "one hundred five"), ("110", "one hundred ten"),
        ("1,024", "one thousand twenty four"), ("3.50", "three point five zero"), ("007", "zero zero seven"),
        ("2000000", "two million"), ("1" + "0" * 12, "one trillion"), ("-1.5", "minus one point five"),
        (".5", "zero point five"), ("1" * 16, " ".join(["one"] * 16)),
    ],
)  # fmt: skip
def test_cardinals(number: str, words: str) -> None:
    assert cardinal(number) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ("1", "first"), ("2", "second"), ("3", "third"), ("5", "fifth"), ("8", "eighth"), ("9", "ninth"),
        ("12", "twelfth"), ("20", "twentieth"), ("33", "thirty third"), ("100", "one hundredth"),
        ("1,000", "one thousandth"),
    ],
)  # fmt: skip
def test_ordinals(number: str, words: str) -> None:
    assert ordinal(number) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ("1984", "nineteen eighty four"), ("1905", "nineteen oh five"), ("1900", "nineteen hundred"),
        ("2000", "two thousand"), ("2005", "two thousand five"), ("2010", "twenty ten"), ("1066", "ten sixty six"),
        ("2100", "twenty one hundred"), ("476", "four hundred seventy six"),
    ],
)  # fmt: skip
def test_years(number: str, words: str) -> None:
    assert year(number) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ("305", "three oh five"), ("747", "seven forty seven"), ("1549", "fifteen forty nine"),
        ("500", "five hundred"), ("2000", "two thousand"), ("66", "sixty six"), ("90210", "nine zero two one zero"),
    ],
)  # fmt: skip
def test_numbers_that_name(number: str, words: str) -> None:
    assert in_pairs(number) == words


def test_roman_numerals_are_those_that_count_up() -> None:
    tens = ["", "X", "XX", "XXX", "XL", "L", "LX", "LXX", "LXXX", "XC"]
    ones = ["", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"]
    assert [roman(ten + one) for ten in tens for one in ones][1:] == list(range(1, 100))
    assert roman("MCMXCIV") == 1994
    said = {"MIX": "MIX", "MMXX": "twenty twenty", "MCMX": "nineteen ten", "MCMLXXXIV": "nineteen eighty four"}
    assert {text: normalize(text, "english") for text in said} == said
    assert [roman(letters) for letters in ("", "IIII", "VX", "IC", "ABC")] == [None] * 5
