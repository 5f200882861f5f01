"""Which of its readings a Chinese character has where it stands.

Words come from pypinyin's dictionary of phrases; what it gets wrong and what only the neighbours decide
(还 in 还钱, 得 in 我得走) stands in ``data/phrases.tsv`` and ``data/polyphones.tsv``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from unison.text.data import rows
from unison.text.segmentation import Cut, is_phrase

_CONTEXT = 16
"""Characters on either side that a rule may look at."""
_COUNTS = frozenset("一二两三四五六七八九十几每这那哪半各某")


@dataclass
class Syllables:
    """A word's readings, character by character; one without a reading stands for itself."""

    cut: Cut
    pinyin: list[str]
    why: str


@dataclass(frozen=True)
class _Rule:
    before: re.Pattern[str]
    after: re.Pattern[str]
    tag_before: tuple[str, ...]
    tag_after: tuple[str, ...]
    reading: str

    def fits(self, before: str, after: str, tag_before: str, tag_after: str) -> bool:
        if self.tag_before and tag_before not in self.tag_before:
            return False
        if self.tag_after and tag_after not in self.tag_after:
            return False
        return bool(self.before.search(before) and self.after.match(after))


def readings_of(cuts: Sequence[Cut]) -> list[Syllables]:
    """The dictionary readings of a run's words, before tones change each other."""
    run = "".join(cut.text for cut in cuts)
    plain = [reading for group in _groups(cuts) for reading in _pypinyin(group)]
    found: list[Syllables] = []
    place = 0
    for cut in cuts:
        own = plain[place : place + len(cut.text)]
        found.append(Syllables(cut, own, "phrase dictionary" if is_phrase(cut.text) else "character dictionary"))
        place += len(cut.text)
    _apply_rules(found, run)
    _apply_phrases(found, run)
    return found


def _groups(cuts: Sequence[Cut]) -> Iterator[str]:
    """Words for pypinyin; words of one character in a row stay together, so that it finds its own phrases there."""
    singles = ""
    for cut in cuts:
        if len(cut.text) == 1:
            singles += cut.text
            continue
        if singles:
            yield singles
        singles = ""
        yield cut.text
    if singles:
        yield singles


def _apply_rules(found: list[Syllables], run: str) -> None:
    place = 0
    for index, word in enumerate(found):
        text = word.cut.text
        # 行 in 一行 stands as alone as in 这 行
        counted = len(text) == 2 and text[0] in _COUNTS and word.cut.tag in ("m", "mq", "r")
        if len(text) == 1 or counted:
            at = place + len(text) - 1
            before, after = run[max(at - _CONTEXT, 0) : at], run[at + 1 : at + 1 + _CONTEXT]
            tag_before = found[index - 1].cut.tag if index else ""
            tag_after = found[index + 1].cut.tag if index + 1 < len(found) else ""
            for rule in _rules().get(text[-1], ()):
                if rule.fits(before, after, tag_before, tag_after):
                    word.pinyin[-1], word.why = rule.reading, f"context {before[-2:]}_{after[:2]}"
                    break
        place += len(text)


def _apply_phrases(found: list[Syllables], run: str) -> None:
    """Readings of our own phrases, wherever words are cut."""
    owners = [(word, i) for word in found for i in range(len(word.cut.text))]
    pattern, phrases = _phrases()
    for match in pattern.finditer(run):
        for (word, i), reading in zip(owners[match.start() : match.end()], phrases[match[0]], strict=True):
            word.pinyin[i], word.why = reading, f"phrase {match[0]}"


def _pypinyin(text: str) -> list[str]:
    from pypinyin import Style, lazy_pinyin

    # A list keeps unknown characters apart, one entry each; the annotation knows only strings.
    unknown: Any = list
    return lazy_pinyin(text, style=Style.TONE3, neutral_tone_with_five=True, errors=unknown)


@cache
def _rules() -> dict[str, list[_Rule]]:
    rules: dict[str, list[_Rule]] = {}
    for character, before, after, tag_before, tag_after, reading in rows("polyphones.tsv", 6):
        tags = tuple(tag_before.split()), tuple(tag_after.split())
        rule = _Rule(re.compile(f"(?:{before})"), re.compile(after), *tags, reading)
        rules.setdefault(character, []).append(rule)
    return rules


@cache
def _phrases() -> tuple[re.Pattern[str], dict[str, list[str]]]:
    phrases = {phrase: pinyin.split() for phrase, pinyin in rows("phrases.tsv", 2)}
    longest_first = sorted(phrases, key=len, reverse=True)
    return re.compile("|".join(longest_first)), phrases
