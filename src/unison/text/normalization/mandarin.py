"""What Mandarin makes of numbers and signs; the patterns are in ``data/mandarin.tsv``.

Integers are written by ``cn2an``; where it says 二 and a speaker says 两, that is put right here.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from unison.text.normalization import english
from unison.text.normalization.rules import Grammar, Reader, alternatives
from unison.text.normalization.tables import table

_DIGITS = "零一二三四五六七八九"
_SIGNS = {"-": "负", "+": "正", "±": "正负"}
_SCALES = {"k": "千", "K": "千", "w": "万", "M": "百万", "B": "十亿", "million": "百万", "billion": "十亿"}
_ROUND = ("100", "1000", "10000")
_LONGEST = 16
"""Digits; a longer number is read digit by digit."""
_HAN_BETWEEN_SPACES = re.compile(r" *([\u4e00-\u9fff]+) *")


@lru_cache(maxsize=8)
def _names(name: str) -> dict[str, str]:
    """The Mandarin names in a table of units, currencies or symbols."""
    return {row["symbol"]: row["mandarin"] for row in table(name)}


def read(text: str) -> str:
    """``text`` (folded) with its numbers and signs as Mandarin reads them; Latin words stay as they are."""
    return _grammar().read(text)


def cardinal(number: str) -> str:
    """ "1,024" as 一千零二十四, "3.5" as 三点五, "2000" as 两千, "200" as 两百, "-2" as 负二.

    A number with a leading zero and one of more than 16 digits are read digit by digit.
    """
    sign = _SIGNS.get(number[:1], "")
    whole, point, decimals = number.lstrip("-+±").replace(",", "").partition(".")
    if len(whole) > _LONGEST or (len(whole) > 1 and whole.startswith("0")):
        words = digits(whole)
    else:
        words = _integer(int(whole or 0))
    return sign + words + (f"点{digits(decimals)}" if point and decimals else "")


def count(number: str) -> str:
    """A number before what it counts: 两 for 2."""
    return "两" if number == "2" else cardinal(number)


def digits(number: str) -> str:
    """Each digit by its name, whatever stands between left out."""
    return "".join(_DIGITS[int(digit)] for digit in number if digit.isdigit())


def telephone(number: str) -> str:
    """Each digit by its name, one as 幺."""
    return digits(number).replace("一", "幺")


def _integer(value: int) -> str:
    words: str = _writer().an2cn(str(value))
    if value % 100 == 0 and words.startswith("二百") and words.lstrip("二百")[:1] in ("", "万", "亿"):
        return "两" + words[1:]
    return "两" + words[1:] if re.match("二[千万亿]", words) else words


@lru_cache(maxsize=1)
def _writer() -> Any:
    # Imported here: it takes longer than all the rest of this package.
    from cn2an.an2cn import An2Cn

    return An2Cn()


def _minutes(value: str, match: re.Match[str]) -> str:
    """What follows an hour: nothing, 零五分, 三十分."""
    if not int(value):
        return ""
    return ("零" if value.startswith("0") else "") + cardinal(str(int(value))) + "分"


def _seconds(value: str, match: re.Match[str]) -> str:
    return ("零" if value.startswith("0") else "") + cardinal(str(int(value))) + "秒"


def _half(value: str, match: re.Match[str]) -> str:
    """AM and PM as the part of the day that the hour falls into."""
    hour = int(match["hour"])
    if value.lower().startswith("a"):
        return "凌晨" if hour < 6 or hour == 12 else "上午"
    if hour == 12:
        return "中午"
    return "下午" if hour < 6 else "晚上"


def _amount(value: str, match: re.Match[str]) -> str:
    """An amount of money: zeros at the end of its decimals are not read."""
    return count(value.rstrip("0").rstrip(".") if "." in value else value)


def _measured(value: str, match: re.Match[str]) -> str:
    """A number ``n`` of a unit: 五公里, 每小时五公里, 百分之五."""
    name, sign, number = _names("units")[value], match["s"] or "", match["n"]
    if name.endswith("{}"):
        return _SIGNS.get(sign, "") + name.format("百" if number == "100" else cardinal(number))
    words = _SIGNS[sign] + cardinal(number) if sign else count(number)
    return name.format(words) if "{}" in name else words + name


def _unit(value: str, match: re.Match[str]) -> str:
    return _names("units")[value].replace("{}", "")


def _range_of_rates(value: str, match: re.Match[str]) -> str:
    """From ``low`` to ``n`` of a unit: 五到十公里, 每小时五到十公里, 百分之五到十."""
    low = _SIGNS.get(match["s"] or "", "") + count(match["low"])
    numbers = f"{low}到{_SIGNS.get(match['s2'] or '', '')}{cardinal(match['n'])}"
    name = _names("units")[value]
    return name.format(numbers) if "{}" in name else numbers + name


def _fraction(value: str, match: re.Match[str]) -> str:
    """The numerator ``n`` of the denominator: 三分之一, 百分之一."""
    return f"{cardinal(value).removeprefix('一') if value in _ROUND else cardinal(value)}分之{cardinal(match['n'])}"


def _roman(value: str, match: re.Match[str]) -> str | None:
    number = english.roman(value.upper())
    return cardinal(str(number)) if number else None


def _address(value: str, match: re.Match[str]) -> str:
    words = english.address(value, "点", "艾特", digits)
    return _HAN_BETWEEN_SPACES.sub(r"\1", words)


def _name_number(value: str, match: re.Match[str]) -> str:
    """The number in a name: A4, G20, but A320 digit by digit."""
    return cardinal(value) if len(value) < 3 else digits(value)


_READERS: dict[str, Reader] = {
    "verbatim": lambda value, match: value,
    "cardinal": lambda value, match: cardinal(value),
    "number": lambda value, match: cardinal(str(int(value))),
    "count": lambda value, match: count(value),
    "hour": lambda value, match: count(str(int(value))),
    "digits": lambda value, match: digits(value),
    "telephone": lambda value, match: telephone(value),
    "dotted": lambda value, match: "点".join(digits(part) for part in value.split(".")),
    "pointed": lambda value, match: "点".join(cardinal(part) for part in value.split(".")),
    "sign": lambda value, match: _SIGNS.get(value, ""),
    "scale": lambda value, match: _SCALES.get(value, value),
    "currency": lambda value, match: _names("currencies")[value],
    "minutes": _minutes,
    "plate": lambda value, match: "".join(digits(c) if c.isdigit() else c for c in value),
    "minutes0": lambda value, match: _minutes(value, match) or "零分",
    "seconds": _seconds,
    "extension": lambda value, match: "转" if value else "",
    "and_ratio": lambda value, match: f"比{cardinal(value)}" if value else "",
    "unit_or_word": lambda value, match: _names("units").get(value, value),
    "math_word": lambda value, match: cardinal(value) if value[0].isdigit() else value.replace(")", ""),
    "half": _half,
    "amount": _amount,
    "measured": _measured,
    "unit": _unit,
    "range_of": _range_of_rates,
    "fraction": _fraction,
    "minus": lambda value, match: "负" if value == "-" else "",
    "direction": lambda value, match: {"N": "北纬", "S": "南纬", "E": "东经", "W": "西经"}[value],
    "model": lambda value, match: (value[0] if value[0].isalpha() else "") + digits(value),
    "roman": _roman,
    "address": _address,
    "name_number": _name_number,
    "letters": lambda value, match: english.spell(value),
    "gap": english.gap,
    "symbol": lambda value, match: _names("symbols")[value],
}


@lru_cache(maxsize=1)
def _grammar() -> Grammar:
    currencies = [row["symbol"] for row in table("currencies")]
    definitions = {
        "unit": alternatives([row["symbol"] for row in table("units")]),
        "sign": alternatives([symbol for symbol in currencies if not symbol.isalpha()]),
        "code": alternatives([symbol for symbol in currencies if symbol.isalpha() and symbol.isascii()]),
        "currency": alternatives([row["mandarin"] for row in table("currencies")]),
        "measure": alternatives([row["word"] for row in table("measures")]),
        "symbol": alternatives([row["symbol"] for row in table("symbols")]),
    }
    return Grammar("mandarin", definitions, _READERS)
