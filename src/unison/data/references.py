"""Which recordings of a speaker are heard together, so that a speaker vector is of enough speech. Needs no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from unison.data.manifest import Utterance

SECONDS = 10.0
"""Speech in a reference, where a speaker has as much: what a voice to be imitated is advised to bring."""


@dataclass(frozen=True)
class Reference:
    """Recordings of one speaker, one after another."""

    speaker: str
    utterances: tuple[Utterance, ...]

    @property
    def key(self) -> str:
        """Names the recordings by their content."""
        return hashlib.sha256("".join(utterance.digest for utterance in self.utterances).encode()).hexdigest()

    @property
    def seconds(self) -> float:
        """Length in all."""
        return sum(utterance.seconds for utterance in self.utterances)


def references(utterances: Sequence[Utterance]) -> list[Reference]:
    """Every utterance in one reference: each of at least :data:`SECONDS`, but where a speaker has less in all.

    They follow from the recordings alone, whatever their order.
    """
    found, by_speaker = [], dict[str, dict[str, Utterance]]()
    for utterance in utterances:
        by_speaker.setdefault(utterance.speaker, {})[utterance.digest] = utterance
    for speaker, own in sorted(by_speaker.items()):
        groups: list[list[Utterance]] = [[]]
        for digest in sorted(own):
            if sum(utterance.seconds for utterance in groups[-1]) >= SECONDS:
                groups.append([])
            groups[-1].append(own[digest])
        if len(groups) > 1 and sum(utterance.seconds for utterance in groups[-1]) < SECONDS:
            rest = groups.pop()
            groups[-1] += rest
        found += [Reference(speaker, tuple(group)) for group in groups]
    return found
