"""Chinese characters cut into words with parts of speech, by jieba's dictionary and model (the ``rjieba`` wheel)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from unison.text.data import lines, rows

# Grammatical words that jieba's model, guessing at names, glues to their neighbours: 地说, 他长.
_GRAMMAR = frozenset("的地得着了过在把被给从还很也都就才又再不没别我你他她它这那和与跟向往让叫对为是有要会能想")
_CLITICS = frozenset("的地得着了过吗呢吧啊呀嘛么们呗啦哇哦嘞")
_NUMERALS = frozenset("零〇一二三四五六七八九十百千万亿点")
_LONGEST_NUMBER = 6
# Before 个 when it counts: 三个, 这个, but not 个人.
_BEFORE_A_MEASURE = frozenset("一二两三四五六七八九十百千万几每这那哪半")
# Where 儿 means a child it is a syllable of its own.
_CHILD_BEFORE = frozenset("女婴幼孤少健胎男育宠产生患")
_CHILD_AFTER = frozenset("子童女科歌媳孙")


@dataclass(frozen=True)
class Cut:
    """One word."""

    text: str
    tag: str
    """Part of speech as jieba names it: n noun, v verb, a adjective, d adverb, r pronoun, m number, p preposition,
    c conjunction, u… particle, y final particle …"""


def segment(run: str) -> list[Cut]:
    """The words of a run of Chinese characters; joined, they are the run."""
    cuts: list[Cut] = []
    for word, tag in _tagged(run):
        if cuts and _joins(cuts[-1].text, word):
            cuts[-1] = Cut(cuts[-1].text + word, cuts[-1].tag)
        else:
            cuts.append(Cut(word, tag))
    return cuts


def is_word(text: str) -> bool:
    """Whether jieba's dictionary has it."""
    known: bool = _jieba().has_word(text)
    return known


def is_erhua(run: str, place: int) -> bool:
    """Whether the 儿 at `place` colours the syllable before it: 花儿, but not 女儿."""
    if place == 0 or run[place - 1] in _CHILD_BEFORE:
        return False
    return run[place + 1 : place + 2] not in _CHILD_AFTER or run[place + 1 : place + 2] == ""


def is_clitic(word: str) -> bool:
    """Whether a word of one character leans on the word before it."""
    return word in _CLITICS


@cache
def _jieba() -> Any:
    import rjieba

    return rjieba.Jieba()


def _tagged(run: str) -> Iterator[tuple[str, str]]:
    for word, tag in _jieba().tag(run):
        guessed = len(word) > 1 and not is_word(word) and (tag != "m" or "年" in word)
        if guessed and not (_GRAMMAR.isdisjoint(word) and _with_rules().isdisjoint(word)):
            yield from _jieba().tag(word, False)
        elif cut := _cut_further(word, tag):
            for part in cut:
                yield _jieba().tag(part, False)[0]
        else:
            yield word, tag


def _cut_further(word: str, tag: str) -> Sequence[str]:
    """The parts of what jieba has as one word though it is several: 今天+天气, 坐+地铁, 跑+得+快."""
    if word in _known_cuts():
        return _known_cuts()[word]
    if is_phrase(word):
        return ()
    if len(word) == 3 and word[1] == "得":
        return tuple(word)
    if (word[-1] == "地" and len(word) == 3 and word[0] == word[1]) or (word[-1] == "得" and len(word) == 2):
        return word[:-1], word[-1]
    if tag not in ("i", "l"):
        return ()
    if len(word) == 3 and is_word(word[1:]):
        return word[0], word[1:]
    return (word[:2], word[2:]) if len(word) == 4 and is_word(word[:2]) and is_word(word[2:]) else ()


@cache
def is_phrase(word: str) -> bool:
    """Whether pypinyin's dictionary of phrases has it."""
    from pypinyin.constants import PHRASES_DICT

    return word in PHRASES_DICT


@cache
def _with_rules() -> frozenset[str]:
    """Characters whose reading depends on what stands beside them, when they are words."""
    return frozenset(row[0] for row in rows("polyphones.tsv", 1)) - {"为", "中", "任", "华", "区", "盖", "解", "单"}


@cache
def _known_cuts() -> dict[str, list[str]]:
    return {line.replace(" ", ""): line.split() for line in lines("cuts.txt")}


def _joins(before: str, word: str) -> bool:
    """Whether a word is an ending of the one before it: 玩+儿, 三+个, 同学+们."""
    if before[-1] in _NUMERALS and word[0] in _NUMERALS and len(before) + len(word) <= _LONGEST_NUMBER:
        return True
    if word == "儿":
        return is_erhua(before + word, len(before))
    return word == "们" or (word == "个" and before[-1] in _BEFORE_A_MEASURE)
