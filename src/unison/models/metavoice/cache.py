"""Keys and values of what has been decoded."""

from __future__ import annotations

from torch import Tensor

from unison.precision import cache_for

SMALLEST = 256
"""Positions of the smallest bucket; each following one is twice as long."""


class KeyValueCache:
    """Room for the keys and values of every block, [2, B, H, L, D] each, with L as needed: 256, 512, 1024, …

    Args:
        written: keys and values [2, B, H, T, D] of a block, which decide dtype and device; not kept.
        layers: how many blocks.
        longest: where growing ends.
    """

    def __init__(self, written: Tensor, layers: int, longest: int) -> None:
        self._longest = longest
        self.length = min(SMALLEST, longest)
        """Positions that there is room for."""
        self._blocks = [self._empty(written) for _ in range(layers)]

    def live(self, length: int) -> list[Tensor]:
        """Of every block, the first `length` positions, to be read and written; all views."""
        return [block.narrow(3, 0, length) for block in self.room(length)]

    def room(self, length: int) -> list[Tensor]:
        """Of every block, all positions there are, `length` at least; they stay where they are until it grows."""
        if length > self.length:
            self._grow(length)
        return self._blocks

    def keep(self, rows: Tensor, length: int) -> None:
        """Go on with some of the rows, and with so many positions."""
        self._blocks = [self._filled(block.narrow(3, 0, length).index_select(1, rows)) for block in self._blocks]

    def _grow(self, length: int) -> None:
        held = self.length
        while self.length < length:
            self.length *= 2
        self.length = min(self.length, self._longest)
        self._blocks = [self._filled(block.narrow(3, 0, held)) for block in self._blocks]

    def _filled(self, values: Tensor) -> Tensor:
        room = self._empty(values)
        room.narrow(3, 0, values.shape[3]).copy_(values)
        return room

    def _empty(self, written: Tensor) -> Tensor:
        return cache_for(written.flatten(0, 1), self.length).unflatten(0, (2, -1))
