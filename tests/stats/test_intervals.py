"""Intervals over replications: by hand, and by how often they cover the true value."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from sim.stats.interval import paired_difference, paired_ratio, t_interval

REPEATS = 4_000
# Five binomial standard errors around the nominal coverage; a right program fails once in 1.7 million.
TOLERANCE = 5 * math.sqrt(0.95 * 0.05 / REPEATS)


def test_three_values_by_hand():
    # Mean 2, standard error 1/sqrt(3), t(0.975, 2) = 4.302653.
    interval = t_interval([1.0, 2.0, 3.0])
    assert interval.value == 2
    assert interval.high - 2 == pytest.approx(4.302652729911275 / math.sqrt(3))
    assert 2 - interval.low == pytest.approx(interval.high - 2)
    assert interval.reason is None


def test_one_replication_gives_a_value_without_an_interval():
    interval = t_interval([3.5])
    assert (interval.value, interval.low, interval.high) == (3.5, None, None)
    assert paired_ratio([3.0], [2.0]).value == 1.5
    assert paired_ratio([3.0], [2.0]).low is None


@pytest.mark.parametrize("missing", [None, math.nan])
def test_a_missing_replication_is_not_averaged_away(missing):
    for interval in (
        t_interval([1.0, missing, 2.0]),
        paired_difference([1.0, 1.0], [1.0, missing] if missing is None else [1.0, math.nan]),
        paired_ratio([1.0, 1.0], [1.0, missing]),
    ):
        assert (interval.value, interval.low, interval.high) == (None, None, None)
        assert interval.reason


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="no replication"):
        t_interval([])
    with pytest.raises(ValueError, match="confidence"):
        t_interval([1.0, 2.0], confidence=95)
    with pytest.raises(ValueError, match="equally many"):
        paired_difference([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="equally many"):
        paired_ratio([1.0], [1.0, 2.0])


def test_a_scenario_against_itself_is_exactly_no_difference():
    values = np.random.default_rng(1).lognormal(3, 1, 7).tolist()
    difference, ratio = paired_difference(values, values), paired_ratio(values, values)
    assert (difference.value, difference.low, difference.high) == (0, 0, 0)
    assert (ratio.value, ratio.low, ratio.high) == (1, 1, 1)


def test_the_ratio_is_of_means_not_a_mean_of_ratios():
    assert paired_ratio([1.0, 3.0], [1.0, 2.0]).value == 4 / 3


def test_a_baseline_that_may_be_zero_bounds_no_ratio():
    ratio = paired_ratio([1.0, 2.0, 3.0], [-1.0, 0.5, 1.0])
    assert ratio.value is not None
    assert (ratio.low, ratio.high) == (None, None)
    assert "zero" in ratio.reason
    assert paired_ratio([1.0, 2.0], [0.0, 0.0]).value is None


def test_the_ratio_interval_solves_fieller_s_equation():
    rng = np.random.default_rng(2)
    b = rng.normal(10, 1, 6)
    a = 2 * b + rng.normal(0, 1, 6)
    ratio = paired_ratio(a.tolist(), b.tolist())
    for end in (ratio.low, ratio.high):
        d = a - end * b
        assert abs(d.mean()) / (d.std(ddof=1) / math.sqrt(6)) == pytest.approx(2.5705818366147395)


def coverage(intervals, truth):
    return np.mean([i.low <= truth <= i.high for i in intervals])


@pytest.mark.parametrize("replications", [2, 5, 10])
def test_mean_and_difference_cover_what_they_claim(replications):
    rng = np.random.default_rng(replications)
    shared = rng.normal(5, 2, (REPEATS, replications))
    a, b = shared + rng.normal(1, 0.3, shared.shape), shared + rng.normal(0, 0.3, shared.shape)
    assert abs(coverage([t_interval(x.tolist()) for x in a], 6) - 0.95) < TOLERANCE
    differences = [paired_difference(x.tolist(), y.tolist()) for x, y in zip(a, b, strict=True)]
    assert abs(coverage(differences, 1) - 0.95) < TOLERANCE
    # Common random numbers pay: the standard error falls from 2.9 to 0.42, so the intervals by that factor.
    unpaired = [t_interval((x - y[::-1]).tolist()) for x, y in zip(a, b[::-1], strict=True)]
    assert np.mean([i.high - i.low for i in unpaired]) > 3 * np.mean([i.high - i.low for i in differences])


@pytest.mark.parametrize("replications", [3, 5, 10])
@pytest.mark.parametrize("spread", [0.02, 0.1])
def test_the_ratio_covers_what_it_claims(replications, spread):
    # Throughputs of two scenarios that share 90% of their variance; the true gain is 2.5.
    rng = np.random.default_rng(replications)
    common = rng.normal(0, spread * math.sqrt(0.9), (REPEATS, replications))
    b = 100 * (1 + common + rng.normal(0, spread * math.sqrt(0.1), common.shape))
    a = 250 * (1 + common + rng.normal(0, spread * math.sqrt(0.1), common.shape))
    intervals = [paired_ratio(x.tolist(), y.tolist()) for x, y in zip(a, b, strict=True)]
    assert all(i.low is not None for i in intervals)
    assert abs(coverage(intervals, 2.5) - 0.95) < TOLERANCE


def test_importing_the_statistics_does_not_import_scipy():
    code = "import sys, sim.stats.summary; sys.exit('scipy' in sys.modules or 'numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
