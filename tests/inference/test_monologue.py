"""The pieces of a text, and what becomes of one that goes wrong; no model is needed."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from unison.inference.monologue import ATTEMPTS, Frame, Monologue
from unison.inference.pieces import SECONDS_PER_TOKEN, Room
from unison.models.metavoice.layout import TokenLayout

LAYOUT = TokenLayout(codebook_size=100, codebooks=2, text_tokens=256)
ROOM = Room(
    layout=LAYOUT,
    frame_rate=10.0,
    window=400,
    second_window=None,
    seconds_per_token=0.1,
    longest_seconds=math.inf,
    encode=lambda text: list(text.encode()),
)
"""A token a byte, a frame a token."""


def speech(count: int, seed: int = 0) -> list[Frame]:
    """Frames that do not repeat."""
    rng = random.Random(seed)
    return [(rng.randrange(100), rng.randrange(100)) for _ in range(count)]


def tokens(frames: list[Frame]) -> list[int]:
    return [code for frame in frames for code in (frame[0], 100 + frame[1])]


def told(monologue: Monologue, frames: list[Frame], stopped: bool = True, by: int = 3) -> tuple[list[Frame], bool]:
    """What is given away of a piece of these frames, fed a few tokens at a time, and whether it was called off."""
    flat, given = tokens(frames), list[Frame]()
    for start in range(0, len(flat), by):
        done = start + by >= len(flat)
        heard = monologue.hear(flat[start : start + by], done, done and stopped)
        given += heard.frames
        if heard.unwanted:
            return given, True
    if not flat:
        given += monologue.hear([], True, stopped).frames
    return given, False


# -- how much in one go ------------------------------------------------------------------------------------------------


def test_a_text_is_cut_at_sentences_and_further_only_where_it_must_be() -> None:
    room = replace(ROOM, longest_seconds=4.0)
    text = "One two. Three four five, six seven eight nine ten eleven twelve! " + "abc " * 30
    pieces = room.pieces(text)
    assert pieces[:3] == ["One two.", "Three four five,", "six seven eight nine ten"]
    assert " ".join(pieces) == text.strip()
    assert all(len(piece) <= 40 for piece in pieces)
    assert ROOM.pieces("One two. Three, four.") == ["One two.", "Three, four."]


def test_a_word_is_cut_only_where_the_window_is_too_small() -> None:
    assert replace(ROOM, longest_seconds=0.3).pieces("seven") == ["seven"]
    cut = replace(ROOM, window=60).pieces("a" * 50)
    assert "".join(cut) == "a" * 50
    assert len(cut) > 1


def test_every_piece_leaves_room_for_half_as_much_again() -> None:
    rng = random.Random(0)
    words = ["".join(rng.choice("abcdef") for _ in range(rng.randrange(1, 12))) for _ in range(400)]
    for window in (60, 200, 1000):
        room = replace(ROOM, window=window)
        for piece in room.pieces(" ".join(words)):
            count = len(piece)
            assert count + 1 + 2 * 1.5 * count + 1 <= window or (" " not in piece and 3 * count + 2 <= window)


def test_what_the_contract_says_of_the_corpus() -> None:
    sizes = {name: getattr(ROOM, name) for name in ("layout", "frame_rate", "window", "second_window", "encode")}
    known = Room.of({"seconds_per_token": 0.3, "longest_seconds": 7}, **sizes)
    assert (known.seconds_per_token, known.longest_seconds) == (0.3, 7.0)
    unknown = Room.of({}, **sizes)
    assert (unknown.seconds_per_token, unknown.longest_seconds) == (SECONDS_PER_TOKEN, math.inf)


def test_how_long_a_text_is_waited_for() -> None:
    """What it takes on average; half as much again and a second; twice as much and two seconds."""
    assert (ROOM.expected(19), ROOM.plausible(19), ROOM.bound(19)) == (19, 39, 58)


# -- what goes well ----------------------------------------------------------------------------------------------------


def test_a_piece_is_given_away_as_it_comes_but_for_a_loop_s_length() -> None:
    monologue = Monologue(["hello there you"], ROOM, seed=7, early=True)
    assert monologue.prompt() == (LAYOUT.text(list(b"hello there you")), 2 * ROOM.bound(15) + 1, 7)
    frames, given = speech(20), list[Frame]()
    for frame in frames:
        given += monologue.hear(tokens([frame]), False, False).frames
    assert given == frames[:8]  # 1.25 s are held back
    last = monologue.hear([], True, True)
    assert given + last.frames == frames
    assert last.ended == "hello there you"
    assert monologue.done
    assert not monologue.retries


def test_with_a_second_stage_a_piece_is_given_away_whole() -> None:
    monologue = Monologue(["hello there you"], ROOM, seed=7, early=False)
    for frame in speech(20):
        assert not monologue.hear(tokens([frame]), False, False).frames
    assert monologue.hear([], True, True).frames == speech(20)


def test_the_piece_before_stands_before_the_next_where_there_is_room() -> None:
    monologue = Monologue(["One two.", "Three.", "x" * 90], ROOM, seed=7, early=True)
    first, second = speech(9), speech(8, 1)
    told(monologue, first)
    prompt, most, seed = monologue.prompt()
    assert prompt == LAYOUT.text(list(b"One two. Three.")) + tokens(first)
    assert most == 2 * ROOM.bound(6) + 1
    assert seed != 7
    told(monologue, second)
    prompt, most, _ = monologue.prompt()
    assert prompt == LAYOUT.text(list(b"x" * 90))
    assert len(prompt) + most <= ROOM.window + 1


def test_no_more_is_carried_over_than_the_voice_has_learnt_to_say() -> None:
    monologue = Monologue(["One two.", "Three."], replace(ROOM, longest_seconds=1.4), seed=7, early=True)
    told(monologue, speech(9))
    assert monologue.prompt()[0] == LAYOUT.text(list(b"Three."))


@pytest.mark.parametrize("by", [1, 2, 3, 16, 1000])
def test_it_does_not_matter_how_many_tokens_come_at_a_time(by: int) -> None:
    loop = [*speech(15), *speech(3, 1) * 10]
    texts = ["One two three four.", "Five six."]
    monologue, given = Monologue(texts, ROOM, seed=7, early=True), list[Frame]()
    for frames, stopped in ((loop, False), (speech(12, 2), True), (speech(9, 3), True)):
        given += told(monologue, frames, stopped, by)[0]
    assert monologue.done
    assert given == [*speech(15), *speech(12, 2), *speech(9, 3)]


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def test_a_loop_is_spoken_again_from_where_it_began_with_another_seed() -> None:
    monologue = Monologue(["One two three four."], ROOM, seed=7, early=True)
    sound = speech(15)
    given, called_off = told(monologue, [*sound, *[(1, 1)] * 100], stopped=False)
    assert called_off
    assert given == sound
    assert monologue.retries == [
        {"text": "One two three four.", "after_seconds": 2.7, "why": "it repeats itself", "done": "spoken again"}
    ]
    prompt, most, seed = monologue.prompt()
    assert prompt == LAYOUT.text(list(b"One two three four.")) + tokens(sound)
    assert most == 2 * (ROOM.bound(19) - 15) + 1
    assert seed != 7
    rest = speech(6, 1)
    assert told(monologue, rest)[0] == rest
    assert monologue.done


def test_a_loop_that_never_ends_is_cut_after_the_last_attempt() -> None:
    monologue = Monologue(["One two three four.", "Five."], ROOM, seed=7, early=True)
    seeds, given = [], []
    for _ in range(ATTEMPTS):
        seeds.append(monologue.prompt()[2])
        given += told(monologue, [(1, 1)] * 100, stopped=False)[0]
    assert len(set(seeds)) == ATTEMPTS
    assert not given
    assert [retry["done"] for retry in monologue.retries] == ["spoken again"] * 3 + ["cut there"]
    # what follows does not begin with what went wrong
    assert monologue.prompt()[0] == LAYOUT.text(list(b"Five."))
    told(monologue, speech(6))
    assert monologue.done


def test_silence_without_end_is_a_loop() -> None:
    monologue = Monologue(["One two three four."], ROOM, seed=7, early=True)
    given, called_off = told(monologue, [*speech(18), *[(0, 0)] * 60], stopped=False)
    assert called_off
    assert given == speech(18)


def test_a_runaway_gives_away_no_more_than_is_plausible() -> None:
    text = "One two three four."
    monologue = Monologue([text], ROOM, seed=7, early=True)
    given = told(monologue, speech(ROOM.bound(19)), stopped=False)[0]
    assert given == speech(ROOM.plausible(19))
    assert monologue.retries[0]["why"] == "it finds no end"
    rest = speech(2, 1)
    assert told(monologue, rest)[0] == rest
    assert monologue.done


def test_a_runaway_that_was_held_back_is_cut_where_it_should_have_ended() -> None:
    monologue = Monologue(["One two three four."], ROOM, seed=7, early=False)
    given = [frame for _ in range(ATTEMPTS) for frame in told(monologue, speech(ROOM.bound(19)), stopped=False)[0]]
    assert monologue.done
    assert given == speech(ROOM.plausible(19))


def test_an_end_at_once_is_spoken_again() -> None:
    monologue = Monologue(["One."], ROOM, seed=7, early=True)
    told(monologue, [])
    assert monologue.retries[0]["why"] == "nothing is said"
    assert told(monologue, speech(4))[0] == speech(4)


def test_without_chance_nothing_is_tried_twice() -> None:
    monologue = Monologue(["One two three four."], ROOM, seed=7, early=True, again=False)
    told(monologue, [(1, 1)] * 100, stopped=False)
    assert monologue.done
    assert [retry["done"] for retry in monologue.retries] == ["cut there"]


def test_a_piece_that_fills_the_window_is_cut_in_two_and_spoken_again() -> None:
    room = replace(ROOM, window=100)
    monologue = Monologue(["One two six ten."], room, seed=7, early=True)
    prompt, most, _ = monologue.prompt()
    assert len(prompt) + most <= room.window + 1
    assert not told(monologue, speech(most // 2), stopped=False)[0]
    assert monologue.retries[0]["why"] == "it fills the model's window"
    assert monologue.retries[0]["done"] == "cut in two"
    assert monologue.prompt()[0] == LAYOUT.text(list(b"One two"))
    assert told(monologue, speech(7))[0] == speech(7)
    assert monologue.prompt()[0] == LAYOUT.text(list(b"six ten."))  # no room for what was before
    assert told(monologue, speech(10, 1))[0] == speech(10, 1)
    assert monologue.done


def test_the_same_seed_gives_the_same_seeds() -> None:
    def seeds(seed: int) -> list[int]:
        monologue, found = Monologue(["One.", "Two.", "Three."], ROOM, seed=seed, early=True), []
        while not monologue.done:
            found.append(monologue.prompt()[2])
            told(monologue, speech(5))
        return found

    assert seeds(3) == seeds(3)
    assert not set(seeds(3)) & set(seeds(4))
    assert all(0 <= seed < 2**63 for seed in seeds(2**63 - 1))
