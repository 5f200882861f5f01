"""The registry, and the cutting of long texts."""

from __future__ import annotations

import pytest

from unison.errors import UnisonError
from unison.text import frontend, sentences


@pytest.mark.parametrize("name", ["auto", "english", "mandarin"])
def test_every_frontend_has_a_name_and_a_version(name: str) -> None:
    assert frontend(name).name == name
    assert frontend(name).version
    assert frontend(name) is frontend(name)


def test_an_unknown_frontend_lists_the_known_ones() -> None:
    with pytest.raises(UnisonError, match=r"'klingon'.*auto, english, mandarin"):
        frontend("klingon")


def test_auto_takes_the_language_of_the_text() -> None:
    assert frontend("auto").symbols("Hello, world") == frontend("english").symbols("Hello, world")
    assert frontend("auto").symbols("你好，世界2") == frontend("mandarin").symbols("你好，世界2")
    assert frontend("auto").symbols("50 apples") == frontend("english").symbols("fifty apples")


def test_auto_marks_where_the_language_changes() -> None:
    symbols = frontend("auto").symbols("我喜欢hello world你呢？")
    change = symbols.index("cn_eng_sp")
    back = symbols.index("eng_cn_sp")
    assert symbols[1:change] == frontend("mandarin").symbols("我喜欢")[1:-1]
    assert symbols[change + 1 : back] == frontend("english").symbols("hello world")[1:-1]
    assert symbols[back + 1 : -1] == frontend("mandarin").symbols("你呢")[1:-1]


def test_what_can_not_be_read_changes_no_language() -> None:
    assert frontend("auto").symbols("one ж two") == frontend("english").symbols("one two")


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("你好。今天很好！对吗？", ["你好。", "今天很好！", "对吗？"]),
        ("他说：“走吧。”她笑了。", ["他说：“走吧。”", "她笑了。"]),
        (
            "Dr. Smith has 3.5 cats. They like Mr. J. R. Jones.",
            ["Dr. Smith has 3.5 cats.", "They like Mr. J. R. Jones."],
        ),
        ("Wait... what?\n\nA new line", ["Wait...", "what?", "A new line"]),
        ('He said "go." She went.', ['He said "go."', "She went."]),
        (" ... \n ", []),
        ("", []),
    ],
)
def test_cuts_at_sentence_ends(text: str, pieces: list[str]) -> None:
    assert sentences(text, 200) == pieces


def test_cuts_at_commas_then_at_spaces_then_anywhere() -> None:
    assert sentences("one two three, four five, six seven.", 26) == [
        "one two three, four five,",
        "six seven.",
    ]
    assert sentences("one two three four five six", 13) == ["one two three", "four five six"]
    assert sentences("今天天气很好，我们去公园，明天再去", 13) == ["今天天气很好，我们去公园，", "明天再去"]
    assert sentences("abcdefghij", 4) == ["abcd", "efgh", "ij"]


@pytest.mark.parametrize("max_chars", [1, 7, 20, 64])
def test_nothing_is_lost_and_nothing_is_too_long(max_chars: int) -> None:
    text = "The quick, brown fox: jumps! 今天天气很好，我们去公园吧。Really? Yes; " * 3
    pieces = sentences(text, max_chars)
    assert max(map(len, pieces)) <= max_chars
    assert "".join(c for c in "".join(pieces) if c.isalnum()) == "".join(c for c in text if c.isalnum())
