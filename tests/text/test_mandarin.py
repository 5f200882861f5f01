"""Mandarin against symbols written by hand from EmotiVoice's conventions."""

from __future__ import annotations

import random

import pytest

from unison.errors import UnisonError
from unison.text import frontend
from unison.text.mandarin import readings, syllable, words


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


def spoken(text: str) -> str:
    """Pinyin as it is spoken, of a text without punctuation."""
    return " ".join(pinyin for word in readings(text) for _, pinyin in word)


# Each is what a native speaker says.
@pytest.mark.parametrize(
    ("text", "pinyin"),
    [
        ("重点", "zhong4 dian3"), ("重新", "chong2 xin1"), ("他重重地摔了", "ta1 zhong4 zhong4 de5 shuai1 le5"),
        ("孩子长大了", "hai2 zi5 zhang3 da4 le5"), ("他长得很高", "ta1 zhang3 de5 hen3 gao1"),
        ("头发很长", "tou2 fa5 hen3 chang2"), ("银行在这一行字下面", "yin2 hang2 zai4 zhe4 yi4 hang2 zi4 xia4 mian5"),
        ("一行人", "yi4 xing2 ren2"), ("行不行", "xing2 bu5 xing2"),
        ("还得还钱", "hai2 dei3 huan2 qian2"), ("我还没还", "wo3 hai2 mei2 huan2"),
        ("我得走了", "wo3 dei2 zou3 le5"), ("他得了第一名", "ta1 de2 le5 di4 yi1 ming2"),
        ("写得真好", "xie3 de5 zhen1 hao3"), ("他高兴地说", "ta1 gao1 xing4 de5 shuo1"),
        ("这块地很大", "zhe4 kuai4 di4 hen3 da4"), ("睡着了", "shui4 zhao2 le5"), ("别着急", "bie2 zhao2 ji2"),
        ("受不了", "shou4 bu5 liao3"), ("吃了饭", "chi1 le5 fan4"), ("为了你", "wei4 le5 ni3"),
        ("面积为三百平方米", "mian4 ji1 wei2 san1 bai3 ping2 fang1 mi3"),
        ("老师教数学", "lao3 shi1 jiao1 shu4 xue2"), ("佛教", "fo2 jiao4"),
        ("一只猫只吃鱼", "yi4 zhi1 mao1 zhi3 chi1 yu2"),
        ("种子种在地里", "zhong3 zi5 zhong4 zai4 di4 li3"), ("睡了一觉", "shui4 le5 yi2 jiao4"),
        ("倒了一杯水", "dao4 le5 yi4 bei1 shui3"), ("中了大奖", "zhong4 le5 da4 jiang3"), ("弹钢琴", "tan2 gang1 qin2"),
        ("单老师很简单", "shan4 lao3 shi1 hen2 jian3 dan1"),
        ("曾先生曾经来过", "zeng1 xian1 sheng5 ceng2 jing1 lai2 guo5"),
        ("朝阳区", "chao2 yang2 qu1"), ("都市里都是人", "du1 shi4 li3 dou1 shi4 ren2"),
    ],
)  # fmt: skip
def test_polyphones(text: str, pinyin: str) -> None:
    assert spoken(text) == pinyin


@pytest.mark.parametrize(
    ("text", "pinyin"),
    [
        ("展览馆", "zhan2 lan2 guan3"), ("小老虎", "xiao3 lao2 hu3"), ("我很好", "wo3 hen2 hao3"),
        ("我也想买雨伞", "wo2 ye3 xiang2 mai3 yu2 san3"), ("总理好", "zong2 li2 hao3"), ("老师好", "lao3 shi1 hao3"),
        ("一个", "yi2 ge4"), ("一年", "yi4 nian2"), ("一起", "yi4 qi3"), ("一定", "yi2 ding4"), ("统一", "tong3 yi1"),
        ("十一月一号", "shi2 yi1 yue4 yi1 hao4"), ("一百一十一", "yi4 bai3 yi1 shi2 yi1"), ("星期一", "xing1 qi1 yi1"),
        ("一心一意", "yi4 xin1 yi2 yi4"), ("不对", "bu2 dui4"), ("不来", "bu4 lai2"), ("好不好", "hao3 bu5 hao3"),
        ("看不见", "kan4 bu5 jian4"), ("看一看", "kan4 yi5 kan4"), ("看看", "kan4 kan5"), ("姐姐", "jie3 jie5"),
        ("桌子", "zhuo1 zi5"), ("电子", "dian4 zi3"), ("石头", "shi2 tou5"), ("镜头", "jing4 tou2"),
        ("朋友们", "peng2 you5 men5"), ("看过", "kan4 guo5"), ("一会儿", "yi2 huir4"), ("花儿", "huar1"),
        ("女儿", "nv3 er2"), ("哪儿", "nar3"), ("小孩儿", "xiao3 hair2"),
    ],
)  # fmt: skip
def test_tones_in_speech(text: str, pinyin: str) -> None:
    assert spoken(text) == pinyin


def test_breaks_are_those_of_databaker() -> None:
    """Sentences of its label file: 0 within a prosodic word, 1 between two, 2 between phrases, 3 and 4 by marks."""
    assert read("卡尔普陪外孙玩滑梯。") == "k a2 0 er2 0 p u3 2 p ei2 0 uai4 0 s uen1 1 uan2 0 h ua2 0 t i1"
    assert read("邓小平与撒切尔会晤。，走") == (
        "d eng4 0 x iao3 0 p ing2 2 v3 1 s a1 0 q ie4 0 er3 1 h uei4 0 u4 4 z ou3"
    )


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
