"""Batches of speakers and utterances."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest

from unison.data.speaker_sampler import Crop, SpeakerSampler

SPEAKERS = ["anna", "bert", "anna", "cora", "bert", "anna", "cora", "anna"]
LENGTHS = [30, 100, 40, 60, 20, 70, 50, 25]


def sampler(**changes: int) -> SpeakerSampler:
    options = {"crop": 80, "batch_speakers": 2, "batch_utterances": 3, "seed": 5} | changes
    return SpeakerSampler(SPEAKERS, LENGTHS, **options)


def test_a_batch_is_utterances_of_speakers() -> None:
    for batch in islice(sampler(), 20):
        voices = [{SPEAKERS[clip] for clip in crop.clips} for crop in batch]
        assert [len(names) for names in voices] == [1] * 6
        assert voices[0] == voices[1] == voices[2] != voices[3] == voices[4] == voices[5]


def test_pieces_lie_within_their_clips_and_need_them_all() -> None:
    for crop in (crop for batch in islice(sampler(), 50) for crop in batch):
        total = sum(LENGTHS[clip] for clip in crop.clips)
        assert 0 <= crop.start <= total - 80
        assert total - LENGTHS[crop.clips[-1]] < 80


def test_a_speakers_clips_are_all_used_before_one_is_used_again() -> None:
    for batch in islice(sampler(crop=40, batch_utterances=2), 50):
        for s in (0, 2):
            clips = [clip for crop in batch[s : s + 2] for clip in crop.clips]
            of_speaker = SPEAKERS.count(SPEAKERS[clips[0]])
            assert len(set(clips[:of_speaker])) == min(of_speaker, len(clips))


def test_batch_k_follows_from_seed_and_k() -> None:
    whole = list(islice(sampler(), 12))
    assert list(islice(sampler(start=7), 5)) == whole[7:]
    assert list(islice(sampler(seed=6), 12)) != whole
    ranks = [list(islice(sampler(rank=rank, world=2), 6)) for rank in range(2)]
    assert [batch for pair in zip(*ranks, strict=True) for batch in pair] == whole


def test_every_speaker_and_clip_is_drawn() -> None:
    batches = list(islice(sampler(), 60))
    assert {clip for batch in batches for crop in batch for clip in crop.clips} == set(range(len(SPEAKERS)))


def test_fewer_speakers_than_a_batch_asks_for() -> None:
    assert {len(batch) for batch in islice(sampler(batch_speakers=64), 5)} == {9}
    assert sampler(batch_speakers=64).epoch_batches == 1
    assert sampler(crop=20).epoch_batches == 4  # 395 of 120 each


def test_a_piece_is_cut_from_the_joined_clips() -> None:
    clips = [np.arange(3.0), np.arange(10.0, 14.0)]
    assert Crop((1, 0), 2).read(4, clips.__getitem__).tolist() == [12, 13, 0, 1]


@pytest.mark.parametrize("changes", [{"batch_speakers": 1}, {"batch_utterances": 1}, {"crop": 0}, {"rank": 1}])
def test_what_makes_no_batches_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        sampler(**changes)


def test_one_speaker_is_refused() -> None:
    with pytest.raises(ValueError, match="1 speakers"):
        SpeakerSampler(["anna"] * 3, [10] * 3, 5, 2, 2, 0)


def test_speakers_are_drawn_by_their_weights() -> None:
    names = [f"{i:02d}" for i in range(30)]
    weights = {name: 3.0 if name < "10" else 1.0 for name in names}
    stream = SpeakerSampler(names, [80] * 30, 80, 6, 2, seed=5, weights=weights)
    drawn = Counter(names[crop.clips[0]] for batch in islice(stream, 4000) for crop in batch[::2])
    for name in names:
        assert drawn[name] / 4000 == pytest.approx(6 * weights[name] / 50, abs=0.02), name
    assert all(len({crop.clips for crop in batch}) == 6 for batch in islice(stream, 50))
    late = SpeakerSampler(names, [80] * 30, 80, 6, 2, seed=5, start=7, weights=weights)
    assert list(islice(late, 5)) == list(islice(stream, 12))[7:]


def test_a_speaker_who_can_not_be_heard_often_enough_is_in_every_batch() -> None:
    stream = SpeakerSampler(SPEAKERS, LENGTHS, 20, 2, 2, seed=5, weights={"anna": 100.0, "bert": 1.0, "cora": 3.0})
    voices = Counter(SPEAKERS[crop.clips[0]] for batch in islice(stream, 2000) for crop in batch[::2])
    assert voices["anna"] == 2000
    assert voices["cora"] / 2000 == pytest.approx(0.75, abs=0.03)
