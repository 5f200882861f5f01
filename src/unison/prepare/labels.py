"""Style labels of a corpus that has none: pitch, speed and energy of each clip among its speaker's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from unison.data.grouping import places_of
from unison.data.manifest import Features, Utterance
from unison.text.symbols import BOUNDARY, is_gap

NAMES = {"pitch": ("low", "normal", "high"), "speed": ("slow", "normal", "fast"), "energy": ("low", "normal", "high")}
"""Of each class, the labels from the lower third to the upper."""


def with_computed(utterances: Sequence[Utterance], features: Features) -> list[Utterance]:
    """The utterances with a label in each of the classes of :data:`NAMES` in which they have none.

    Thresholds are the terciles of a speaker's clips to learn from. Of a clip that can't be measured (no frame is
    voiced), or whose speaker always has the same, nothing is said.
    """
    measured = [measure(utterance, features) for utterance in utterances]
    labelled = [dict(utterance.style) for utterance in utterances]
    clips = places_of([utterance.speaker for utterance in utterances]).values()
    training = np.array([utterance.split == "train" for utterance in utterances])
    for name, labels in NAMES.items():
        values = np.array([own[name] for own in measured])
        for of_speaker in clips:
            own = of_speaker[np.isfinite(values[of_speaker])]
            learnt = values[own[training[own]]]
            if not len(learnt):
                continue
            lower, upper = np.quantile(learnt, (1 / 3, 2 / 3))
            if lower == upper:
                continue
            for index in own:
                labelled[index].setdefault(name, labels[int(values[index] > lower) + int(values[index] > upper)])
    return [replace(utterance, style=style) for utterance, style in zip(utterances, labelled, strict=True)]


def measure(utterance: Utterance, features: Features) -> dict[str, float]:
    """Of an utterance: its mean F0 in Hz over voiced frames as `pitch`, sounds a second as `speed`, the mean energy of
    its frames as `energy`; NaN for what can't be told."""
    f0 = features.f0(utterance)
    sounds = sum(1 for symbol in _sounds(utterance.symbols))
    return {
        "pitch": float(f0[f0 > 0].mean()) if f0.any() else float("nan"),
        "speed": sounds / utterance.seconds if sounds else float("nan"),
        "energy": float(features.energy(utterance).mean()),
    }


def _sounds(symbols: Iterable[str]) -> list[str]:
    return [symbol for symbol in symbols if symbol != BOUNDARY and not is_gap(symbol)]
