"""Labels that a corpus's own recordings give: terciles a speaker, of the clips to learn from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from unison.data.manifest import Utterance
from unison.prepare.labels import measure, with_computed


def utterance(key: str, speaker: str, split: str = "train", seconds: float = 1.0, **style: str) -> Utterance:
    symbols = ["<sos/eos>", "[K]", "engsp1", "[T]", ",", "<sos/eos>"]
    return Utterance(key, "x", symbols, speaker, split, 0, 4, seconds, "", key, style)


class Recorded:
    """F0 and energy by key."""

    def __init__(self, f0: dict[str, float], energy: dict[str, float]) -> None:
        self._f0, self._energy = f0, energy

    def f0(self, utterance: Utterance) -> np.ndarray:
        return np.array([0.0, self._f0[utterance.key] - 1, self._f0[utterance.key] + 1, 0.0]).clip(0)

    def energy(self, utterance: Utterance) -> np.ndarray:
        return np.full(4, self._energy[utterance.key])


def corpus() -> tuple[list[Utterance], Any]:
    clips, f0, energy = [], {}, {}
    for speaker, hertz in (("anna", 200.0), ("bert", 100.0)):
        for i in range(9):
            key = f"{speaker}{i}"
            clips.append(utterance(key, speaker, seconds=0.5 + 0.1 * i))
            f0[key], energy[key] = hertz + i, 10.0 * (9 - i)
    return clips, Recorded(f0, energy)


def test_measures() -> None:
    clips, recorded = corpus()
    assert measure(clips[3], recorded) == pytest.approx({"pitch": 203, "speed": 2 / 0.8, "energy": 60})


def test_a_third_each_of_every_speaker() -> None:
    clips, recorded = corpus()
    for found in (with_computed(clips, recorded)[:9], with_computed(clips, recorded)[9:]):
        assert [u.style["pitch"] for u in found] == ["low"] * 3 + ["normal"] * 3 + ["high"] * 3
        assert [u.style["speed"] for u in found] == ["fast"] * 3 + ["normal"] * 3 + ["slow"] * 3
        assert [u.style["energy"] for u in found] == ["high"] * 3 + ["normal"] * 3 + ["low"] * 3
        assert not any("emotion" in u.style for u in found)


def test_held_out_clips_decide_nothing() -> None:
    clips, recorded = corpus()
    recorded._f0["late"], recorded._energy["late"] = 1000.0, 1000.0
    found = with_computed([*clips, utterance("late", "anna", "valid", seconds=9.0)], recorded)
    assert [u.style for u in found[:-1]] == [u.style for u in with_computed(clips, recorded)]
    assert found[-1].style == {"pitch": "high", "speed": "slow", "energy": "high"}


def test_labels_that_are_given_stay() -> None:
    clips, recorded = corpus()
    clips[0] = utterance("anna0", "anna", pitch="shrill", emotion="glad")
    found = with_computed(clips, recorded)[0].style
    assert (found["pitch"], found["emotion"], found["energy"]) == ("shrill", "glad", "high")
    assert clips[0].style == {"pitch": "shrill", "emotion": "glad"}, "what was given is not changed"


def test_what_cannot_be_told_is_not() -> None:
    clips, recorded = corpus()
    recorded._f0["anna0"] = 0.0
    recorded._f0["anna0"] = -5.0  # no voiced frame
    recorded._energy = dict.fromkeys(recorded._energy, 3.0)  # all alike
    found = with_computed(clips, recorded)
    assert "pitch" not in found[0].style
    assert all("pitch" in u.style for u in found[1:])
    assert not any("energy" in u.style for u in found)
    held = [utterance(f"{u.key}", u.speaker, "valid") for u in clips]
    assert with_computed(held, recorded) == held
