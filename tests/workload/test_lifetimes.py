"""Alternating times up and down: their laws, their draws, and the share of time that a component is up."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sim.workload.lifetimes import LifetimeLaw, alternate
from sim.workload.streams import SMALLEST, open_stream

S = 10**9
MTBF_NS = 600 * S
MTTR_NS = 30 * S
LONG_NS = 2_000_000 * S


def durations(law: LifetimeLaw, until_ns: int = LONG_NS) -> tuple[np.ndarray, np.ndarray]:
    """Return the times up and down of one component over a long time, whole ones only."""
    changes = alternate(law, open_stream(5, "fault", 0), until_ns)
    changes = changes[: len(changes) // 2 * 2]
    lengths = np.diff(changes, prepend=0)
    return lengths[0::2], lengths[1::2]


def cv_of_weibull(shape: float) -> float:
    return math.sqrt(math.gamma(1 + 2 / shape) / math.gamma(1 + 1 / shape) ** 2 - 1)


@pytest.mark.parametrize("shape", [0.7, 1.0, 1.5, 4.0])
def test_times_up_have_the_mean_and_cv_of_their_weibull_law(shape: float) -> None:
    law = LifetimeLaw(MTBF_NS, MTTR_NS, shape)
    x = law.up_ns(open_stream(7, "fault", 0).uniforms(200_000)) / MTBF_NS
    n, cv = len(x), cv_of_weibull(shape)
    assert abs(x.mean() - 1) < 5 * cv / math.sqrt(n)
    # Standard error of a CV by the delta method, from the law's own skewness and kurtosis.
    skew, excess = (float(value) for value in stats.weibull_min.stats(shape, moments="sk"))
    error = cv * math.sqrt((excess + 2) / 4 + cv**2 - cv * skew) / math.sqrt(n)
    assert abs(x.std() / x.mean() - cv) < 5 * error


@pytest.mark.parametrize("shape", [0.7, 1.0, 1.5])
def test_times_up_follow_their_distribution_function(shape: float) -> None:
    up, _ = durations(LifetimeLaw(MTBF_NS, MTTR_NS, shape))
    assert len(up) > 2_000
    scale = MTBF_NS / math.gamma(1 + 1 / shape)
    # Dvoretzky, Kiefer and Wolfowitz: false alarm 1e-6.
    assert stats.kstest(up, stats.weibull_min(shape, scale=scale).cdf).statistic < math.sqrt(
        math.log(2e6) / (2 * len(up))
    )


def test_repairs_are_exponential_or_fixed() -> None:
    _, down = durations(LifetimeLaw(MTBF_NS, MTTR_NS))
    n = len(down)
    assert n > 2_000
    assert abs(down.mean() / MTTR_NS - 1) < 5 / math.sqrt(n)
    # The CV of an exponential sample has standard error 1/sqrt(n) too.
    assert abs(down.std() / down.mean() - 1) < 5 / math.sqrt(n)
    _, down = durations(LifetimeLaw(MTBF_NS, MTTR_NS, fixed_repair=True))
    assert len(down) > 2_000 and np.all(down == MTTR_NS)


def test_the_law_of_the_repairs_does_not_change_the_times_up() -> None:
    drawn, _ = durations(LifetimeLaw(MTBF_NS, MTTR_NS))
    fixed, _ = durations(LifetimeLaw(MTBF_NS, MTTR_NS, fixed_repair=True))
    n = min(len(drawn), len(fixed))
    assert np.array_equal(drawn[:n], fixed[:n])


def test_a_lifetime_and_a_repair_take_a_uniform_each_in_turn() -> None:
    u = open_stream(3, "fault", 2).uniforms(4)
    up = [round(-math.log1p(-x) * MTBF_NS) for x in u[0::2].tolist()]
    down = [round(-math.log1p(-x) * MTTR_NS) for x in u[1::2].tolist()]
    expected = np.cumsum([up[0], down[0], up[1], down[1]])
    changes = alternate(LifetimeLaw(MTBF_NS, MTTR_NS), open_stream(3, "fault", 2), LONG_NS)
    assert np.all(np.abs(changes[:4] - expected) <= 1)  # numpy and math may differ in the last bit of a logarithm.


def test_a_later_end_only_adds_changes() -> None:
    law = LifetimeLaw(2 * S, S)
    whole = alternate(law, open_stream(1, "fault", 0), 30_000 * S)
    assert len(whole) > 3 * 4096  # More than is drawn at once.
    for until_ns in (0, 5 * S, int(whole[6]), int(whole[9]) - 1, 14_000 * S):
        part = alternate(law, open_stream(1, "fault", 0), until_ns)
        assert np.array_equal(part, whole[whole <= until_ns])
    assert len(alternate(law, open_stream(1, "fault", 0), int(whole[6]))) == 7


def test_changes_are_at_least_a_nanosecond_apart() -> None:
    changes = alternate(LifetimeLaw(1, 1), open_stream(1, "fault", 0), 1_000)
    assert len(changes) > 100 and np.all(np.diff(changes, prepend=0) >= 1)


def test_the_longest_times_fit_into_64_bits() -> None:
    law = LifetimeLaw(2**62, 2**62, 0.1)
    ends = np.array([SMALLEST, 0.5, 1 - 2.0**-53])
    for drawn in (law.up_ns(ends), law.down_ns(ends)):
        assert np.all(drawn >= 1) and np.all(drawn <= 2**62)
    changes = alternate(law, open_stream(1, "fault", 0), 2**63 - 1)
    assert np.all(np.diff(changes, prepend=0) > 0)
