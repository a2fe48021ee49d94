"""Blocks that were disturbed are set aside by the rule, hand-worked, and by nothing else."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sim.calibrate.measure.interference import BlockReading, Rule, block_disagreement, judge
from sim.calibrate.measure.readings import BETWEEN_QUERIES, WHILE_IDLE, Look, Observer, read_counters, spin_ns

QUIET = BlockReading(duration_ns=2_000_000_000, spin_ns=1000, steal_ns=0, waiting_ns=0, involuntary_switches=0)


def verdict_of(odd: BlockReading, disagreement: float = 0.0, quiet: int = 7) -> tuple[str, str]:
    verdict = judge([QUIET] * quiet + [odd], [0.0] * quiet + [disagreement])
    assert verdict.reasons[:quiet] == ("",) * quiet
    return verdict.reasons[-1], verdict.unfit


@pytest.mark.parametrize(
    ("odd", "disagreement", "reason"),
    [
        ({"steal_ns": 20_000_000}, 0.0, ""),
        ({"steal_ns": 30_000_000}, 0.0, "steal 1.5%"),
        ({"waiting_ns": 40_000_000}, 0.0, ""),
        ({"waiting_ns": 50_000_000}, 0.0, "waiting for a core 2.5%"),
        ({"involuntary_switches": 100}, 0.0, ""),
        ({"involuntary_switches": 101}, 0.0, "101 involuntary context switches in 2.0 s"),
        ({"spin_ns": 1049}, 0.0, ""),
        ({"spin_ns": 1060}, 0.0, "clock +6.0%"),
        ({"spin_ns": 900}, 0.0, "clock -10.0%"),
        ({}, 0.1, ""),
        ({}, -0.2, "service times -20.0% from the other blocks"),
        ({"steal_ns": None, "waiting_ns": None, "involuntary_switches": None}, 0.0, ""),
    ],
)
def test_each_disturbance_has_its_limit(odd: dict[str, int | None], disagreement: float, reason: str) -> None:
    assert verdict_of(replace(QUIET, **odd), disagreement) == (reason, "")


def test_one_tick_of_steal_in_a_short_block_says_nothing() -> None:
    short = replace(QUIET, duration_ns=100_000_000, steal_ns=10_000_000)
    assert verdict_of(short) == ("", "")
    assert verdict_of(replace(short, steal_ns=20_000_000))[0] == "steal 20.0%"


def test_ten_switches_in_a_short_block_say_nothing() -> None:
    short = replace(QUIET, duration_ns=100_000_000, involuntary_switches=10)
    assert verdict_of(short) == ("", "")
    assert verdict_of(replace(short, involuntary_switches=11))[0] == "11 involuntary context switches in 0.1 s"


def test_more_than_a_quarter_disturbed_is_unfit() -> None:
    odd = replace(QUIET, waiting_ns=1_000_000_000)
    assert judge([QUIET] * 6 + [odd] * 2, [0.0] * 8).unfit == ""
    verdict = judge([QUIET] * 5 + [odd] * 3, [0.0] * 8)
    assert verdict.unfit == "3 of 8 blocks were disturbed, more than 25%"
    assert verdict.set_aside == 3
    assert verdict.kept == (True,) * 5 + (False,) * 3


def test_two_blocks_show_no_drift() -> None:
    assert judge([QUIET] * 2, [0.0] * 2).unfit == "2 undisturbed blocks are left, fewer than 3"
    assert judge([QUIET] * 2, [0.0] * 2, Rule(fewest_kept=2)).unfit == ""


def test_a_slow_block_disagrees_by_as_much_as_it_is_slow() -> None:
    usual = {("table", 1): np.array([100, 100, 130]), ("table", 64): np.array([1000, 1010, 1020])}
    slow = {cell: times * 12 // 10 for cell, times in usual.items()}
    assert block_disagreement([usual, usual, slow]) == pytest.approx([0.0, 0.0, 0.2])


def test_a_block_is_compared_cell_by_cell() -> None:
    """A block that happens to hold the large sizes only is no slow block."""
    small = {1: np.array([100, 100])}
    large = {4096: np.array([90_000])}
    assert block_disagreement([{**small, **large}, small, large]) == [0.0, 0.0, 0.0]


def test_steal_is_read_of_the_cores_that_are_measured(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text(
        "".join(
            f"{name} 1 1 1 1 1 1 1 {steal} 0 0\n"
            for name, steal in (("cpu", 600), ("cpu0", 100), ("cpu1", 200), ("cpu10", 300))
        )
    )
    for thread, waiting in (("1", 500), ("2", 70)):
        (tmp_path / "self" / "task" / thread).mkdir(parents=True)
        (tmp_path / "self" / "task" / thread / "schedstat").write_text(f"9 {waiting} 3\n")
    counters = read_counters([1], tmp_path)
    assert counters.steal_ns == 2_000_000_000
    assert counters.waiting_ns == 570
    empty = read_counters([1], tmp_path / "nothing")
    assert (empty.steal_ns, empty.waiting_ns) == (None, None)


def test_the_spin_is_the_least_of_its_tries() -> None:
    # Five tries of 9, 7, 30, 8 and 11 ns.
    stamps = iter([0, 9, 100, 107, 200, 230, 300, 308, 400, 411])
    assert spin_ns(lambda: next(stamps)) == 7


def test_a_block_is_timed_without_its_spins() -> None:
    ticks = itertools.count(0, 10)
    observer = Observer([0], lambda: next(ticks))
    assert observer.reading().duration_ns == 10


def test_a_short_look_says_the_time_of_the_whole_piece_of_work() -> None:
    # Three tries of 12, 10 and 11 ns for a fiftieth of the work.
    stamps = iter([0, 12, 100, 110, 200, 211])
    assert spin_ns(lambda: next(stamps), WHILE_IDLE) == 50 * 10


@pytest.mark.parametrize("look", [BETWEEN_QUERIES, WHILE_IDLE], ids=["long", "short"])
def test_the_clock_is_looked_at_throughout_a_block(look: Look) -> None:
    """A core that is slow before and after a block, and fast in between."""
    now, took = 0, 30

    def clock() -> int:
        nonlocal now
        now += took
        return now

    observer = Observer([0], clock, look)
    took = 10
    assert not observer.glance()
    for _ in range(3):
        now += look.every_ns
        assert observer.glance()
    took = 30
    # Before, three glances, after: the first glance came too early.
    within = 10 * BETWEEN_QUERIES.rounds // look.rounds
    assert observer.reading().spin_ns == (30 + 3 * within + 30) // 5
