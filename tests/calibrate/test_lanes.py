"""Lanes are pinned processes that serve the same cells at the same time, and whose failures are told."""

from __future__ import annotations

import os

import pytest

from sim.calibrate.measure.lanes import LaneFailed, Lanes, cores_of_lanes
from sim.calibrate.measure.pacing import Waiting
from sim.calibrate.measure.subject import Cell
from sim.calibrate.measure.visits import Visit
from sim.spec.problems import SpecError
from tests.calibrate.lane_sources import EchoSource, OneAtATime

VISITS = [Visit(Cell("table", 5), 3), Visit(Cell("table", 9), 2)]
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def test_one_lane_is_pinned_and_measures() -> None:
    with Lanes(EchoSource(), [(CORES[-1],)], Waiting(), seed=1) as lanes:
        assert lanes.load(["table", "dhe"]) == dict.fromkeys(("table", "dhe"), ("table", "top MLP", "encoder cache"))
        (block,) = lanes.measure(0, VISITS)
    mask = 1 << CORES[-1]
    assert block.times[Cell("table", 5)].tolist() == [[5, mask, 2, 7], [5, mask, 3, -1], [5, mask, 4, -1]]
    assert block.times[Cell("table", 9)].tolist() == [[9, mask, 6, 7], [9, mask, 7, -1]]
    assert block.reading.duration_ns > 0 and block.reading.spin_ns > 0


def test_what_was_measured_is_gone_when_the_next_is_loaded() -> None:
    with Lanes(OneAtATime(), [(CORES[-1],)], Waiting(), seed=1) as lanes:
        for name in ("table", "dhe", "hybrid"):
            lanes.load([name])
            lanes.measure(0, [Visit(Cell(name, 5), 3)])


@pytest.mark.skipif(len(CORES) < 2, reason="two lanes need two cores")
def test_a_fast_lane_serves_on_while_a_slow_one_is_not_done() -> None:
    with Lanes(EchoSource(), [(CORES[0],), (CORES[1],)], Waiting(), seed=1) as lanes:
        lanes.load(["table"])
        first = lanes.measure(0, VISITS)
        second = lanes.measure(1, VISITS)
    for fast, slow in (first, second):
        assert slow.times[Cell("table", 5)].shape == fast.times[Cell("table", 5)].shape == (3, 4)
        # The slow one serves what it must, four and three queries; the fast one more between its visits.
        slow_gap = slow.times[Cell("table", 9)][0, 2] - slow.times[Cell("table", 5)][-1, 2]
        fast_gap = fast.times[Cell("table", 9)][0, 2] - fast.times[Cell("table", 5)][-1, 2]
        assert slow_gap == 2 and fast_gap > 2


@pytest.mark.skipif(len(CORES) < 2, reason="two lanes need two cores")
@pytest.mark.parametrize(("block", "message"), [(99, "no block 99 here"), (98, "lane 1 died: exit code 3")])
def test_a_lane_that_fails_is_told_and_the_others_end(block: int, message: str) -> None:
    with Lanes(EchoSource(), [(CORES[0],), (CORES[1],)], Waiting(), seed=1) as lanes:
        lanes.load(["table"])
        with pytest.raises(LaneFailed, match=message):
            lanes.measure(block, VISITS)


def test_lanes_have_cores_of_their_own() -> None:
    assert cores_of_lanes(1, 1) == [(CORES[0],)]
    assert cores_of_lanes(1, len(CORES)) == [tuple(CORES)]
    with pytest.raises(SpecError, match=rf"{len(CORES) + 1} lanes of 1 threads need .*at most {len(CORES)}"):
        cores_of_lanes(len(CORES) + 1, 1)
