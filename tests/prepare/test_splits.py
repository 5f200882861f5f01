"""Who and what is held out, over made corpora of all kinds."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unison.data.manifest import Utterance
from unison.errors import UnisonError
from unison.prepare.splits import UNUSED, held_out_speakers, splits, what_is_said

SAYINGS = st.integers(0, 60).map(lambda n: f"Sentence {n}.")
ROWS = st.lists(st.tuples(SAYINGS, st.sampled_from("abcd")), min_size=1, max_size=80)


def clips(rows: list[tuple[str, str]]) -> list[Utterance]:
    return [
        Utterance(f"{speaker}{number}", text, ["x"], speaker, "", 0, 1, 1.0, "", "")
        for number, (text, speaker) in enumerate(rows)
    ]


def remembered(utterances: list[Utterance], sides: list[str]) -> dict[str, str]:
    return {what_is_said(u.text, u.symbols): s for u, s in zip(utterances, sides, strict=True) if s != UNUSED}


@given(ROWS, ROWS, st.sampled_from([0.0, 0.02, 0.3, 1.0]), st.sampled_from([(), ("d",)]))
@settings(deadline=None, max_examples=200)
def test_no_text_on_both_sides_and_nothing_moves(
    rows: list[tuple[str, str]], more: list[tuple[str, str]], share: float, apart: tuple[str, ...]
) -> None:
    before, after = clips(rows), clips([*rows, *more])
    first = splits(before, {}, share, apart)
    grown = splits(after, {}, share, apart, remembered(before, first))
    for utterances, sides in ((before, first), (after, grown)):
        texts, speakers = defaultdict(set), defaultdict(set)
        for utterance, side in zip(utterances, sides, strict=True):
            texts[side].add(utterance.text)
            speakers[side].add(utterance.speaker)
        assert not texts["train"] & texts["valid"]
        assert not speakers["train"] & {*apart}
        assert texts[UNUSED] <= texts["train"]
    assert grown[: len(first)] == first
    # at first everyone who is not held out has something to learn from
    learners = {u.speaker for u, side in zip(before, first, strict=True) if side == "train"}
    assert learners == {u.speaker for u in before} - {*apart}


@given(ROWS, ROWS)
@settings(deadline=None)
def test_texts_stay_without_a_memory_too(rows: list[tuple[str, str]], more: list[tuple[str, str]]) -> None:
    """The hash alone decides where every speaker has texts on both sides of it."""
    always = [(f"Always {n}.", speaker) for n in range(8) for speaker in "abcd"]
    first = splits(clips([*always, *rows]), {}, 0.5)
    grown = splits(clips([*always, *rows, *more]), {}, 0.5)
    assert grown[: len(first)] == first


def test_a_share_is_a_share_of_texts() -> None:
    utterances = clips([(f"Text number {n}.", "a") for n in range(4000)])
    few, many = splits(utterances, {}, 0.1), splits(utterances, {}, 0.2)
    assert few.count("valid") == pytest.approx(400, abs=60)
    assert many.count("valid") == pytest.approx(800, abs=80)
    # a larger share takes more, and leaves what was held out where it is
    assert all(b == "valid" for a, b in zip(few, many, strict=True) if a == "valid")


@pytest.mark.parametrize("other", ["HELLO, there", "hello there!", "Hello\u3000there", "ｈｅｌｌｏ there"])
def test_spellings_of_a_text_are_one(other: str) -> None:
    assert what_is_said(other, []) == what_is_said("Hello there.", [])
    assert what_is_said("你好。", []) != what_is_said("你们好。", [])
    assert what_is_said("", ["b", "a4"]) == "b a4"


def test_the_corpus_has_the_word_and_its_texts_follow() -> None:
    utterances = clips([("A.", "a"), ("a", "b"), ("B.", "a"), ("b", "b"), ("C.", "a"), ("C.", "b")])
    keys = [utterance.key for utterance in utterances]
    sides = splits(utterances, {keys[0]: "valid", keys[2]: "train"}, 0.0)
    assert sides == ["valid", "valid", "train", "train", "train", "train"]
    # published on both sides it stays published
    assert splits(utterances[:2], {keys[0]: "valid", keys[1]: "train"}, 0.0) == ["valid", "train"]
    # all of a speaker's clips held out by the corpus: a held-out speaker
    assert splits(utterances[4:], {keys[4]: "train", keys[5]: "valid"}, 0.0) == ["train", "valid"]


def test_of_a_held_out_speaker_nothing_is_learnt_whatever_the_corpus_says() -> None:
    utterances = clips([("A.", "a"), ("A.", "z"), ("B.", "z"), ("C.", "a")])
    given_ = {utterances[1].key: "train", utterances[2].key: "train"}
    sides = splits(utterances, given_, 0.0, {"z"}, {"a": "train", "c": "train"})
    assert sides == ["train", UNUSED, "valid", "train"]


def test_held_out_speakers() -> None:
    names = [f"p{n}" for n in range(225, 377)]
    few = held_out_speakers(names, 0.1)
    assert 5 <= len(few) <= 28
    assert few <= held_out_speakers(names, 0.3)
    assert few <= held_out_speakers([*names, "new"], 0.1)
    assert held_out_speakers(names, 0.0) == set()
    assert held_out_speakers(names, ["p225"]) == {"p225"}
    with pytest.raises(UnisonError, match="no speaker p22; did you mean"):
        held_out_speakers(names, ["p225", "p22"])
    with pytest.raises(UnisonError, match="all 2 speakers"):
        held_out_speakers(["a", "b"], ["a", "b"])
