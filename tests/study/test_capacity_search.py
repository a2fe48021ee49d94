"""The searches behind `mprec capacity`, on decisions that are given: brackets, whole numbers, mixes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import pytest

from sim.stats.decision import Decision, Judgement
from sim.study.capacity.bracket import bracketed
from sim.study.capacity.looking import Point
from sim.study.capacity.mix import MixSearch
from sim.study.capacity.saturation import saturating_rate
from sim.study.capacity.whole import whole_bracketed


def point(value: float, excess: float | None, width: float = 0.0, queries: float = 1000.0) -> Point:
    """What a look gives whose estimate is right and whose bounds are so far on either side of it."""
    decision = Decision.MISSES
    low = high = None
    if excess is not None:
        low, high = excess - width, excess + width
        decision = Decision.MEETS if high <= 1 else Decision.MISSES if low > 1 else Decision.OPEN
    judgement = Judgement(decision, excess, low, high, None, None, excess is None, False, "")
    return Point(value, (), queries, 10, judgement, None)  # type: ignore[arg-type]


@dataclass
class Looks:
    """A law of the excess over values, and what was looked at."""

    excess: object
    width: float = 0.0
    left: int = 40

    def __post_init__(self) -> None:
        self.values: list[float] = []

    def __call__(self, value: float) -> Point:
        self.values.append(value)
        self.left -= 1
        return point(value, self.excess(value), self.width)


def mm1(limit: float):
    """p99 over the SLA of an M/M/1 queue of rate 1000/s that meets it up to `limit`; None beyond saturation."""
    return lambda rate: (1000 - limit) / (1000 - rate) if rate < 1000 else None


@pytest.mark.parametrize("limit", [3.0, 250.0, 912.0, 990.0])
@pytest.mark.parametrize("ceiling", [None, 1000.0])
def test_a_bracket_holds_the_limit_and_is_as_narrow_as_asked(limit: float, ceiling: float | None) -> None:
    looks = Looks(mm1(limit))
    found = bracketed(looks, lambda: looks.left, start=500, tolerance=0.02, ceiling=ceiling)
    assert found.meets <= limit < found.misses
    assert found.reached
    assert found.misses / found.meets <= 1.02
    assert len(looks.values) <= 14
    assert found.estimate == pytest.approx(limit, rel=0.02)


def test_smaller_may_be_harder() -> None:
    # A percentile of 20 ms whatever the SLA: met from 20 ms on.
    looks = Looks(lambda sla: 20.0 / sla)
    found = bracketed(looks, lambda: looks.left, start=5, tolerance=0.01, harder=-1)
    assert found.misses < 20.0 <= found.meets
    assert found.meets / found.misses <= 1.01


def test_where_noise_is_too_large_the_bracket_is_wider_and_still_holds() -> None:
    looks = Looks(mm1(800), width=0.2)
    found = bracketed(looks, lambda: looks.left, start=500, tolerance=0.001)
    assert found.meets < 800 < found.misses
    assert not found.reached
    # 20% of a p99 that falls off as 1 / (1000 - rate): from 750 to 833 nothing can be decided.
    assert found.meets <= 750
    assert found.misses >= 833
    assert found.misses / found.meets < 1.3


def test_what_never_meets_is_left_when_easier_does_not_help() -> None:
    looks = Looks(lambda rate: 1.5 + rate / 1000)
    found = bracketed(looks, lambda: looks.left, start=500, tolerance=0.02)
    assert found.meets is None
    # 2.0 and 1.75: another 0.25 is left to gain, and twice that would not do.
    assert looks.values == [500, 250]
    assert found.misses == 250


def test_decisions_are_not_taken_beyond_their_number() -> None:
    looks = Looks(mm1(912), left=3)
    bracketed(looks, lambda: looks.left, start=10, tolerance=0.001)
    assert len(looks.values) == 3


def test_a_limit_that_is_not_single_is_said() -> None:
    # Meets at 500, misses just below it.
    looks = Looks(lambda rate: 0.9 if rate >= 490 else 1.1)
    found = bracketed(looks, lambda: looks.left, start=500, tolerance=0.02)
    assert not found.reached or found.meets < found.misses


@pytest.mark.parametrize("needed", [1, 2, 7, 16, 33])
@pytest.mark.parametrize("start", [1, 5, 40])
def test_the_smallest_whole_number(needed: int, start: int) -> None:
    looks = Looks(lambda count: needed / count)
    found = whole_bracketed(looks, lambda: looks.left, start=start)
    assert found.meets == needed
    assert (found.misses or 0) == needed - 1
    assert found.reached
    assert len(set(looks.values)) == len(looks.values)


def test_counts_are_shared_out_to_cells_and_the_work_alone_is_known_to_be_too_much() -> None:
    looks = Looks(lambda count: 19 / count)
    found = whole_bracketed(looks, lambda: looks.left, start=40, step=4, too_few=12)
    assert (found.meets, found.misses) == (20, 16)
    assert all(count % 4 == 0 and count > 12 for count in looks.values)


def test_an_open_count_leaves_a_gap() -> None:
    looks = Looks(lambda count: 10 / count, width=0.15)
    found = whole_bracketed(looks, lambda: looks.left, start=4)
    # 10/9 - 0.15 and 10/11 + 0.15 leave 9, 10 and 11 open.
    assert (found.misses, found.meets) == (8, 12)
    assert not found.reached


def brute_force(prices: tuple[float, ...], meets, most: int) -> float:
    mixes = product(range(most + 1), repeat=len(prices))
    return min(sum(n * p for n, p in zip(mix, prices, strict=True)) for mix in mixes if sum(mix) and meets(mix))


@pytest.mark.parametrize(
    ("prices", "speeds", "need"),
    [
        ((0.5, 0.4), (100, 70), 900),
        ((1.0, 0.3), (350, 100), 1000),
        ((0.9, 0.31, 0.2), (300, 100, 61), 930),
        ((2.0, 0.1), (10, 100), 450),
    ],
)
@pytest.mark.parametrize("monotone", [True, False])
def test_the_cheapest_mix_is_that_of_brute_force(prices, speeds, need, monotone) -> None:
    def meets(mix) -> bool:
        return sum(n * s for n, s in zip(mix, speeds, strict=True)) >= need

    looked = []

    def look(mix) -> Point:
        looked.append(mix)
        return point(0.0, 0.5 if meets(mix) else 1.5)

    search = MixSearch(
        look=look,
        cost=lambda mix, _: search.at_least(mix),
        least=dict(enumerate(prices)),
        start=(1,) * len(prices),
        step=1,
        monotone=monotone,
        looks_left=lambda: 10_000 - len(looked),
        fewest=(0,) * len(prices),
    )
    search.run()
    assert search.best_cost == pytest.approx(brute_force(prices, meets, 16))
    assert len(set(looked)) == len(looked)
    if monotone:
        assert len(looked) <= 60


def test_where_a_slow_node_hurts_only_a_search_that_takes_nothing_from_other_mixes_is_right() -> None:
    # Blind routing over unlike nodes: any slow node alone spoils it, so only fast ones do.
    def meets(mix) -> bool:
        return mix[0] >= 3 and mix[1] == 0

    def search_with(monotone: bool) -> MixSearch:
        search = MixSearch(
            look=lambda mix: point(0.0, 0.5 if meets(mix) else 1.5),
            cost=lambda mix, _: search.at_least(mix),
            least={0: 1.0, 1: 0.2},
            start=(1, 1),
            step=1,
            monotone=monotone,
            looks_left=lambda: 1,
            fewest=(0, 0),
        )
        search.run()
        return search

    assert search_with(False).best == (3, 0)


def test_a_cheaper_mix_that_stays_open_is_told() -> None:
    search = MixSearch(
        look=lambda mix: point(0.0, 3.5 / max(sum(mix), 0.1), width=0.2),
        cost=lambda mix, _: search.at_least(mix),
        least={0: 1.0, 1: 1.1},
        start=(1, 1),
        step=1,
        monotone=True,
        looks_left=lambda: 1,
        fewest=(0, 0),
    )
    search.run()
    # Three nodes miss for sure, five meet, four are open.
    assert sum(search.best) == 5
    assert any(sum(mix) == 4 for mix in search.unresolved())


@pytest.mark.parametrize("start", [10.0, 95.0, 400.0])
def test_the_load_that_saturates_is_closed_in_on(start: float) -> None:
    class Summary:
        def __init__(self, rate: float) -> None:
            self.saturated = rate >= 123.0

    free, full = saturating_rate(Summary, {}, start)
    assert free < 123.0 <= full
    assert full / free <= 1.05


def test_loads_that_are_known_are_not_run_again() -> None:
    def run(rate: float):
        raise AssertionError(rate)

    assert saturating_rate(run, {100.0: False, 104.0: True}, 50.0) == (100.0, 104.0)


def test_the_ease_of_mm1_is_a_straight_line() -> None:
    excess = mm1(770)
    assert 1 / excess(500) - 1 / excess(600) == pytest.approx(1 / excess(600) - 1 / excess(700))
    assert math.isclose(excess(770), 1.0)
