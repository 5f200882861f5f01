"""The numbers of Mandarin."""

from __future__ import annotations

import random

import pytest

from unison.text.normalization.mandarin import cardinal, count, digits, telephone


@pytest.mark.parametrize(
    ("number", "chinese"),
    [
        ("0", "零"), ("10", "十"), ("15", "十五"), ("20", "二十"), ("105", "一百零五"), ("110", "一百一十"),
        ("200", "两百"), ("250", "二百五十"), ("1005", "一千零五"), ("1050", "一千零五十"), ("2000", "两千"),
        ("2222", "两千二百二十二"), ("10005", "一万零五"), ("10500", "一万零五百"), ("22000", "两万二千"),
        ("100000", "十万"), ("115000", "十一万五千"), ("2000000", "两百万"), ("200000000", "两亿"),
        ("13800138000", "一百三十八亿零一十三万八千"), ("1,024", "一千零二十四"), ("3.50", "三点五零"),
        ("007", "零零七"), ("-2", "负二"), ("1" * 20, "一" * 20),
    ],
)  # fmt: skip
def test_cardinals(number: str, chinese: str) -> None:
    assert cardinal(number) == chinese


def test_cardinals_say_their_value() -> None:
    """Random numbers, read back by the value of each character."""
    draw = random.Random(3)
    for _ in range(2000):
        value = draw.randrange(10 ** draw.randint(1, 12))
        assert _value(cardinal(str(value))) == value


def test_two_is_counted_otherwise() -> None:
    assert [count(number) for number in ("1", "2", "12", "2.5")] == ["一", "两", "十二", "二点五"]


def test_digits_one_by_one() -> None:
    assert digits("010-2") == "零一零二"
    assert telephone("010-2") == "零幺零二"


def _value(words: str) -> int:
    total = part = digit = 0
    for character in words:
        if character in "亿万":
            power = 10**8 if character == "亿" else 10**4
            total = (total + part + digit) * power if character == "亿" else total + (part + digit) * power
            part = digit = 0
        elif character in "千百十":
            part += (digit or 1) * {"千": 1000, "百": 100, "十": 10}[character]
            digit = 0
        else:
            digit = "零一二三四五六七八九".find(character) if character != "两" else 2
    return total + part + digit
