"""When intervals are narrow enough, and how many replications the next round has."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sim.stats.interval import t_interval
from sim.stats.merge import Metric
from sim.stats.precision import PrecisionGoal, PrecisionOutcome, judge_precision, next_replications

GOAL = PrecisionGoal(("a",), 0.02, relative=True, max_replications=200)


def metric(*values: float, reason: str | None = None) -> Metric:
    if not values:
        return Metric(None, None, None, reason, ())
    interval = t_interval(values)
    return Metric(interval.value, interval.low, interval.high, interval.reason, values)


def test_the_half_width_by_hand() -> None:
    # Mean 2, t(0.975, 2) / sqrt(3) = 2.48414: as a share 1.24207.
    outcome = judge_precision(GOAL, {"a": metric(1, 2, 3), "b": metric(1, 9)}, {}, 0.95)
    assert not outcome.reached
    assert outcome.half_width == pytest.approx(4.302652729911275 / math.sqrt(3) / 2)
    wide = PrecisionGoal(("a",), 2.4842, relative=False, max_replications=200)
    assert judge_precision(wide, {"a": metric(1, 2, 3)}, {}, 0.95).reached
    narrow = PrecisionGoal(("a",), 2.4841, relative=False, max_replications=200)
    assert not judge_precision(narrow, {"a": metric(1, 2, 3)}, {}, 0.95).reached


def test_the_widest_interval_decides_that_of_a_class_too() -> None:
    goal = PrecisionGoal(("a", "b"), 0.5, relative=True, max_replications=200)
    metrics = {"a": metric(1.0, 1.01), "b": metric(1.0, 1.02)}
    outcome = judge_precision(goal, metrics, {}, 0.95)
    assert outcome.reached and outcome.metric == "b"
    outcome = judge_precision(goal, metrics, {"high": {"a": metric(1.0, 3.0)}}, 0.95)
    assert not outcome.reached and outcome.metric == "high: a"


def test_an_interval_that_was_cut_to_what_is_possible_is_not_taken_for_a_narrow_one() -> None:
    cut = Metric(0.5, 0.4, 1.0, None, (0.1, 0.9))
    outcome = judge_precision(PrecisionGoal(("a",), 1.0, relative=False, max_replications=9), {"a": cut}, {}, 0.95)
    assert outcome.half_width == pytest.approx(12.706204736432095 * 0.4)


def test_where_there_is_no_interval_nothing_is_added() -> None:
    outcome = judge_precision(GOAL, {"a": metric(reason="saturated")}, {}, 0.95)
    assert outcome == PrecisionOutcome(False, "a", None, 0.02, True, "saturated")
    assert next_replications(GOAL, outcome, 10) == 10
    zero = judge_precision(GOAL, {"a": metric(-1.0, 1.0)}, {}, 0.95)
    assert zero.half_width is None and "zero" in (zero.reason or "")
    constant = judge_precision(GOAL, {"a": metric(0.0, 0.0)}, {}, 0.95)
    assert constant.reached and constant.half_width == 0


@pytest.mark.parametrize(
    ("half_width", "replications", "expected"),
    [
        (0.020, 10, 10),  # Narrow enough.
        (0.021, 10, 13),  # A quarter more at least.
        (0.028, 10, 20),  # (1.4)^2 = 1.96.
        (0.200, 10, 30),  # Three times at most.
        (0.200, 90, 200),  # As many as there may be.
        (0.200, 200, 200),
    ],
)
def test_the_next_round_by_hand(half_width: float, replications: int, expected: int) -> None:
    outcome = PrecisionOutcome(half_width <= 0.02, "a", half_width, 0.02, True)
    assert next_replications(GOAL, outcome, replications) == expected


@pytest.mark.parametrize("first", [5, 10])
def test_stopping_by_the_interval_costs_little_coverage(first: int) -> None:
    # Replications with a standard deviation of 15% need 216 for 2%, 35 for 5%. Nominal 95%, less what a stop by chance
    # costs; five binomial standard errors of 1,500 repeats below it.
    rng = np.random.default_rng(first)
    repeats, covered, used = 1_500, 0, []
    goal = PrecisionGoal(("a",), 0.05, relative=True, max_replications=400)
    for _ in range(repeats):
        values = rng.normal(1, 0.15, 400).tolist()
        count = first
        while True:
            outcome = judge_precision(goal, {"a": metric(*values[:count])}, {}, 0.95)
            following = next_replications(goal, outcome, count)
            if following == count:
                break
            count = following
        used.append(count)
        low, high = (getattr(t_interval(values[:count]), end) for end in ("low", "high"))
        covered += low <= 1 <= high
        assert outcome.reached
    print(f"from {first} replications: {covered / repeats:.1%} of {repeats} covered, {np.mean(used):.1f} on average")
    assert covered / repeats > 0.93 - 5 * math.sqrt(0.95 * 0.05 / repeats)
    assert 30 < np.mean(used) < 55
