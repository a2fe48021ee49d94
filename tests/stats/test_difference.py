"""Differences of two sets of replications: by hand, exactly zero, covered as often as promised."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sim.stats.difference import beyond, difference
from sim.stats.interval import independent_difference, independent_ratio


def test_a_paired_difference_by_hand() -> None:
    """Differences are 1, 2 and 3: mean 2, standard error 1/sqrt(3), t(0.975, 2) = 4.302653."""
    found = difference([10.0, 20.0, 30.0], [11.0, 22.0, 33.0], paired=True)
    half = 4.302652729911275 / math.sqrt(3)
    assert (found.baseline, found.value) == (20.0, 22.0)
    assert found.absolute.value == 2.0
    assert (found.absolute.low, found.absolute.high) == pytest.approx((2.0 - half, 2.0 + half))
    assert found.relative.value == pytest.approx(0.1)
    assert found.within_noise


def test_welch_by_hand() -> None:
    """Means 12 and 2; variances of means 1/3 and 4/3, so (5/3)^2 / ((1/3)^2/2 + (4/3)^2/2) degrees of freedom."""
    found = independent_difference([11.0, 12.0, 13.0], [0.0, 2.0, 4.0])
    degrees = (5 / 3) ** 2 / ((1 / 3) ** 2 / 2 + (4 / 3) ** 2 / 2)
    assert degrees == pytest.approx(2.941176470588235)
    from scipy.stats import t

    half = t.ppf(0.975, degrees) * math.sqrt(5 / 3)
    assert found.value == 10.0
    assert (found.low, found.high) == pytest.approx((10.0 - half, 10.0 + half))


def test_equal_values_differ_by_exactly_nothing() -> None:
    values = [0.1, 0.7, 0.30000000000000004, 1e-9]
    found = difference(values, list(values), paired=True)
    assert (found.absolute.value, found.absolute.low, found.absolute.high) == (0.0, 0.0, 0.0)
    assert (found.relative.value, found.relative.low, found.relative.high) == (0.0, 0.0, 0.0)
    zero = difference([0.0, 0.0], [0.0, 0.0], paired=True)
    assert (zero.relative.value, zero.relative.low, zero.relative.high) == (0.0, 0.0, 0.0)


def test_one_replication_has_a_difference_without_an_interval() -> None:
    for paired in (True, False):
        found = difference([2.0], [3.0], paired=paired)
        assert (found.absolute.value, found.relative.value) == (1.0, 0.5)
        assert found.absolute.low is found.relative.low is None
        assert found.within_noise is None


def test_what_a_replication_lacks_has_no_difference() -> None:
    for paired in (True, False):
        assert difference([2.0, None], [3.0, 4.0], paired=paired).absolute.value is None


def test_an_excess_is_bounded_where_the_ratio_is_not() -> None:
    """The baseline cannot be told from zero, so no ratio can be bounded; the values are below it all the same."""
    baseline, values = [1.0, 20.0, 3.0], [0.5, 0.6, 0.7]
    assert difference(baseline, values, paired=False).relative.low is None
    excess = beyond(baseline, values, relative=0.02, paired=True)
    assert excess.low is not None
    assert excess.value == pytest.approx(0.6 - 1.02 * 8.0)


@pytest.mark.parametrize("ratio", [1.0, 1.3])
def test_independent_intervals_cover_as_often_as_they_say(ratio: float) -> None:
    """2,000 trials, five against eight replications of unequal variance: 95% +- 1.95 points at four standard errors."""
    rng = np.random.default_rng(20261124)
    hits = [0, 0]
    trials = 2000
    for _ in range(trials):
        a, b = rng.normal(10 * ratio, 2.0, 8).tolist(), rng.normal(10.0, 0.5, 5).tolist()
        for index, (found, truth) in enumerate(
            ((independent_difference(a, b), 10 * ratio - 10), (independent_ratio(a, b), ratio))
        ):
            assert found.low is not None
            assert found.high is not None
            hits[index] += found.low <= truth <= found.high
    for hit in hits:
        assert abs(hit / trials - 0.95) <= 4 * math.sqrt(0.95 * 0.05 / trials)
