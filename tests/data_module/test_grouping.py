"""Places by name."""

from __future__ import annotations

import numpy as np

from unison.data.grouping import places_of


def test_places_are_those_of_a_search() -> None:
    names = [str(name) for name in np.random.default_rng(0).choice(["bo", "张", "", "ann", "Z"], 200)]
    found = places_of(names)
    assert list(found) == sorted(set(names))
    for name, places in found.items():
        assert places.tolist() == [i for i, other in enumerate(names) if other == name]
    assert places_of([]) == {}
