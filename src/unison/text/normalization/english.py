"""What English makes of numbers, abbreviations and signs; the patterns are in ``data/english.tsv``."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise

from unison.text.normalization.rules import Grammar, Reader, alternatives
from unison.text.normalization.tables import table

# fmt: off
_UNITS = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SCALES = ["", "thousand", "million", "billion", "trillion"]
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}
_MONTHS = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
]
# fmt: on
_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_ROMAN_NUMBER = re.compile("M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
_SIGNS = {"-": "minus ", "+": "plus ", "±": "plus or minus "}
_BEFORE_A_NOUN = re.compile(
    r"(?:^|[^A-Za-z])(?:an?|the|this|that|his|her|my|our|their|your|one|another|each) $", re.IGNORECASE
)
# What follows an amount that is none of these is taken for the noun that the amount describes.
_NOUN = re.compile(
    r" (?!(?:of|to|from|in|away|per|and|or|at|on|for|above|below|more|less|wide|long|high|tall|deep|is|was|are|were|by|"
    r"a|an|the|that|than|as|each|every|with|now|if|when|but|before|after|until)\b)[a-z]+"
)
_AROUND = 60
"""Characters on each side."""
_LONGEST = 15
"""Digits; a longer number is read digit by digit."""
Rows = dict[str, dict[str, str]]
_SHOUTED = 4
"""Words in capitals without any lower case: from so many on, capitals tell no acronym."""


@lru_cache(maxsize=1)
def _units() -> Rows:
    return {row["symbol"]: row for row in table("units")}


@lru_cache(maxsize=1)
def _currencies() -> Rows:
    return {row["symbol"]: row for row in table("currencies")}


@lru_cache(maxsize=1)
def _abbreviations() -> dict[str, str]:
    """Abbreviations; those read in lower case also as they begin a sentence."""
    known = _readings("abbreviations", "abbreviation")
    return {key[0].upper() + key[1:]: value for key, value in known.items() if value[0].islower()} | known


@lru_cache(maxsize=8)
def _readings(name: str, key: str, value: str = "reading") -> dict[str, str]:
    """One column of a table by another."""
    return {row[key]: row[value] for row in table(name)}


def read(text: str) -> str:
    """``text`` (folded) with all that English has words for written as words."""
    return _grammar().read(text)


def cardinal(number: str) -> str:
    """ "1,024" as its words, "3.5" with its decimals digit by digit; with a sign, if any.

    A number with a leading zero and one of more than 15 digits are read digit by digit.
    """
    sign = _SIGNS.get(number[:1], "")
    whole, point, decimals = number.lstrip("-+±").replace(",", "").partition(".")
    if len(whole) > _LONGEST or (len(whole) > 1 and whole.startswith("0")):
        words = digits(whole)
    else:
        words = " ".join(_integer(int(whole or 0)))
    return sign + words + (f" point {digits(decimals)}" if point and decimals else "")


def ordinal(number: str) -> str:
    """ "21" as twenty first."""
    *before, last = cardinal(number).split(" ")
    ending = _ORDINALS.get(last) or (last[:-1] + "ieth" if last.endswith("y") else last + "th")
    return " ".join([*before, ending])


def digits(number: str) -> str:
    """Each digit by its name, whatever stands between left out."""
    return " ".join(_UNITS[int(digit)] for digit in number if digit.isdigit())


def year(number: str) -> str:
    """ "1984" as nineteen eighty four, "1905" as nineteen oh five, "2005" as two thousand five."""
    value = int(number)
    century, rest = divmod(value, 100)
    if len(number) != 4 or value < 1000 or 2000 <= value < 2010 or (century % 10 == 0 and rest == 0):
        return cardinal(number)
    return f"{cardinal(str(century))} {_after_hundreds(rest)}"


def in_pairs(number: str) -> str:
    """A number that names (room 305, flight 1549, A320): three oh five, fifteen forty nine, three twenty."""
    if len(number) > 4 or number.startswith("0"):
        return digits(number)
    hundreds, rest = divmod(int(number), 100)
    if not hundreds or int(number) % 1000 == 0:
        return cardinal(number)
    return f"{cardinal(str(hundreds))} {_after_hundreds(rest)}"


def roman(letters: str) -> int | None:
    """The value of a Roman numeral in capitals; None for what is none."""
    if not letters or not _ROMAN_NUMBER.fullmatch(letters):
        return None
    values = [*(_ROMAN[letter] for letter in letters), 0]
    return sum(-value if value < after else value for value, after in pairwise(values))


def spell(letters: str) -> str:
    """The letters as capitals between spaces."""
    return " ".join(letter for letter in letters.upper() if letter.isalnum())


def is_acronym(word: str) -> bool:
    """Whether a word in capitals is read letter by letter: it has no vowel, or the dictionary says so or lacks it."""
    from unison.text import english

    lower, known = word.lower(), english.dictionary()
    if not set(lower) & set("aeiouy"):
        return True
    if lower in known:
        return known[lower].replace("2", "1") == " ".join(english.spell(lower)).replace("2", "1")
    return len(word) <= 5


def address(text: str, dot: str = " dot ", at: str = " at ", number: Callable[[str], str] | None = None) -> str:
    """An e-mail or web address: its words, what is no word letter by letter, digits one by one, marks by name.

    Args:
        text: the address.
        dot: how a point is read.
        at: how @ is read.
        number: reads the digits, if not in English.
    """
    marks = {row["mark"]: row for row in table("address_marks")}
    language = "english" if number is None else "mandarin"
    words = []
    for part in re.findall(r"[A-Za-z]+|\d+|.", text):
        if part.isdigit():
            words.append(f" {digits(part)} " if number is None else number(part))
        elif part.isalpha():
            words.append(f" {_address_word(part)} ")
        else:
            words.append({".": dot, "@": at}.get(part) or marks.get(part, {}).get(language, " "))
    return " ".join("".join(words).split())


def _address_word(word: str) -> str:
    from unison.text.english import dictionary

    lower = word.lower()
    if known := _readings("address_words", "word").get(lower):
        return known
    if _readings("acronyms", "acronym").get(word.upper()) == "" and len(word) > 2:
        return spell(word)
    if not set(lower) & set("aeiouy"):
        return spell(word)
    return lower if len(lower) > 3 or (len(lower) > 1 and lower in dictionary()) else spell(word)


def _integer(value: int) -> list[str]:
    if value < 20:
        return [_UNITS[value]]
    if value < 100:
        tens, rest = divmod(value, 10)
        return [_TENS[tens - 2], *(_integer(rest) if rest else [])]
    if value < 1000:
        hundreds, rest = divmod(value, 100)
        return [_UNITS[hundreds], "hundred", *(_integer(rest) if rest else [])]
    words: list[str] = []
    for power in range(len(_SCALES) - 1, -1, -1):
        count, value = divmod(value, 1000**power)
        if count:
            words += [*_integer(count), *([_SCALES[power]] if power else [])]
    return words


def _after_hundreds(rest: int) -> str:
    """The second half of a year, of a time or of a name of three or four digits."""
    if rest == 0:
        return "hundred"
    return f"oh {_UNITS[rest]}" if rest < 10 else cardinal(str(rest))


def _plural(word: str) -> str:
    """The plural of the last word, by the endings of English."""
    if re.search("(?:s|x|ch|sh)$", word):
        return word + "es"
    return word[:-1] + "ies" if re.search("[^aeiou]y$", word) else word + "s"


def _is_one(number: str) -> bool:
    return number.lstrip("-+±") == "1"


def _modifies(match: re.Match[str]) -> bool:
    """Whether an amount stands before a noun that it describes, as in a 5kg bag, a $500 card."""
    before, after = (
        match.string[max(0, match.start() - 8) : match.start()],
        match.string[match.end() : match.end() + 20],
    )
    return bool(_BEFORE_A_NOUN.search(before) and _NOUN.match(after))


def _many(row: dict[str, str]) -> str:
    return row["english_plural"] or _plural(row["english"])


def _counted(value: str, match: re.Match[str]) -> str:
    """The name of a unit, as many of it as the group ``n`` says."""
    row = _units()[value]
    return row["english"] if _is_one(match["n"]) or _modifies(match) else _many(row)


def _duration(unit: str) -> Reader:
    def read(value: str, match: re.Match[str]) -> str:
        return f"{cardinal(str(int(value)))} {unit}{'' if int(value) == 1 else 's'}" if value else ""

    return read


def _single(value: str, match: re.Match[str]) -> str:
    """The name of a unit before a noun: a five kilogram bag."""
    return _units()[value]["english"]


def _money(value: str, match: re.Match[str]) -> str:
    """An amount ``n`` of the currency: dollars and cents, or so many million dollars."""
    row = _currencies()[value]
    one = row["english"]
    many = one if _modifies(match) else _many(row)
    cent, cents = row["minor"], row["minor_plural"] or _plural(row["minor"])
    groups = match.groupdict()
    amount, scale = match["n"], groups.get("scale") or groups.get("word") or ""
    before = _sign(groups.get("sign") or groups.get("sign2") or "", match)
    if scale:
        return f"{before}{cardinal(amount)} {_scale(scale, match)} {many}"
    whole, _, decimals = amount.partition(".")
    if not cent or len(decimals) not in (0, 2):
        return f"{before}{cardinal(amount)} {one if amount == '1' else many}"
    words = []
    if int(whole.replace(",", "") or 0) or not int(decimals or 0):
        words.append(f"{cardinal(whole or '0')} {one if whole == '1' else many}")
    if int(decimals or 0):
        words.append(f"{cardinal(str(int(decimals)))} {cent if int(decimals) == 1 else cents}")
    return before + " and ".join(words)


def _cents(value: str, match: re.Match[str]) -> str:
    return f"{cardinal(value)} cent{'' if value == '1' else 's'}"


def _sign(value: str, match: re.Match[str]) -> str:
    return _SIGNS.get(value, "")


def _scale(value: str, match: re.Match[str]) -> str:
    return {"k": "thousand", "m": "million", "b": "billion", "t": "trillion"}.get(value.lower()[:1], value.lower())


def _fraction(value: str, match: re.Match[str]) -> str:
    """The numerator ``n`` over the denominator: one half, three quarters, two fifths, five over two."""
    above, below = int(match["n"]), int(value)
    if not below:
        return f"{cardinal(match['n'])} over zero"
    if below == 1 or (above > below > 10) or (below > 20 and below % 10 and below % 100) or above >= 10 * below:
        return f"{cardinal(str(above))} over {cardinal(str(below))}"
    part = {2: "half", 4: "quarter"}.get(below) or ordinal(str(below))
    many = "halves" if below == 2 else part + "s"
    return f"{cardinal(str(above))} {part if above == 1 else many}"


def _mixed(value: str, match: re.Match[str]) -> str:
    """What a fraction ``n``/value adds to a whole number: a half, three quarters."""
    words = _fraction(value, match)
    return "a" + words.removeprefix("one") if words in ("one half", "one quarter", "one third") else words


def _month(value: str, match: re.Match[str]) -> str | None:
    if value.isdigit():
        return _MONTHS[int(value) - 1] if 1 <= int(value) <= 12 else None
    return next((month for month in _MONTHS if month.startswith(value.capitalize()[:3])), None)


def _minutes(value: str, match: re.Match[str], hour: str = "hour") -> str:
    """What follows an hour: thirty, oh five; on the hour o'clock, from 13 on hundred, nothing before AM or PM."""
    if int(value or 0):
        return " " + _after_hundreds(int(value))
    if match.groupdict().get("half"):
        return ""
    return " o'clock" if 1 <= int(match[hour]) <= 12 else " hundred"


def _day(value: str, match: re.Match[str]) -> str | None:
    return ordinal(str(int(value))) if 1 <= int(value) <= 31 else None


def _decade(value: str, match: re.Match[str]) -> str:
    """ "1990" as nineteen nineties, "2000" as two thousands, "80" as eighties."""
    return _plural(year(value) if len(value) == 4 else cardinal(value))


def _short_year(value: str, match: re.Match[str]) -> str:
    """ "'05" as oh five, "'98" as ninety eight."""
    return _after_hundreds(int(value)) if int(value) else "oh oh"


def _full_year(value: str, match: re.Match[str]) -> str:
    """The year of a date: of two digits, one of 1950 to 2049."""
    return year(value if len(value) == 4 else str((1900 if int(value) >= 50 else 2000) + int(value)))


def _letters(value: str, match: re.Match[str]) -> str:
    return spell(value)


def _acronym(value: str, match: re.Match[str]) -> str | None:
    """A word in capitals: as the table has it, letter by letter if it is no word; None where all is in capitals."""
    ending = match.groupdict().get("ending") or ""
    known = _readings("acronyms", "acronym").get(value)
    if known:
        return known + ending
    if (known is None and not is_acronym(value)) or _is_shouted(match):
        return None
    return spell(value) + ("'s" if ending else "")


def _is_shouted(match: re.Match[str]) -> bool:
    """Whether all words around are in capitals, so that capitals tell nothing."""
    around = match.string[max(0, match.start() - _AROUND) : match.end() + _AROUND]
    return not re.search("[a-z]", around) and len(re.findall("[A-Z]{2,}", around)) >= _SHOUTED


def _pointed(value: str, match: re.Match[str]) -> str:
    """ "U.S." and "D.C." letter by letter; the point that ends the text stays."""
    ends = value.endswith(".") and not match.string[match.end() :].strip()
    return spell(value) + ("." if ends else "")


def _roman_number(value: str, match: re.Match[str]) -> str | None:
    number = roman(value.upper())
    return None if not number else cardinal(str(number))


def _roman_ordinal(value: str, match: re.Match[str]) -> str | None:
    number = roman(value)
    return None if not number else ordinal(str(number))


def _roman_after_name(value: str, match: re.Match[str]) -> str | None:
    """A Roman numeral of two or more letters behind a capitalised word, if it is no abbreviation itself."""
    return None if value in _readings("acronyms", "acronym") else _roman_number(value, match)


def _abbreviation(value: str, match: re.Match[str]) -> str:
    return _abbreviations()[value]


def _abbreviation_at_end(value: str, match: re.Match[str]) -> str:
    return _abbreviations()[value] + ("." if value.endswith(".") else "")


def _half(value: str, match: re.Match[str]) -> str:
    """ "p.m." as P M; its point stays where a sentence ends."""
    after = match.string[match.end() :]
    ends = value.endswith(".") and (not after.strip() or re.match(r"\s+[A-Z]", after))
    return spell(value) + ("." if ends else "")


def _symbol(value: str, match: re.Match[str]) -> str:
    return f" {_readings('symbols', 'symbol', 'english')[value]} "


def _name_number(value: str, match: re.Match[str]) -> str:
    return cardinal(value) if len(value) < 3 else in_pairs(value)


def gap(value: str, match: re.Match[str]) -> str:
    """A space where a letter or digit follows at once."""
    return " " if re.match("[A-Za-z0-9]", match.string[match.end() :][:1]) else ""


_READERS: dict[str, Reader] = {
    "verbatim": lambda value, match: value,
    "cardinal": lambda value, match: cardinal(value),
    "ordinal": lambda value, match: ordinal(value),
    "digits": lambda value, match: digits(value),
    "dotted": lambda value, match: " dot ".join(digits(part) for part in value.split(".")),
    "pointed_numbers": lambda value, match: " point ".join(cardinal(part) for part in value.split(".")),
    "in_pairs": lambda value, match: in_pairs(value),
    "name_number": _name_number,
    "year": lambda value, match: year(value),
    "full_year": _full_year,
    "short_year": _short_year,
    "decade": _decade,
    "month": _month,
    "day": _day,
    "hour": lambda value, match: cardinal(str(int(value))),
    "minutes": _minutes,
    "tominutes": lambda value, match: _minutes(value, match, "tohour"),
    "counted": _counted,
    "single": _single,
    "money": _money,
    "scale": _scale,
    "fraction": _fraction,
    "mixed": _mixed,
    "address": lambda value, match: address(value),
    "gap": gap,
    "letters": _letters,
    "half": _half,
    "sign": _sign,
    "optional": lambda value, match: cardinal(value) if value else "",
    "tollfree": lambda value, match: "hundred" if value == "800" else digits(value[1:]),
    "cents": _cents,
    "seconds": _duration("second"),
    "hours": _duration("hour"),
    "minutes_of": _duration("minute"),
    "the": lambda value, match: value or "the ",
    "series": lambda value, match: " ".join(cardinal(part) for part in value.split("-")),
    "together": lambda value, match: cardinal(re.sub(r"\D", "", value)),
    "hexadecimal": lambda value, match: " ".join(
        _UNITS[int(c)] if c.isdigit() else c.upper() if c != ":" else "colon" for c in value
    ),
    "and_seconds": lambda value, match: f" and {_duration('second')(value, match)}" if int(value) else "",
    "roman_year": lambda value, match: year(str(number)) if (number := roman(value)) else None,
    "many": lambda value, match: _many(_units()[value]),
    "feet": lambda value, match: "foot" if value == "1" else "feet",
    "inches": lambda value, match: "inch" if value == "1" else "inches",
    "direction": lambda value, match: {"N": "north", "S": "south", "E": "east", "W": "west"}.get(value, ""),
    "single_or_word": lambda value, match: _units()[value]["english"] if value in _units() else value,
    "math_word": lambda value, match: cardinal(value) if value[0].isdigit() else value.replace(")", ""),
    "cardinal_or_ordinal": lambda value, match: ordinal(value) if match["o"] else cardinal(value),
    "year_any": lambda value, match: year(value) if len(value) == 4 else cardinal(value),
    "abbreviation_end": _abbreviation_at_end,
    "state": lambda value, match: {"Mass": "Massachusetts", "Wash": "Washington"}[value],
    "acronym": _acronym,
    "pointed": _pointed,
    "roman": _roman_number,
    "roman_ordinal": _roman_ordinal,
    "roman_after_name": _roman_after_name,
    "abbreviation": _abbreviation,
    "symbol": _symbol,
}


@lru_cache(maxsize=1)
def _grammar() -> Grammar:
    currencies = [row["symbol"] for row in table("currencies")]
    definitions = {
        "unit": alternatives([row["symbol"] for row in table("units") if not row["glued"]]),
        "glued_unit": alternatives([row["symbol"] for row in table("units")]),
        "sign": alternatives([symbol for symbol in currencies if not symbol.isalpha()]),
        "code": alternatives([symbol for symbol in currencies if symbol.isalpha() and symbol.isascii()]),
        "abbr": alternatives(list(_abbreviations())),
        "symbol": alternatives([row["symbol"] for row in table("symbols")]),
        "regent": alternatives([row["name"] for row in table("regents")]),
    }
    return Grammar("english", definitions, _READERS)
