"""Clips joined: each as often, of one speaker, alone half the time, and no longer than asked."""

from __future__ import annotations

from collections import Counter

from unison.data.joining import READINGS, joined
from unison.data.manifest import Utterance


def clips(speaker: str, count: int, seconds: float) -> list[Utterance]:
    return [Utterance(f"{speaker}{i}", "", [], speaker, "train", 0, 1, seconds, "", "", {}) for i in range(count)]


UTTERANCES = [*clips("ann", 200, 0.5), *clips("bob", 200, 0.25), *clips("cid", 1, 9.0)]


def test_every_clip_is_read_as_often_and_no_speaker_mixed_with_another() -> None:
    found = joined(UTTERANCES, 2.0, 7, lambda group: True)
    assert set(Counter(clip.key for group in found for clip in group).values()) == {READINGS}
    assert len(Counter(clip.key for group in found for clip in group)) == len(UTTERANCES)
    assert all(len({clip.speaker for clip in group}) == 1 for group in found)
    assert all(len(group) == 1 or sum(clip.seconds for clip in group) <= 2.0 for group in found)
    assert max(sum(clip.seconds for clip in group) for group in found if group[0].speaker != "cid") > 1.5


def test_half_of_the_groups_and_more_are_one_clip() -> None:
    found = joined(UTTERANCES, 2.0, 7, lambda group: True)
    alone = sum(len(group) == 1 for group in found) / len(found)
    assert 0.5 < alone < 0.75


def test_each_reading_joins_others_and_a_seed_decides() -> None:
    found = joined(UTTERANCES, 2.0, 7, lambda group: True)
    several = [tuple(clip.key for clip in group) for group in found if len(group) > 1]
    assert len(set(several)) > 0.95 * len(several)
    assert joined(UTTERANCES, 2.0, 7, lambda group: True) == found
    assert joined(UTTERANCES, 2.0, 8, lambda group: True) != found


def test_nothing_is_joined_that_the_model_can_not_read() -> None:
    found = joined(UTTERANCES, 2.0, 7, lambda group: len(group) < 3)
    assert {len(group) for group in found} == {1, 2}
