"""The rule that sets blocks of a session aside, by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sim.calibrate.measure.interference import BlockReading, judge
from sim.calibrate.observe.calibration import CalibrationBlock
from sim.calibrate.observe.fitness import MOST_GAP_NS, RULE, Block, assess, combined
from sim.calibrate.observe.speed import slowness, usual_times

PARTS = ("size", "part_query", "part_path", "part_start_ns", "part_finish_ns")

QUIET = BlockReading(duration_ns=10**9, spin_ns=1000, steal_ns=0, waiting_ns=0, involuntary_switches=0)
STOLEN = BlockReading(duration_ns=10**9, spin_ns=1000, steal_ns=10**8, waiting_ns=0, involuntary_switches=0)


def calibrated(factor: float) -> CalibrationBlock:
    return CalibrationBlock({(0, 8, idle): np.full(5, round(factor * 1e6)) for idle in (False, True)})


def session(
    factors: list[float], observed: list[BlockReading], lag_ns: int = 0, slow: dict[int, float] | None = None
) -> tuple[tuple[str, ...], list[str]]:
    blocks = [Block("calibration", -1, -1, QUIET, 0, 1e6)]
    for replication, reading in enumerate(observed):
        blocks += [
            Block("observed", 0, replication, reading, lag_ns, 1e6, slowness=1.1 * (slow or {}).get(replication, 1.0)),
            Block("calibration", -1, -1, QUIET, 0, 1e6),
        ]
    fitness = assess(blocks, [calibrated(factor) for factor in factors], ["load 0.5"])
    return fitness.reasons, list(fitness.unfit)


def test_a_quiet_session_is_fit() -> None:
    reasons, unfit = session([1.0, 1.01, 0.99, 1.0], [QUIET] * 3)
    assert reasons == ("",) * 7
    assert unfit == []


def test_slow_calibration_sets_aside_what_is_observed_beside_it_and_not_itself() -> None:
    reasons, _ = session([1.0, 1.0, 1.08, 1.0, 1.0], [QUIET] * 4)
    assert [i for i, one in enumerate(reasons) if one] == [3, 5]
    assert all("+8.0%" in reasons[block] for block in (3, 5))
    # At either end; two that are off beside each other; the further off is told.
    reasons, _ = session([0.9, 1.0, 1.0, 1.0, 1.0, 1.0, 1.2], [QUIET] * 6)
    assert [i for i, one in enumerate(reasons) if one] == [1, 11]
    reasons, _ = session([1.0, 1.0, 1.0, 0.9, 0.8, 1.0, 1.0, 1.0, 1.0], [QUIET] * 8)
    assert [i for i, one in enumerate(reasons) if one] == [5, 7, 9]
    assert "-20.0%" in reasons[7] and "-10.0%" in reasons[5]


def test_slow_observed_blocks_set_aside_the_calibration_beside_them() -> None:
    """From as near as calibration sets aside what is observed, or slow spells would be kept in one of the two."""
    reasons, _ = session([1.0] * 6, [QUIET] * 5, slow={2: 1.08, 4: 0.96})
    assert [i for i, one in enumerate(reasons) if one] == [4, 6]
    assert "+8.0%" in reasons[4]
    # A load at which service takes longer is not slow.
    calibration = Block("calibration", -1, -1, QUIET, 0, 1e6)
    blocks = [calibration]
    for load, slow in ((0, 1.0), (1, 1.3), (1, 1.3), (0, 1.0), (0, 1.2), (1, 1.3)):
        blocks += [Block("observed", load, 0, QUIET, 0, 1e6, slowness=slow), calibration]
    fitness = assess(blocks, [calibrated(1.0)] * 7, ["load 0.3", "load 0.5"])
    assert [i for i, one in enumerate(fitness.reasons) if one] == [8, 10]


def spells_of(random: np.random.Generator, fast_s: float, slow_s: float, until_s: float) -> np.ndarray:
    """When slow spells begin and end, in turns."""
    turns = int(3 * until_s / (fast_s + slow_s)) + 20
    return np.cumsum(random.exponential(np.tile([fast_s, slow_s], turns)))


def test_slow_spells_are_as_likely_left_in_calibration_as_in_what_is_observed() -> None:
    """One twelfth of the time service takes 20% longer, for ten seconds; blocks are 4.3 and 5.5 s."""
    random = np.random.default_rng(8)
    kinds = ["calibration", "calibration", "calibration", *["observed", "calibration"] * 150]
    ratios = []
    for _ in range(30):
        edges = np.cumsum([0.0, *(4.3 if kind == "calibration" else 5.5 for kind in kinds)])
        turns = spells_of(random, 115.0, 10.0, edges[-1])
        blocks, calibrations, means = [], [], []
        for kind, begin, end in zip(kinds, edges[:-1], edges[1:], strict=True):
            slow = np.searchsorted(turns, np.linspace(begin, end, 100)) % 2 == 1
            took_ns = 1e6 * (1 + 0.2 * slow)
            means.append(took_ns.mean())
            median = float(np.median(took_ns)) * (1 + 0.01 * random.standard_normal())
            if kind == "calibration":
                calibrations.append(CalibrationBlock({(0, 8, False): np.full(3, round(median))}))
                blocks.append(Block("calibration", -1, -1, QUIET, 0, 1e6))
            else:
                blocks.append(Block("observed", 0, len(blocks), QUIET, 0, 1e6, slowness=median / 1e6))
        left = np.array([not reason for reason in assess(blocks, calibrations, ["load 0.5"]).reasons])
        calibrated_ns, observed_ns = (
            np.mean(np.array(means)[left & (np.array(kinds) == kind)]) for kind in ("calibration", "observed")
        )
        ratios.append(calibrated_ns / observed_ns - 1)
    error = np.std(ratios, ddof=1) / np.sqrt(len(ratios))
    # Were calibration judged from twice as far, it would be 0.45%.
    assert error < 0.0006
    assert abs(np.mean(ratios)) < 0.0025


def test_how_slow_a_block_was_does_not_depend_on_its_queries() -> None:
    times = {(0, 8): 1e6, (0, 80): 2e6, (1, 8): 3e6}
    block = CalibrationBlock(
        {(*of, idle): np.full(5, (1 + idle) * time) for of, time in times.items() for idle in (0, 1)}
    )
    usual = usual_times([block, block])
    assert {path: times.tolist() for path, (_, times) in usual.items()} == {0: [1e6, 2e6], 1: [3e6]}

    def served(rows: list[tuple[int, int, float]]) -> float:
        path, size, took_ns = (np.array(column) for column in zip(*rows, strict=True))
        numbers = np.arange(len(rows))[::-1]
        record: Any = SimpleNamespace(
            size=size[numbers],
            part_query=numbers,
            part_path=path,
            part_start_ns=numbers,
            part_finish_ns=numbers + took_ns,
        )
        return slowness(record, usual)

    assert served([(0, 8, 1.1e6), (0, 44, 1.65e6), (1, 8, 3.3e6), (1, 800, 3.3e6)]) == pytest.approx(1.1)
    assert served([(0, 8, 1e6), (0, 80, 2e6), (1, 8, 90e6)]) == pytest.approx(1.0)
    nothing: Any = SimpleNamespace(**{name: np.zeros(0, dtype=np.int64) for name in PARTS})
    assert slowness(nothing, usual) == 1.0


def test_steal_sets_aside_the_block_it_fell_into() -> None:
    reasons, unfit = session([1.0] * 5, [QUIET, STOLEN, QUIET, QUIET])
    assert [i for i, one in enumerate(reasons) if one] == [3]
    assert unfit == []


def test_a_scenario_with_one_block_left_is_unfit() -> None:
    _, unfit = session([1.0] * 5, [STOLEN, STOLEN, STOLEN, QUIET])
    assert "load 0.5: 1 undisturbed of 4 observed blocks are left" in unfit


def test_a_dispatcher_that_lags_is_what_was_observed() -> None:
    reasons, _ = session([1.0] * 3, [QUIET] * 2, lag_ns=100_001)
    assert [bool(one) for one in reasons] == [False, True, False, True, False]
    assert session([1.0] * 3, [QUIET] * 2, lag_ns=100_000)[0] == ("",) * 5


def test_a_machine_that_was_stopped_sets_a_block_aside() -> None:
    blocks = [Block("calibration", -1, -1, QUIET, 0, 1e6, gap_ns) for gap_ns in (0, MOST_GAP_NS, MOST_GAP_NS + 1, 0)]
    fitness = assess(blocks, [calibrated(1.0)] * 4, [])
    assert [bool(one) for one in fitness.reasons] == [False, False, True, False]
    assert "stood still for 20 ms" in fitness.reasons[2]


def test_the_worst_process_counts() -> None:
    other = BlockReading(duration_ns=2 * 10**9, spin_ns=900, steal_ns=5, waiting_ns=7, involuntary_switches=3)
    whole = combined([QUIET, other])
    assert (whole.duration_ns, whole.spin_ns) == (2 * 10**9, 1000)
    assert (whole.steal_ns, whole.waiting_ns, whole.involuntary_switches) == (5, 7, 3)
    unknown = BlockReading(duration_ns=1, spin_ns=1)
    assert combined([QUIET, unknown]).steal_ns is None


def test_of_switches_that_a_spinning_process_suffers_only_the_time_counts() -> None:
    switched = replace(QUIET, involuntary_switches=5_000)
    assert judge([switched] * 3, [0.0] * 3, RULE).unfit == ""
    assert judge([switched] * 3, [0.0] * 3).unfit != ""
    assert judge([replace(switched, waiting_ns=30_000_000)] * 3, [0.0] * 3, RULE).unfit != ""
