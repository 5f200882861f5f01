"""References: every recording in one, of one speaker, long enough, whatever the order."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from unison.data.manifest import Utterance
from unison.data.references import references


def clips(lengths: Sequence[float], speaker: str = "ann") -> list[Utterance]:
    return [
        Utterance(f"{speaker}{i}", "", [], speaker, "train", 0, 1, seconds, "", f"{i:03d}{speaker}", {})
        for i, seconds in enumerate(lengths)
    ]


def test_each_recording_is_in_one_that_is_long_enough() -> None:
    utterances = clips([0.4] * 120) + clips([4.0, 9.0, 3.0, 12.0], "bob")
    found = references(utterances)
    assert sorted(u.key for r in found for u in r.utterances) == sorted(u.key for u in utterances)
    assert all(len({u.speaker for u in r.utterances}) == 1 and r.seconds >= 10 - 1e-9 for r in found)
    assert [len(r.utterances) for r in found if r.speaker == "bob"] == [2, 2]


def test_a_speaker_with_little_has_one_of_all() -> None:
    assert [len(r.utterances) for r in references(clips([1.0, 2.0]))] == [2]


def test_order_does_not_matter_and_content_does() -> None:
    utterances = clips([3.0] * 20)
    shuffled = random.Random(0).sample(utterances, len(utterances))
    assert [r.key for r in references(shuffled)] == [r.key for r in references(utterances)]
    assert len({r.key for r in references(utterances)}) == len(references(utterances))
    assert references(clips([3.0] * 20, "bob"))[0].key != references(utterances)[0].key


@pytest.mark.parametrize("twice", [1, 3])
def test_a_recording_that_stands_twice_is_heard_once(twice: int) -> None:
    assert [len(r.utterances) for r in references(clips([11.0]) * twice)] == [1]
