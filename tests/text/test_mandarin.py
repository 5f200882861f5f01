"""Mandarin against symbols written by hand from EmotiVoice's conventions."""

from __future__ import annotations

import random

import pytest

from unison.errors import UnisonError
from unison.text import frontend
from unison.text.mandarin import syllable, words


def read(text: str) -> str:
    """Symbols without the boundaries, pauses as their number."""
    symbols = frontend("mandarin").symbols(text)
    assert symbols[0] == symbols[-1] == "<sos/eos>"
    return " ".join(symbol.replace("sp", "") for symbol in symbols[1:-1])


@pytest.mark.parametrize(
    ("pinyin", "symbols"),
    [
        ("ka3", "k a3"), ("er2", "er2"), ("a1", "a1"), ("ai4", "ai4"), ("ang2", "ang2"), ("wai4", "uai4"),
        ("sun1", "s uen1"),
        ("wan2", "uan2"), ("hua2", "h ua2"), ("ti1", "t i1"), ("zhuang4", "zh uang4"), ("gui4", "g uei4"),
        ("liu2", "l iou2"), ("lun2", "l uen2"), ("yi1", "i1"), ("yin2", "in2"), ("ying3", "ing3"),
        ("ya1", "ia1"),
        ("yan3", "ian3"), ("yang2", "iang2"), ("yao4", "iao4"), ("ye3", "ie3"), ("you3", "iou3"),
        ("yong4", "iong4"),
        ("yu2", "v2"), ("yuan2", "van2"), ("yun2", "vn2"), ("yue4", "y ve4"), ("wu3", "u3"), ("wo3", "uo3"),
        ("wei2", "uei2"),
        ("wen2", "uen2"), ("weng1", "ueng1"), ("wang2", "uang2"), ("zi4", "z ii4"), ("ci2", "c ii2"),
        ("si1", "s ii1"),
        ("ri4", "r ii4"), ("zhi1", "zh iii1"), ("chi1", "ch iii1"), ("shi4", "sh iii4"), ("ju4", "j v4"),
        ("quan2", "q van2"),
        ("xun4", "x vn4"), ("jue2", "j ve2"), ("xiong2", "x iong2"), ("nv3", "n v3"), ("lve4", "l ve4"),
        ("lü4", "l v4"),
        ("nu3", "n u3"), ("de5", "d e5"), ("ng2", "en2"), ("m2", "en2"), ("wanr2", "uanr2"),
        ("dianr3", "d ianr3"),
        ("zher4", "zh er4"), ("shir4", "sh iiir4"), ("yuanr2", "vanr2"), ("huir4", "h ueir4"),
    ],
)  # fmt: skip
def test_syllables(pinyin: str, symbols: str) -> None:
    assert " ".join(syllable(pinyin)) == symbols


@pytest.mark.parametrize("pinyin", ["", "ka", "ka6", "xyz1", "zh4", "卡", "ka2 er2", "bla1"])
def test_what_is_no_syllable(pinyin: str) -> None:
    with pytest.raises(ValueError, match="no pinyin syllable"):
        syllable(pinyin)


def test_every_reading_that_pypinyin_knows_is_a_syllable() -> None:
    """All readings of all characters: an initial and a toned final of EmotiVoice's inventory each."""
    from pypinyin import Style, pinyin
    from pypinyin.constants import PINYIN_DICT

    found = set()
    for code in PINYIN_DICT:
        found.update(pinyin(chr(code), style=Style.TONE3, heteronym=True, neutral_tone_with_five=True)[0])
    assert len(found) > 1400
    finals = {syllable(reading)[-1][:-1] for reading in found}
    initials = {syllable(reading)[0] for reading in found if len(syllable(reading)) == 2}
    assert initials == {*"bpmfdtnlgkhjqxrzcsy", "zh", "ch", "sh"}
    assert finals == {
        "a", "ai", "an", "ang", "ao", "e", "ei", "en", "eng", "er", "i", "ia", "ian", "iang", "iao", "ie",
        "ii", "iii", "in", "ing", "iong", "iou", "o", "ong", "ou", "u", "ua", "uai", "uan", "uang",
        "uei", "uen", "ueng", "uo", "v", "van", "ve", "vn",
    }  # fmt: skip


def test_words_break_less_within_than_between() -> None:
    assert read("我们去公园。") == "uo3 0 m en5 1 q v4 0 g ong1 0 van2"
    assert read("今天天气很好，我们去公园！") == (
        "j in1 0 t ian1 1 t ian1 0 q i4 1 h en2 0 h ao3 3 uo3 0 m en5 1 q v4 0 g ong1 0 van2"
    )
    assert read("走吧。好。") == "z ou3 0 b a5 4 h ao3"
    assert read("“走”，他说") == "z ou3 3 t a1 0 sh uo1"


@pytest.mark.parametrize(
    "run", ["我喜欢和朋友们一起听音乐", "卡尔普陪外孙玩滑梯", "一", "的的的", "今天天气很好我们去公园玩儿"]
)
def test_words_lose_nothing(run: str) -> None:
    assert "".join(words(run)) == run


@pytest.mark.parametrize(
    ("text", "symbols"),
    [
        ("重点", "zh ong4 0 d ian3"),
        ("银行行长", "in2 0 h ang2 0 h ang2 0 zh ang3"),
        ("音乐快乐", "in1 0 y ve4 1 k uai4 0 l e4"),
        ("一个", "i2 0 g e4"),
        ("一起", "i4 0 q i3"),
        ("第一", "d i4 0 i1"),
        ("不是", "b u2 0 sh iii4"),
        ("不好", "b u4 0 h ao3"),
        ("你好", "n i2 0 h ao3"),
        ("妈妈", "m a1 0 m a5"),
        ("玩儿", "uanr2"),
        ("哪儿", "n ar3"),
        ("女儿", "n v3 0 er2"),
        ("儿子", "er2 0 z ii5"),
        ("嗯", "en2"),
        ("跑得快", "p ao3 0 d e5 1 k uai4"),
    ],
)
def test_readings_in_context(text: str, symbols: str) -> None:
    assert read(text) == symbols


def test_unreadable_characters_are_left_out_and_named_once_each(caplog: pytest.LogCaptureFixture) -> None:
    found = frontend("mandarin").read("你好aж，a世界")
    assert found.skipped == ["a", "ж"]
    assert found.symbols == frontend("mandarin").symbols("你好，世界")
    frontend("mandarin").symbols("你好aж，a世界")
    assert "can't read 'a' (U+0061), 'ж' (U+0436) in '你好aж，a世界': left out" in caplog.text


def test_a_character_without_a_reading_is_named() -> None:
    assert frontend("mandarin").read("你\U00020000好").skipped == ["\U00020000"]
    with pytest.raises(UnisonError, match=r"can't read 'a' \(U\+0061\): there is nothing to read"):
        frontend("mandarin").symbols("a")


@pytest.mark.parametrize("text", ["", "  ", "，。"])
def test_nothing_to_read(text: str) -> None:
    with pytest.raises(UnisonError, match="nothing to read"):
        frontend("mandarin").symbols(text)


@pytest.mark.parametrize(
    ("run", "cut"),
    [
        ("慢慢地走", "慢慢 地 走"),
        ("坐地铁", "坐 地铁"),
        ("三个杯子", "三个 杯子"),
        ("他长得高兴地说", "他 长 得 高兴 地 说"),
        ("请把门关上", "请 把 门 关上"),
        ("跑得快", "跑 得 快"),
        ("今天天气", "今天 天气"),
        ("王小明和同学们", "王小明 和 同学们"),
        ("我喜欢听音乐", "我 喜欢 听 音乐"),
    ],
)
def test_words(run: str, cut: str) -> None:
    assert words(run) == cut.split()


def test_any_chinese_characters_are_read_or_named() -> None:
    """Random characters, rare ones among them: each run gives its syllables, or says which it can't read."""
    choice = random.Random(0).choice
    characters = [chr(code) for code in (*range(0x3400, 0x4DC0), *range(0x4E00, 0xA000))] + list("一不儿的地得个") * 900
    read = 0
    for _ in range(400):
        text = "".join(choice(characters) for _ in range(12))
        found = frontend("mandarin").read(text)
        assert set(found.skipped) <= set(text)
        read += not found.skipped
        syllables = sum(symbol[-1].isdigit() and not symbol.startswith("sp") for symbol in found.symbols)
        silent = sum(text.count(character) for character in found.skipped)
        assert 12 - text.count("儿") - silent <= syllables <= 12 - silent
    assert read > 200
