"""Dynamic time warping, in memory that grows with the length of the sequences and not with its square.

Salvador and Chan (2007), "Toward accurate dynamic time warping in linear time and space": the path of coarser sequences
says where the fine one is looked for. Short sequences are searched in full.
"""

from __future__ import annotations

import numpy as np

FULL_CELLS = 1 << 22
"""Pairs of frames that are all looked at: two sequences of 2,048."""
POOLED = 8
"""Frames in one of the coarser sequence."""
RADIUS = 2
"""Coarser frames around the coarser path where the fine one is looked for."""


def align(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The path from corner to corner (steps right, down, diagonal) with the least sum of Euclidean distances.

    Args:
        a: float [N, C], N at least 1.
        b: float [M, C], M at least 1.

    Returns:
        int64 [P] and [P]: the frames of `a` and of `b` that belong together; every frame occurs.
    """
    return _least_path(a, b, *_where_to_look(a, b))


def _where_to_look(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first frame of `b`, and the one behind the last, for each frame of `a`."""
    n, m = len(a), len(b)
    if n * m <= FULL_CELLS:
        return np.zeros(n, np.int64), np.full(n, m)
    i, j = align(_coarser(a), _coarser(b))
    first, last = np.full(i[-1] + 1, m), np.zeros(i[-1] + 1, np.int64)
    np.minimum.at(first, i, j)
    np.maximum.at(last, i, j)
    low = np.maximum((first - RADIUS) * POOLED, 0)
    high = np.minimum((last + 1 + RADIUS) * POOLED, m)
    return low.repeat(POOLED)[:n], high.repeat(POOLED)[:n]


def _coarser(frames: np.ndarray) -> np.ndarray:
    starts = np.arange(0, len(frames), POOLED)
    sums = np.add.reduceat(frames, starts)
    return sums / np.diff(np.append(starts, len(frames)))[:, None]


def _least_path(a: np.ndarray, b: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    sums: list[np.ndarray] = []
    for i, (start, end) in enumerate(zip(low, high, strict=True)):
        distances = np.sqrt(((b[start:end] - a[i]) ** 2).sum(1))
        if i == 0:
            entry = np.where(np.arange(end - start) == 0, 0.0, np.inf)
        else:
            above = _columns(sums[-1], low[i - 1], start - 1, end)
            entry = np.minimum(above[:-1], above[1:])
        # a cell is reached from the row above at one of the columns up to its own, and from there by steps right
        run = distances.cumsum()
        sums.append(run + np.minimum.accumulate(entry - (run - distances)))
    i, j = len(a) - 1, len(b) - 1
    path = [(i, j)]
    while i or j:
        left = sums[i][j - 1 - low[i]] if j > low[i] else np.inf
        diagonal, up = _columns(sums[i - 1], low[i - 1], j - 1, j + 1) if i else (np.inf, np.inf)
        if diagonal <= min(left, up):
            i, j = i - 1, j - 1
        elif up <= left:
            i -= 1
        else:
            j -= 1
        path.append((i, j))
    rows, columns = np.array(path[::-1]).T
    return rows, columns


def _columns(row: np.ndarray, offset: int, start: int, end: int) -> np.ndarray:
    """Columns `start` … `end - 1` of a row that holds those from `offset` on; infinity where it has none."""
    columns = np.full(end - start, np.inf)
    first = max(start, offset)
    last = max(first, min(end, offset + len(row)))
    columns[first - start : last - start] = row[first - offset : last - offset]
    return columns
