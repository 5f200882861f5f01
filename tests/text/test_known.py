"""Texts in the characters that a voice has learnt."""

from __future__ import annotations

import pytest

from unison.text.known import Known

DIGITS = Known("efghinorstuvwxz")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("seven", "seven"),
        ("Seven, THREE!", "seven three"),
        ("“Séven” — three…", "seven three"),
        ("seven\n\nthree", "seven three"),
        ("seven 7", "seven 7"),
        ("ﬁve", "five"),  # a ligature
        ("नमस्ते", "नमस्ते"),
    ],
)
def test_what_is_not_known_is_read_as_the_nearest_that_is(text: str, read: str) -> None:
    assert DIGITS(text) == read


def test_what_is_known_stays_as_it_is() -> None:
    known = Known("Aabé.,! ")
    assert known("Aab, é a!") == "Aab, é a!"
    assert known("É b?") == "é b"


def test_letters_like_none_that_is_known_are_told() -> None:
    assert DIGITS.strange("Seven, 7 and Я!") == ["7", "a", "d", "Я"]
    assert DIGITS.strange("Three!") == []


def test_of_a_voice_that_does_not_say_what_it_read_nothing_is_changed() -> None:
    assert Known(None)("Seven…  ") == "Seven…  "
    assert Known(None).strange("Я") == []
