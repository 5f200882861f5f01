"""Where a Mandarin sentence is breathed: prosodic words, and phrases of several of them, as DataBaker's #1 and #2."""

from __future__ import annotations

from collections.abc import Sequence

from unison.text.segmentation import Cut, is_clitic

_LONGEST_WORD = 3
"""Syllables of a prosodic word that several words make."""
_SHORT_CLAUSE = 6
"""Syllables that are spoken as one phrase."""
_LONG_PHRASE = 9
"""Syllables that no phrase goes beyond if it has a place to divide."""
_CONNECTING = ("c",)
_LOCATIVES = frozenset("上下里中内外前后旁间")
_SINGLE_HEADS = ("v", "d", "zg", "a", "m", "p", "r", "vg", "zg", "b", "f", "ag", "ng")


def grouped(cuts: Sequence[Cut]) -> list[int]:
    """The break behind each word of a clause: 0 within a prosodic word, 1 between two, 2 between two phrases.

    Behind the last word stands 1: what follows it is the clause's punctuation.
    """
    groups = _prosodic_words(cuts)
    breaks = [0] * len(cuts)
    for group in groups:
        breaks[group[-1]] = 1
    for index in _phrase_ends([[cuts[i] for i in group] for group in groups]):
        breaks[groups[index][-1]] = 2
    return breaks


def _prosodic_words(cuts: Sequence[Cut]) -> list[list[int]]:
    groups: list[list[int]] = []
    for index, cut in enumerate(cuts):
        if groups and _leans([cuts[i] for i in groups[-1]], cut):
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def _leans(group: Sequence[Cut], cut: Cut) -> bool:
    """Whether a word joins the prosodic word before it."""
    last = group[-1]
    size = sum(len(word.text) for word in group)
    if is_clitic(cut.text) and cut.tag[:1] != "v":
        return True
    if cut.text in _LOCATIVES and cut.tag == "f":
        return True
    if size + len(cut.text) > _LONGEST_WORD or last.tag in _CONNECTING or cut.tag in _CONNECTING:
        return False
    if is_clitic(last.text):
        return False
    if len(last.text) == 1:  # 陪外孙, 很好, 别再
        return last.tag in _SINGLE_HEADS and (last.tag != "r" or len(cut.text) == 1)
    # 拥抱我, but not 我们去
    return len(cut.text) == 1 and last.tag.startswith("v") and cut.tag in ("r", "f", "q")


def _phrase_ends(groups: Sequence[Sequence[Cut]]) -> list[int]:
    """Prosodic words behind which a phrase ends."""
    sizes = [sum(len(word.text) for word in group) for group in groups]
    return sorted(_divided(groups, sizes, 0, len(groups)))


def _divided(groups: Sequence[Sequence[Cut]], sizes: Sequence[int], start: int, end: int) -> list[int]:
    total = sum(sizes[start:end])
    if total <= _SHORT_CLAUSE or end - start < 2:
        return []
    best, place = 0.0, -1
    for index in range(start, end - 1):
        left = sum(sizes[start : index + 1])
        if min(left, total - left) < 2:
            continue
        strength = _strength(groups[index], groups[index + 1]) - abs(2 * left - total) / total
        if place < 0 or strength > best:
            best, place = strength, index
    if place < 0 or (best < 1.5 and total <= _LONG_PHRASE):
        return []
    return [*_divided(groups, sizes, start, place + 1), place, *_divided(groups, sizes, place + 1, end)]


def _strength(left: Sequence[Cut], right: Sequence[Cut]) -> float:
    """How strongly the sentence divides between two prosodic words: subject and predicate, before a conjunction …"""
    last, first = left[-1], right[0]
    if last.tag in _CONNECTING or last.tag == "p":
        return 0.0
    if first.tag in _CONNECTING:
        return 3.0
    if last.tag == "uj":
        return 1.0
    nominal = last.tag[:1] in "nrts" or last.tag in ("f", "mq", "m", "vn", "an", "eng")
    if nominal and first.tag[:1] in "vdp":
        return 3.0
    if (nominal and first.tag[:1] in "a") or first.tag == "zg":
        return 2.0
    if last.tag[:1] in "td" and len(last.text) > 1:
        return 1.5
    if last.tag in ("ul", "uz", "ug", "ud", "uv"):
        return 1.5 if last.tag == "ul" else 0.5
    return 0.8 if last.tag[:1] in "n" else 0.5
