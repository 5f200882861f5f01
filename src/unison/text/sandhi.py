"""How Mandarin tones change each other in speech: neutral syllables, 一, 不, and third tones in a row."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from unison.text.data import lines
from unison.text.polyphones import Syllables
from unison.text.segmentation import is_phrase, is_word

# 一 keeps its first tone where it counts: in 第一, 十一, 一九九八, 一月.
_COUNTING = frozenset("零〇一二三四五六七八九十")
_BEFORE_A_COUNT = frozenset("第十初零〇二三四五六七八九")
_AFTER_A_COUNT = frozenset("月号楼班")
_LISTED = (
    "星期一",
    "周一",
    "统一",
    "唯一",
    "万一",
    "专一",
    "单一",
    "如一",
    "合一",
    "之一",
    "同一",
    "归一",
    "一一",
    "一等奖",
)
_FULL = {"zi5": "zi3", "tou5": "tou2"}
_ENDINGS = frozenset("子头")
"""Spoken without a tone behind a noun, but for those of ``data/full_tone.txt``."""
# Aspect: 看过, but not the verbs that 过 is part of.
_ASPECT = frozenset(("ug",))


def neutral(words: Sequence[Syllables]) -> None:
    """Take the tone of syllables that are spoken without one, in place."""
    for index, word in enumerate(words):
        text = word.cut.text
        if len(text) == 1:
            before = words[index - 1].cut.tag if index else ""
            if text == "过" and word.cut.tag in _ASPECT and before.startswith("v"):
                _soften(word, 0)
            continue
        if _ends_neutral(text, word.cut.tag):
            _soften(word, len(text) - 1)
        elif (
            len(text) == 3 and text[1] in "一不" and (text[0] == text[2] or (text[1] == "不" and word.cut.tag in "vl"))
        ):
            _soften(word, 1)
        elif text[-2:] in _full_tone() and word.pinyin[-1] in _FULL:  # dictionaries have both
            word.pinyin[-1] = _FULL[word.pinyin[-1]]
        for start in range(len(text) - 2):
            if text[start : start + 2] in _neutral_words():
                _soften(word, start + 1)


def yi_and_bu(words: Sequence[Syllables]) -> None:
    """一 is yi2 before a fourth tone, yi4 before another, unless it counts; 不 is bu2 before a fourth; in place."""
    owners = [(word, i) for word in words for i, pinyin in enumerate(word.pinyin) if pinyin]
    text = "".join(word.cut.text[i] for word, i in owners)
    tones = [word.pinyin[i][-1] for word, i in owners]
    for index, (word, i) in enumerate(owners[:-1]):
        following = _heard(tones[index + 1], text[index + 1])
        if text[index] == "不" and word.pinyin[i].startswith("bu"):
            word.pinyin[i] = "bu2" if following == "4" else "bu4"
        elif text[index] == "一" and word.pinyin[i].startswith("yi"):
            first = following not in "1234" or _counts(text, index, word, i)
            word.pinyin[i] = "yi1" if first else "yi2" if following == "4" else "yi4"


def _heard(tone: str, character: str) -> str:
    """The tone that 一 and 不 hear in the syllable behind them: 个 is a fourth one though it is often said without."""
    return "4" if character == "个" else tone


def third_tones(groups: Sequence[Sequence[Syllables]]) -> None:
    """In a row of third tones all but the last become second ones, group by group as they are built; in place.

    Args:
        groups: the prosodic words of a phrase, each a list of words: 我 很 好 in one gives 3-2-3, 展览馆 2-2-3.
    """
    following = ""
    for word in (word for group in reversed(groups) for word in reversed(group)):
        places = [i for i, pinyin in enumerate(word.pinyin) if pinyin]
        tones = _inside("".join(word.cut.text[i] for i in places), [word.pinyin[i][-1] for i in places])
        if tones and tones[-1] == following == "3":
            tones[-1] = "2"
        for i, tone in zip(places, tones, strict=True):
            word.pinyin[i] = word.pinyin[i][:-1] + tone
        following = tones[0] if tones else following


def _inside(text: str, tones: list[str]) -> list[str]:
    """The tones of a word, built as it is: 展览+馆 is 2-2-3, 小+老虎 3-2-3."""
    if len(tones) < 2 or "3" not in tones:
        return tones
    cut = _cut(text)
    left, right = _inside(text[:cut], tones[:cut]), _inside(text[cut:], tones[cut:])
    if left[-1] == "3" and right[0] == "3":
        left[-1] = "2"
    return left + right


def _cut(text: str) -> int:
    """Where a word falls into two parts."""
    if len(text) == 3 and is_word(text[1:]) and not is_word(text[:2]):
        return 1
    return len(text) // 2 if len(text) > 3 else len(text) - 1


def _ends_neutral(text: str, tag: str) -> bool:
    if text in _neutral_words() or (text[-2:] in _neutral_words() and len(text) > 2):
        return True
    if text[-1] in _ENDINGS:
        return tag[:1] == "n" and text[-2:] not in _full_tone()
    of_a_verb = len(text) == 2 and tag.startswith("v")
    aspect = text[-1] == "过" and not is_phrase(text)
    return text.endswith("们") or (of_a_verb and (aspect or text[0] == text[1]))


def _soften(word: Syllables, i: int) -> None:
    if word.pinyin[i][-1].isdigit():
        word.pinyin[i] = word.pinyin[i][:-1] + "5"


def _counts(text: str, index: int, word: Syllables, i: int) -> bool:
    """Whether a 一 is a number that is said, not one that is counted with."""
    following, before = text[index + 1], text[index - 1 : index] if index else ""
    if following in _COUNTING or (before and before in _BEFORE_A_COUNT) or following in _AFTER_A_COUNT:
        return True
    ends = i == len(word.cut.text) - 1
    return word.cut.text in _LISTED or (ends and text[max(index - 2, 0) : index + 1].endswith(_LISTED))


@cache
def _neutral_words() -> frozenset[str]:
    return frozenset(word for line in lines("neutral.txt") for word in line.split())


@cache
def _full_tone() -> frozenset[str]:
    return frozenset(word for line in lines("full_tone.txt") for word in line.split())
