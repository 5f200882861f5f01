"""Whether a language model has lost its way: the same frames over and over."""

from __future__ import annotations

LOOP_SECONDS = 1.25
"""Frames that repeat for this long are a loop, of a few sounds or of silence; no speech does that code for code."""
PERIOD_SECONDS = 0.5
"""The longest run of frames that is looked for."""


class Repetition:
    """Looks at the frames of one voice, one after another."""

    def __init__(self, frame_rate: float) -> None:
        self.length = max(round(LOOP_SECONDS * frame_rate), 4)
        """Frames that make a loop."""
        self._longest = max(min(round(PERIOD_SECONDS * frame_rate), self.length // 2), 1)
        self._recent: list[tuple[int, ...]] = []
        self._runs = [0] * (self._longest + 1)
        """For each period, how many frames in a row were what they were a period before."""

    def add(self, frame: tuple[int, ...]) -> bool:
        """Whether, with this frame, the last `length` frames are one run of at most half a second, repeated."""
        for period in range(1, len(self._recent) + 1):
            same = frame == self._recent[-period]
            self._runs[period] = self._runs[period] + 1 if same else 0
        self._recent = [*self._recent, frame][-self._longest :]
        return any(run and run + period >= self.length for period, run in enumerate(self._runs))
