"""Which blocks of a measurement were disturbed, and whether what is left is fit to be used: a rule fixed beforehand."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["BlockReading", "Rule", "Verdict", "block_disagreement", "judge"]

_Cell = TypeVar("_Cell", bound=Hashable)


@dataclass(frozen=True, slots=True)
class BlockReading:
    """What the machine says of one block.

    Attributes
    ----------
    duration_ns : int
        Time that the block took.
    spin_ns : int
        Time of a fixed piece of work beside the block, see `sim.calibrate.measure.readings.spin_ns`: the clock of the
        core.
    steal_ns : int or None
        Time that the hypervisor gave to others while this core had work, summed over the cores of the block; None
        where the system does not say.
    waiting_ns : int or None
        Time that threads of the measured process were ready to run and did not, summed over them.
    involuntary_switches : int or None
        How often a thread was taken off its core with work left.
    """

    duration_ns: int
    spin_ns: int
    steal_ns: int | None = None
    waiting_ns: int | None = None
    involuntary_switches: int | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """When a block is set aside, and when a measurement is unfit.

    Attributes
    ----------
    most_steal, most_waiting : float
        Share of the block's time.
    smallest_steal_ns : int
        Steal is counted in ticks of 10 ms; up to one tick says nothing.
    most_switches_per_s : float or None
        Involuntary context switches; None does not count them.
    fewest_switches : int
        So many are allowed in a block that is so short that the rate says nothing.
    most_clock_drift : float
        How far the spin may be from the median over the blocks, as a share of it.
    most_disagreement : float
        How far the service times of a block, size by size, may be from the medians over the blocks.
    most_set_aside : float
        Share of the blocks; when more are set aside the measurement is unfit.
    fewest_kept : int
        Blocks that must be left: with fewer nothing can be said of drift.
    """

    most_steal: float = 0.01
    most_waiting: float = 0.02
    smallest_steal_ns: int = 10_000_000
    most_switches_per_s: float | None = 50.0
    fewest_switches: int = 10
    most_clock_drift: float = 0.05
    most_disagreement: float = 0.10
    most_set_aside: float = 0.25
    fewest_kept: int = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which blocks are kept, and why the others are not.

    Attributes
    ----------
    reasons : tuple of str
        One a block; empty for a block that is kept.
    unfit : str
        Why the measurement as a whole is unfit; empty where it is fit.
    """

    reasons: tuple[str, ...]
    unfit: str

    @property
    def kept(self) -> tuple[bool, ...]:
        """Whether each block is kept."""
        return tuple(not reason for reason in self.reasons)

    @property
    def set_aside(self) -> int:
        """How many blocks are not kept."""
        return sum(1 for reason in self.reasons if reason)


def judge(readings: Sequence[BlockReading], disagreement: Sequence[float], rule: Rule | None = None) -> Verdict:
    """Set blocks aside and say whether the measurement is fit.

    Parameters
    ----------
    readings : sequence of BlockReading
        One a block, at least one.
    disagreement : sequence of float
        Of `block_disagreement`, one a block.
    rule : Rule, optional
        The one that docs/calibration.md states, if left out.
    """
    rule = rule or Rule()
    usual_spin = float(np.median([reading.spin_ns for reading in readings]))
    reasons = tuple(
        "; ".join(_disturbances(reading, off, usual_spin, rule))
        for reading, off in zip(readings, disagreement, strict=True)
    )
    aside = sum(1 for reason in reasons if reason)
    unfit = ""
    if aside > rule.most_set_aside * len(reasons):
        unfit = f"{aside} of {len(reasons)} blocks were disturbed, more than {rule.most_set_aside:.0%}"
    elif len(reasons) - aside < rule.fewest_kept:
        unfit = f"{len(reasons) - aside} undisturbed blocks are left, fewer than {rule.fewest_kept}"
    return Verdict(reasons, unfit)


def _disturbances(reading: BlockReading, disagreement: float, usual_spin: float, rule: Rule) -> list[str]:
    found = []
    steal, waiting, switches = reading.steal_ns, reading.waiting_ns, reading.involuntary_switches
    if steal is not None and steal > max(rule.smallest_steal_ns, rule.most_steal * reading.duration_ns):
        found.append(f"steal {steal / reading.duration_ns:.1%}")
    if waiting is not None and waiting > rule.most_waiting * reading.duration_ns:
        found.append(f"waiting for a core {waiting / reading.duration_ns:.1%}")
    most_per_s = rule.most_switches_per_s
    if (
        switches is not None
        and most_per_s is not None
        and switches > max(rule.fewest_switches, most_per_s * reading.duration_ns / 1e9)
    ):
        found.append(f"{switches} involuntary context switches in {reading.duration_ns / 1e9:.1f} s")
    drift = reading.spin_ns / usual_spin - 1
    if abs(drift) > rule.most_clock_drift:
        found.append(f"clock {drift:+.1%}")
    if abs(disagreement) > rule.most_disagreement:
        found.append(f"service times {disagreement:+.1%} from the other blocks")
    return found


def block_disagreement(blocks: Sequence[Mapping[_Cell, NDArray[np.int64]]]) -> list[float]:
    """How far each block is from the others: 0.1 means that it took 10% longer, over its cells.

    The median of each cell (representation and size) in the block over the median of these medians over all blocks;
    then the median of that over the cells. A block that lacks a cell is judged by the others.

    Parameters
    ----------
    blocks : sequence of mapping
        Service times in ns by cell, int64, any number of repeats.
    """
    medians = [{cell: float(np.median(times)) for cell, times in block.items() if times.size} for block in blocks]
    usual: dict[_Cell, float] = {}
    for cell in {cell for block in medians for cell in block}:
        usual[cell] = float(np.median([block[cell] for block in medians if cell in block]))
    return [
        float(np.median([value / usual[cell] for cell, value in block.items()])) - 1.0 if block else 0.0
        for block in medians
    ]
