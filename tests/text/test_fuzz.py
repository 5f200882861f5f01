"""Any Unicode text whatever gives symbols or a clear message, and none takes long."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator

import pytest

from unison.errors import UnisonError
from unison.text import frontend, parse

_BLOCKS = (
    *((0x370, 0x600), (0x600, 0x700), (0x900, 0x980), (0x3040, 0x3100), (0xAC00, 0xAD00)),  # other scripts
    *((0x1F300, 0x1F700), (0x300, 0x36F), (0x200B, 0x2070)),  # emoji, combining marks, invisible characters
)
_ALPHABETS = {
    "any": "",
    "mandarin": "".join(map(chr, range(0x4E00, 0x9FA5)))
    + "，。！？、；：“”（）《》…—0123456789一不儿的地得了着还长" * 40,
    "latin": "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ'-.,!?;:0123456789%$€£@#&/éüßñ",
    "scripts": "".join(chr(c) for block in _BLOCKS for c in range(*block)),
    "digits": "0123456789.,-:/%年月日点个第a ",
}
_MARKS = """
<break 300ms>|<break time='99999999999999999999s'/>|{chong2 qing4}|{|}|[R EH1 D]|[|]|<|>|<prosody rate='x' pitch="+2st">
</prosody>|<prosody|<sub alias='|<sub alias='a'>|</sub>|<speak>|<phoneme alphabet='pinyin' ph='a1'>|</phoneme>|<!--|-->
&amp;|&#x0;|\\|\0|<break/>|<s>
""".replace("\n", "|").split("|")
_NOTHING = "nothing to read"


def texts(count: int) -> Iterator[str]:
    """Random strings of every script, of lengths that people type, some with markup that is right, broken or nested."""
    draw = random.Random(0)
    for _ in range(count):
        alphabet = _ALPHABETS[draw.choice(list(_ALPHABETS))]
        length = draw.choice((0, 1, 2, 5, 20, 60, 200))
        characters = (draw.choice(alphabet) if alphabet else _any(draw) for _ in range(length))
        text = "".join(characters)
        for _ in range(draw.choice((0, 0, 1, 4))):
            place = draw.randint(0, len(text))
            text = text[:place] + draw.choice(_MARKS) + text[place:]
        yield text


def _any(draw: random.Random) -> str:
    """Any code point, lone surrogates too."""
    return chr(draw.randint(0, draw.choice((0x7F, 0x2FFF, 0xFFFF, sys.maxunicode))))


def test_ten_thousand_strings() -> None:
    read = frontend("auto").read
    read("一次 once")  # dictionaries are loaded once
    slowest, named = 0.0, 0
    for text in texts(10_000):
        start = time.process_time()
        try:
            found = read(text)
        except UnisonError as error:
            named += _NOTHING in str(error) or pytest.fail(str(error))
        else:
            assert found.symbols[0] == found.symbols[-1] == "<sos/eos>"
            assert len(found.symbols) > 2
        slowest = max(slowest, time.process_time() - start)
    assert slowest < 1
    assert 500 < named < 5000


@pytest.mark.parametrize("name", ["mandarin", "english", "characters"])
def test_each_frontend_alone(name: str) -> None:
    read = frontend(name).read
    for text in texts(300):
        try:
            assert read(text).symbols
        except UnisonError as error:
            _ = _NOTHING in str(error) or pytest.fail(str(error))


def test_no_sentence_is_lost_whatever_the_markup() -> None:
    for text in texts(2000):
        marked = parse(text)
        cut = marked.sentences(40)
        assert "".join(c for piece in cut for c in piece.text if c.isalnum()) == "".join(
            filter(str.isalnum, marked.text)
        )
        if cut:
            assert sum(len(piece.pieces) for piece in cut) >= len([p for p in marked.pieces if not hasattr(p, "text")])


@pytest.mark.parametrize(
    "unit", ["1", "一", "a", "{a1}", "<prosody rate='fast'>a", "不", "-", "<", "[", "A.", "三个", "得", "\u0301"]
)
def test_long_runs(unit: str) -> None:
    """What a careless expression would be quadratic in."""
    start = time.process_time()
    try:
        frontend("auto").read(unit * (2000 // len(unit)))
    except UnisonError as error:
        _ = _NOTHING in str(error) or pytest.fail(str(error))
    assert time.process_time() - start < 2
