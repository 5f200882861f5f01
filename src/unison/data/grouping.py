"""Where each name stands in a sequence of them. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def places_of(names: Sequence[str]) -> dict[str, np.ndarray]:
    """Of each name, sorted by name, the places that have it, int64 and ascending."""
    if not names:
        return {}
    found, own, counts = np.unique(np.asarray(names), return_inverse=True, return_counts=True)
    places = np.split(np.argsort(own, kind="stable"), np.cumsum(counts)[:-1])
    return dict(zip(found.tolist(), places, strict=True))
