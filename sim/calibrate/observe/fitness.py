"""Which blocks of a session are set aside, by a rule fixed beforehand, and whether the session is fit to judge by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sim.calibrate.measure.interference import BlockReading, Rule, block_disagreement, judge
from sim.calibrate.observe.calibration import CalibrationBlock

__all__ = ["MOST_GAP_NS", "MOST_LAG", "RULE", "Block", "Fitness", "assess", "combined"]

RULE = Rule(most_disagreement=0.05, most_switches_per_s=None)
"""Steal, waits for a core and clock as in `mprec calibrate measure`; service times of the blocks beside a block may be
5% from those of others of their kind and load, because the errors that are judged are as small as that. Context
switches are not counted: dispatcher and workers spin, so whatever else runs for a moment switches one of them out, and
what that costs is in the waits."""

MOST_LAG = 0.10
"""Largest p99 of the time from a scheduled arrival to the end of its dispatch, over the mean service time: beyond it
the dispatcher, and not the workers, is what was observed."""

MOST_GAP_NS = 20_000_000
"""Longest time that the dispatcher may stand still. A whole machine that is stopped for a while shows nowhere else."""

FEWEST_OBSERVED = 2
"""Blocks of a scenario that must be left."""


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a session.

    Attributes
    ----------
    kind : {"calibration", "observed"}
    scenario, replication : int
        Of an observed block; -1 of a calibration block.
    reading : BlockReading
        What disturbed the cores of workers and dispatcher.
    lag_p99_ns : int
        See `MOST_LAG`; 0 of a calibration block.
    mean_service_ns : float
        Mean time that a query cost on its lane.
    longest_gap_ns : int
        Longest time that the dispatcher stood still.
    slowness : float
        Of an observed block, see `sim.calibrate.observe.speed.slowness`.
    """

    kind: Literal["calibration", "observed"]
    scenario: int
    replication: int
    reading: BlockReading
    lag_p99_ns: int
    mean_service_ns: float
    longest_gap_ns: int = 0
    slowness: float = 1.0


@dataclass(frozen=True, slots=True)
class Fitness:
    """What is kept of a session.

    Attributes
    ----------
    reasons : tuple of str
        By block: why it is set aside; empty where it is kept.
    unfit : tuple of str
        Why the session as a whole is unfit; nothing where it is fit.
    """

    reasons: tuple[str, ...]
    unfit: tuple[str, ...]


def assess(blocks: Sequence[Block], calibrations: Sequence[CalibrationBlock], names: Sequence[str]) -> Fitness:
    """Set blocks aside and say whether the session is fit.

    Service times never decide whether they are kept themselves: any block goes by its own reading and by the service
    times of the blocks before and after it, which are those of calibration for an observed block, and observed ones for
    one of calibration; an observed block is compared with the others at its load, never with a prediction. So a wrong
    prediction cannot set aside what proves it wrong, and as both kinds are judged from the same distance, slow spells
    that no reading shows are as likely left in calibration as in what is observed.

    Parameters
    ----------
    blocks : sequence of Block
        In the order in which they were run; the first and the last are calibration blocks.
    calibrations : sequence of CalibrationBlock
        Of the calibration blocks, in their order.
    names : sequence of str
        Of the scenarios.
    """
    own = _from_others(blocks, calibrations)
    off = [max((*own[max(0, i - 1) : i], *own[i + 1 : i + 2]), key=abs, default=0.0) for i in range(len(blocks))]
    verdict = judge([block.reading for block in blocks], off, RULE)
    reasons = [
        "; ".join(part for part in (reason, *_late_dispatch(block)) if part)
        for reason, block in zip(verdict.reasons, blocks, strict=True)
    ]
    unfit = [verdict.unfit] if verdict.unfit else []
    for scenario, name in enumerate(names):
        mine = [reason for block, reason in zip(blocks, reasons, strict=True) if block.scenario == scenario]
        left = sum(not reason for reason in mine)
        if left < min(FEWEST_OBSERVED, len(mine)):
            unfit.append(f"{name}: {left} undisturbed of {len(mine)} observed blocks are left")
    return Fitness(tuple(reasons), tuple(unfit))


def _from_others(blocks: Sequence[Block], calibrations: Sequence[CalibrationBlock]) -> list[float]:
    """How far the service times of each block are from those of the others of its kind, and of its load."""
    of_calibration = iter(block_disagreement([block.times_ns for block in calibrations]))
    usual = {
        scenario: float(np.median([block.slowness for block in blocks if block.scenario == scenario]))
        for scenario in {block.scenario for block in blocks if block.kind == "observed"}
    }
    return [
        next(of_calibration) if block.kind == "calibration" else block.slowness / usual[block.scenario] - 1.0
        for block in blocks
    ]


def _late_dispatch(block: Block) -> list[str]:
    """Return in what way the dispatcher was not there when it should have been."""
    found = []
    if block.lag_p99_ns > MOST_LAG * block.mean_service_ns:
        found.append(f"the dispatcher was {block.lag_p99_ns / 1e6:.2f} ms late at p99")
    if block.longest_gap_ns > MOST_GAP_NS:
        found.append(f"the dispatcher stood still for {block.longest_gap_ns / 1e6:.0f} ms")
    return found


def combined(readings: Sequence[BlockReading]) -> BlockReading:
    """Return the reading of a block over several processes: the worst of each, because the rule is for one."""

    def worst(name: str) -> int | None:
        values = [getattr(one, name) for one in readings]
        return None if any(value is None for value in values) else max(values)

    return BlockReading(
        duration_ns=max(one.duration_ns for one in readings),
        spin_ns=max(one.spin_ns for one in readings),
        steal_ns=worst("steal_ns"),
        waiting_ns=worst("waiting_ns"),
        involuntary_switches=worst("involuntary_switches"),
    )
