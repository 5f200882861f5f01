"""How much a language model speaks in one go, and a text cut into such pieces."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from unison.models.metavoice.layout import TokenLayout
from unison.text.sentences import sentences

SECONDS_PER_TOKEN = 0.16
"""Speech that a text token takes, where the contract does not say: about fourteen characters a second, two a token."""

_BETWEEN_WORDS = re.compile(r"[\s,:，、：—–]")


@dataclass(frozen=True)
class Room:
    """What a voice can hold, in frames of its codec, for texts in tokens."""

    layout: TokenLayout
    """The first stage's."""
    frame_rate: float
    """Frames a second."""
    window: int
    """Positions of the first stage."""
    second_window: int | None
    """Positions of the second stage, if there is one."""
    seconds_per_token: float
    """What speech takes of a text token, on average."""
    longest_seconds: float
    """The longest recording that the voice learnt from; it says less well what is longer."""
    encode: Callable[[str], list[int]]
    """The byte pairs of a text."""

    @classmethod
    def of(cls, statistics: Mapping[str, Any], **sizes: Any) -> Room:
        """With what a contract says of the corpus: `seconds_per_token` and `longest_seconds`."""
        pace = float(statistics.get("seconds_per_token", SECONDS_PER_TOKEN))
        return cls(seconds_per_token=pace, longest_seconds=float(statistics.get("longest_seconds", math.inf)), **sizes)

    def expected(self, text: int) -> int:
        """Frames that a text of so many tokens takes."""
        return math.ceil(text * self.seconds_per_token * self.frame_rate)

    def expected_of(self, texts: Iterable[str]) -> int:
        """Frames that these texts take."""
        return sum(self.expected(len(self.encode(text))) for text in texts)

    def plausible(self, text: int) -> int:
        """Frames within which it should have ended."""
        return math.ceil(1.5 * self.expected(text) + self.frame_rate)

    def bound(self, text: int) -> int:
        """Frames after which nothing is waited for any more."""
        return math.ceil(2 * self.expected(text) + 2 * self.frame_rate)

    def frames(self, text: int) -> int:
        """Frames that there is room for beside a text of so many tokens, its end, and the end of the audio."""
        most = (self.window - text - 2) // self.layout.codebooks
        return most if self.second_window is None else min(most, self.second_window - text - 2)

    def holds(self, text: str) -> bool:
        """Whether a text is spoken in one go: with half as much again to spare, and no longer than what was learnt."""
        tokens = len(self.encode(text))
        seconds = tokens * self.seconds_per_token
        return 1.5 * self.expected(tokens) <= self.frames(tokens) and seconds <= self.longest_seconds

    def pieces(self, text: str) -> list[str]:
        """A text cut at its sentences' ends, and further where a sentence is too long."""
        return [piece for sentence in sentences(text, max(len(text), 1)) for piece in self._fitting(sentence)]

    def halves(self, text: str) -> list[str]:
        """A text cut in two or three at a comma or a space; a word only where it does not fit the window."""
        tokens = len(self.encode(text))
        word = not _BETWEEN_WORDS.search(text[:-1]) and self.expected(tokens) <= self.frames(tokens)
        return [text] if word or len(text) < 2 else sentences(text, math.ceil(len(text) / 2))

    def _fitting(self, text: str) -> list[str]:
        halves = [text] if self.holds(text) else self.halves(text)
        return [text] if len(halves) < 2 else [piece for half in halves for piece in self._fitting(half)]
