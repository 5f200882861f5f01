"""Mandarin: text to initials and toned finals as EmotiVoice writes them, with prosodic breaks.

``w an2 sp0 h ua2`` — a syllable is its initial (where it has one) and its final with the tone 1–5; ``sp0``
stands within a word, ``sp1`` between words, ``sp3`` for commas and the like, ``sp4`` for the end of a
sentence within the text; a final break is dropped. Readings come from ``pypinyin``, which segments by its
own phrases.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from unison.errors import UnisonError
from unison.text.normalization import VERSION, normalize
from unison.text.symbols import BOUNDARY, HAN

_SYLLABLE = re.compile(r"([a-zêü:]+)([1-5])")
_INITIALS = ("zh", "ch", "sh", *"bpmfdtnlgkhjqxzcsr")
_FINALS = {
    "a", "ai", "an", "ang", "ao", "e", "ei", "en", "eng", "er", "i", "ia", "ian", "iang", "iao", "ie", "ii",
    "iii", "in", "ing", "iong", "iou", "o", "ong", "ou", "u", "ua", "uai", "uan", "uang", "uei", "uen",
    "ueng", "uo", "v", "van", "ve", "vn",
}  # fmt: skip
_CONTRACTED = {"ui": "uei", "iu": "iou", "un": "uen", "ue": "ve"}
# Interjections without a vowel letter and the like, read with the nearest final.
_RARE = {"n": "en", "ng": "en", "m": "en", "hm": "hen", "hng": "heng", "ê": "ei", "wong": "weng"}

_COMMAS = set("，、；：,;:—–…·()（）[]【】{}《》〈〉<>/~～|-")
_ENDS = set("。！？.!?")
_SILENT = set("\"'“”‘’「」『』`_ 　")
_HAN = re.compile(f"[{HAN}]")
_TOKEN = re.compile(f"[{HAN}]+|.", re.DOTALL)
# Words of one character that stand alone, and particles that lean on the word before them.
_SINGLE = set(
    "我你他她它您谁这那和跟与在是有没不很太都也就还才又再去来到对把被给从向往让叫比像说看听想要会能做买吃喝住走跑坐玩陪"
)
_PARTICLES = set("的了着过吗呢吧啊呀嘛么们儿")
# Before 个 when it counts: 三个, 这个, but not 个人.
_BEFORE_A_MEASURE = tuple("一二两三四五六七八九十百千万几每这那哪半")
# 一 keeps its first tone where it counts: in 第一, 十一, 一九九八.
_COUNTING = tuple("零〇一二三四五六七八九十")
_BEFORE_A_COUNT = tuple("第十初零〇二三四五六七八九")
# Words whose last syllable is spoken without a tone, beside those that pypinyin knows.
_NEUTRAL_WORDS = """
妈妈 爸爸 爷爷 奶奶 哥哥 姐姐 弟弟 妹妹 叔叔 姑姑 舅舅 宝宝 星星 喜欢 衣服 晚上 早上 月亮 漂亮 窗户
凉快 热闹 学生 先生 故事 护士 时候 眼睛 葡萄 名字 太阳 客人 事情 东西 地方 告诉 知道 认识 明白 清楚
舒服 麻烦 耳朵 头发 嘴巴 鼻子 豆腐 萝卜 骆驼 大夫 丈夫 师傅 老婆 困难 厉害 聪明 暖和 商量 打听 休息
消息 钥匙 玻璃 石头 馒头 木头 生意 意思 关系 亲戚 上面 下面 前面 后面 里面 外面 左边 右边 前边 后边
"""
_NEUTRAL = frozenset(_NEUTRAL_WORDS.split())
# What follows 得 where it links a verb to how it is done.
_DEGREES = tuple("很太真好多更最非不快慢大高早晚清")
# Where 儿 means a child it is a syllable of its own.
_CHILD_BEFORE = tuple("女婴幼孤少健胎男育宠产生")
_CHILD_AFTER = tuple("子童女科歌媳孙")


@lru_cache(maxsize=4096)
def syllable(pinyin: str) -> tuple[str, ...]:
    """``"zhuang4"`` to ``("zh", "uang4")``, ``"wanr2"`` to ``("uanr2",)``: initial, if any, and final.

    Spelled as EmotiVoice's tokens are: ui, iu, un are uei, iou, uen; y and w give way to i, u, v (but yue is
    y ve); zi ci si ri end in ii, zhi chi shi in iii; u after j q x is v. Raises ``ValueError`` for what is
    no syllable.
    """
    match = _SYLLABLE.fullmatch(pinyin.lower().replace("u:", "v").replace("ü", "v"))
    if not match:
        raise ValueError(f"'{pinyin}' is no pinyin syllable with a tone 1-5")
    letters, tone = match.groups()
    letters = _RARE.get(letters, letters)
    # A final r that is not the syllable er is erhua, the r-coloured ending of the final before it.
    erhua = "r" if letters.endswith("r") and letters != "er" else ""
    initial, final = _split(letters.removesuffix(erhua) if erhua else letters)
    if final not in _FINALS:
        raise ValueError(f"'{pinyin}' is no pinyin syllable with a tone 1-5")
    toned = f"{final}{erhua}{tone}"
    return (initial, toned) if initial else (toned,)


def _split(letters: str) -> tuple[str, str]:
    if letters == "yue":
        return "y", "ve"
    if letters.startswith("y"):
        rest = letters[1:]
        if rest == "o":
            return "y", "o"
        if rest[:1] in ("u", "v"):
            return "", "v" + rest[1:]
        final = rest if rest.startswith("i") else "i" + rest
        return "", _CONTRACTED.get(final, final)
    if letters.startswith("w"):
        return "", letters[1:] if letters == "wu" else _CONTRACTED.get("u" + letters[1:], "u" + letters[1:])
    initial = next((start for start in _INITIALS if letters.startswith(start)), "")
    final = letters[len(initial) :]
    if initial in ("j", "q", "x") and final.startswith("u"):
        final = "v" + final[1:]
    elif final == "i" and initial in ("z", "c", "s", "r"):
        final = "ii"
    elif final == "i" and initial in ("zh", "ch", "sh"):
        final = "iii"
    return initial, _CONTRACTED.get(final, final)


class MandarinFrontend:
    """Chinese text to initials, toned finals and breaks."""

    name = "mandarin"
    version = f"2, words {VERSION}"

    def symbols(self, text: str) -> list[str]:
        """``<sos/eos>``, syllables with breaks between, ``<sos/eos>``.

        Raises :class:`UnisonError` when a character can't be read or there is nothing to read.
        """
        symbols: list[str] = []
        unreadable: list[str] = []
        for match in _TOKEN.finditer(normalize(text, "mandarin")):
            token = match[0]
            if _HAN.match(token):
                for word in readings(token):
                    for characters, pinyin in word:
                        try:
                            symbols += [*syllable(pinyin), "sp0"]
                        except ValueError:
                            unreadable += characters
                    symbols[-1:] = ["sp1"]
            elif token in _ENDS or token in _COMMAS:
                # Of several breaks the longest stays; those before the first syllable are dropped.
                pause = "sp4" if token in _ENDS else "sp3"
                if symbols and symbols[-1] < pause:
                    symbols[-1] = pause
            elif token not in _SILENT and not token.isspace():
                unreadable.append(token)
        if unreadable:
            names = ", ".join(f"'{c}' (U+{ord(c):04X})" for c in dict.fromkeys(unreadable))
            raise UnisonError(f"the Mandarin frontend can't read {names} in '{text[:60]}'; remove or replace them")
        if not symbols:
            raise UnisonError(f"there is nothing to read in '{text[:60]}'")
        return [BOUNDARY, *symbols[:-1], BOUNDARY]


def readings(run: str, third_tones: bool = True) -> list[list[tuple[str, str]]]:
    """The words of a run of Chinese characters, as (character, pinyin) pairs, as they are spoken.

    The tones of 一 and 不 change as in speech, and those of third tones within a word unless ``third_tones``
    is False; the 儿 of erhua joins the syllable before it (("玩儿", "wanr2")). A character without a reading
    stands for itself.
    """
    from pypinyin import Style, lazy_pinyin

    # A list keeps unknown characters apart, one entry each; the annotation knows only strings.
    unknown: Any = list
    plain = lazy_pinyin(run, style=Style.TONE3, neutral_tone_with_five=True, errors=unknown)
    spoken = _in_context(run, plain)
    result = []
    place = 0
    for word in words(run):
        if word[:2] in _NEUTRAL:
            spoken[place + 1] = spoken[place + 1][:-1] + "5"
        pairs: list[tuple[str, str]] = []
        for character, pinyin in zip(word, spoken[place : place + len(word)], strict=True):
            if character == "儿" and pairs and _is_erhua(run, place + len(pairs)):
                before, tail = pairs[-1]
                pairs[-1] = (before + character, f"{tail[:-1].removesuffix('r')}r{tail[-1]}")
            else:
                pairs.append((character, pinyin))
        result.append(_third_tones(pairs) if third_tones else pairs)
        place += len(word)
    return result


def words(run: str) -> list[str]:
    """A run of Chinese characters cut into words, by pypinyin's phrases and a few rules.

    Between known phrases, common words of one character stand alone, the rest goes in pairs, and particles
    lean on the word before them.
    """
    from pypinyin.seg.mmseg import seg

    result: list[str] = []
    place = 0
    paired = False
    for piece in seg.cut(run):
        single = len(piece) == 1
        leans = bool(result) and single and _leans(run, place)
        if result and (leans or (single and paired and piece not in _SINGLE)):
            result[-1] += piece
            paired = False
        else:
            result.append(piece)
            paired = single and piece not in _SINGLE
        place += len(piece)
    return result


def _leans(run: str, place: int) -> bool:
    """Whether the character belongs to the word before it whatever follows: particles, and a counting 个."""
    character, before = run[place], run[place - 1]
    if character == "个":
        return before in _BEFORE_A_MEASURE
    return character in _PARTICLES or _is_linking_de(run, place)


def _is_linking_de(run: str, place: int) -> bool:
    """得 between a verb and how it is done (跑得快), 地 behind a doubled syllable (慢慢地走)."""
    if run[place] == "得":
        return place > 0 and run[place + 1 : place + 2] in _DEGREES
    return run[place] == "地" and place > 1 and run[place - 1] == run[place - 2]


def _in_context(run: str, plain: list[str]) -> list[str]:
    """Readings that change.

    不 is bu2 before a fourth tone; 一 is yi2 before a fourth tone and yi4 before
    another, unless it counts; 得 and 地 are de5 where they link.
    """
    result = list(plain)
    for index, character in enumerate(run[:-1]):
        following, tone = run[index + 1], plain[index + 1][-1]
        counts = following in _COUNTING or run[index - 1 : index] in _BEFORE_A_COUNT
        if character == "不" and plain[index].startswith("bu"):
            result[index] = "bu2" if tone == "4" else "bu4"
        elif character == "一" and not counts and tone in "1234":
            result[index] = "yi2" if tone == "4" else "yi4"
        elif _is_linking_de(run, index):
            result[index] = "de5"
    return result


def _third_tones(word: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """A third tone before another is a second one: 你好 is 2-3, 展览馆 2-2-3."""
    result = list(word)
    for index, (characters, pinyin) in enumerate(word[:-1]):
        if pinyin.endswith("3") and word[index + 1][1].endswith("3"):
            result[index] = (characters, pinyin[:-1] + "2")
    return result


def _is_erhua(run: str, place: int) -> bool:
    return run[place - 1] not in _CHILD_BEFORE and run[place + 1 : place + 2] not in _CHILD_AFTER
