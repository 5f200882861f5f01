"""Running moments against numpy on everything at once."""

import numpy as np

from unison.prepare.statistics import Moments, measure_statistics


def test_moments_in_pieces() -> None:
    rng = np.random.default_rng(0)
    # a mean far from 0 is where a sum of squares would lose its digits
    values = (1e4 + rng.standard_normal((1000, 3)) * [1, 0.1, 5]).astype(np.float32)
    moments = Moments()
    for piece in np.split(values, [1, 1, 10, 500]):
        moments.add(piece)
    np.testing.assert_allclose(moments.mean, values.astype(np.float64).mean(0), rtol=1e-12)
    np.testing.assert_allclose(moments.std, values.astype(np.float64).std(0), rtol=1e-9)


def test_what_does_not_vary_can_be_divided_by() -> None:
    clip = (np.full((5, 2), -11.5, np.float32), np.zeros(5, np.float32), np.ones(5, np.float32))
    statistics = measure_statistics([clip, clip])
    assert statistics.mel_mean == [-11.5, -11.5]
    assert statistics.mel_std == [1.0, 1.0]
    assert (statistics.f0_mean, statistics.f0_std) == (0.0, 1.0)
