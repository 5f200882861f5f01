"""Clips of one speaker joined, so that short ones teach to go on. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from unison.data.manifest import Utterance

READINGS = 8
"""How often an epoch reads each clip, each time among others."""

Group = tuple[Utterance, ...]


def joined(utterances: Sequence[Utterance], seconds: float, seed: int, fits: Callable[[Group], bool]) -> list[Group]:
    """Every clip :data:`READINGS` times, half of the groups being one clip and half several.

    Args:
        utterances: the clips.
        seconds: what a group may last; a clip that is longer stands alone.
        seed: decides who is joined to whom.
        fits: whether a group is one that the model can read.
    """
    rng = np.random.default_rng(seed)
    speakers: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        speakers.setdefault(utterance.speaker, []).append(utterance)
    found: list[Group] = []
    for _ in range(READINGS):
        for speaker in sorted(speakers):
            group, most = Group(), 0.0
            for i in rng.permutation(len(speakers[speaker])):
                more = (*group, speakers[speaker][i])
                if group and (sum(clip.seconds for clip in more) > most or not fits(more)):
                    found.append(group)
                    group, more = Group(), more[-1:]
                if not group:
                    most = rng.uniform(0.0, seconds) if rng.random() < 0.5 else 0.0
                group = more
            found.append(group)
    return found
