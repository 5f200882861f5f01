"""What the machine itself does: how fast it reads a matrix, and how many products it makes."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

MATRIX_BYTES = 2**29
SQUARE = {"cpu": 2048}
"""Rows of the matrices whose product shows the peak; 8192 on a GPU."""
_WIDTH = 8192
_Way = tuple[Tensor, Callable[[Tensor, Tensor], Tensor], int]
"""A matrix, the product, and threads."""


class MatrixVector:
    """Products of a matrix, larger than any cache, and a vector: nothing but the reading of weights.

    Of float32 and `dtype`, of `torch.mv` and `F.linear`, and on a processor of one thread and all, it keeps to the
    quickest, which is found when this is made.

    Args:
        device: where.
        dtype: what the model computes in.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._device, self._all, self.size = device, torch.get_num_threads(), MATRIX_BYTES
        kinds = sorted({torch.float32, dtype}, key=str)
        matrices = {
            kind: torch.ones(self.size // kind.itemsize // _WIDTH, _WIDTH, dtype=kind, device=device) for kind in kinds
        }
        counts = sorted({1, self._all}) if device.type == "cpu" else [self._all]
        ways: dict[float, _Way] = {}
        for kind, product, threads in itertools.product(kinds, (_mv, _linear), counts):
            self._way: _Way = (matrices[kind], product, threads)
            self.seconds()
            ways[statistics.median(self.seconds() for _ in range(3))] = self._way
        self._way = ways[min(ways)]

    @property
    def threads(self) -> int:
        """Of the quickest way."""
        return self._way[2]

    @property
    def bits(self) -> int:
        """Of a number of the quickest way's matrix."""
        return 8 * self._way[0].itemsize

    def seconds(self) -> float:
        """Of one product."""
        matrix, product, threads = self._way
        vector = matrix[0]
        # changing it costs something, and is not needed where it is no other
        if threads != self._all:
            torch.set_num_threads(threads)
        try:
            return seconds(lambda: product(matrix, vector), self._device, 1 if self._device.type == "cpu" else 10)
        finally:
            if threads != self._all:
                torch.set_num_threads(self._all)


def arithmetic_peak(device: torch.device, dtype: torch.dtype, repeats: int) -> float:
    """Floating-point operations a second of the quickest of several products of large square matrices."""
    n = SQUARE.get(device.type, 8192)
    a = torch.ones(n, n, dtype=dtype, device=device)
    torch.mm(a, a)
    return 2 * n**3 / min(seconds(lambda: torch.mm(a, a), device) for _ in range(repeats))


def seconds(function: Callable[[], object], device: torch.device, count: int = 1) -> float:
    """That a call takes, on the average of so many; on a GPU a call returns before its end."""
    _synchronize(device)
    start = time.perf_counter()
    for _ in range(count):
        function()
    _synchronize(device)
    return (time.perf_counter() - start) / count


def _synchronize(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _mv(matrix: Tensor, vector: Tensor) -> Tensor:
    return torch.mv(matrix, vector)


def _linear(matrix: Tensor, vector: Tensor) -> Tensor:
    return F.linear(vector[None], matrix)
