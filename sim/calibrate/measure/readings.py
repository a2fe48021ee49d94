"""Reads what disturbs a block: steal time, threads that wait for a core, context switches, the clock of the core."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sim.calibrate.measure.interference import BlockReading

__all__ = ["BETWEEN_QUERIES", "WHILE_IDLE", "Counters", "Look", "Observer", "read_counters", "spin_ns"]

SPIN_ROUNDS = 20_000


@dataclass(frozen=True, slots=True)
class Look:
    """How the clock of a core is looked at within a block.

    Where it changes from one moment to the next, as on some virtual machines, a look before and a look after a block
    say nothing of the seconds between them.

    Attributes
    ----------
    rounds : int
        Size of the piece of work.
    tries : int
        The least of so many counts, which no tick disturbs.
    every_ns : int
        How often at most.
    """

    rounds: int
    tries: int
    every_ns: int


BETWEEN_QUERIES = Look(SPIN_ROUNDS, 5, 100_000_000)
"""Where no query waits for the end of a look. It takes some 5 ms."""

WHILE_IDLE = Look(SPIN_ROUNDS // 50, 3, 10_000_000)
"""Where a query may come meanwhile. It takes some 30 us: one query in three hundred finds a core at it, and
waits for 15 us in the mean."""


@dataclass(frozen=True, slots=True)
class Counters:
    """Counts since the start of the machine or process; None where the system does not say."""

    steal_ns: int | None
    waiting_ns: int | None
    involuntary_switches: int | None


def spin_ns(clock: Callable[[], int] = time.perf_counter_ns, look: Look = BETWEEN_QUERIES) -> int:
    """Time of a fixed piece of work that fits the smallest cache, from a look at a piece of that or a smaller size.

    Parameters
    ----------
    clock : callable
        Nanoseconds that do not run backwards.
    look : Look
    """
    least = 0
    for _ in range(look.tries):
        started = clock()
        total = 0
        for step in range(look.rounds):
            total += step & 7
        took = clock() - started
        least = took if least == 0 else min(least, took)
    return max(least * SPIN_ROUNDS // look.rounds, 1)


def read_counters(cores: Sequence[int], proc: Path = Path("/proc")) -> Counters:
    """Read the counters of these cores and of all threads of this process.

    Parameters
    ----------
    cores : sequence of int
        Numbers of the cores whose steal time counts.
    proc : Path
        The proc file system.
    """
    return Counters(_steal_ns(cores, proc), _waiting_ns(proc), _involuntary_switches())


def _steal_ns(cores: Sequence[int], proc: Path) -> int | None:
    names = {f"cpu{core}" for core in cores}
    try:
        lines = (proc / "stat").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    # user nice system idle iowait irq softirq steal
    ticks = [int(line.split()[8]) for line in lines if line.split(" ", 1)[0] in names and len(line.split()) > 8]
    if not ticks:
        return None
    return sum(ticks) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def _waiting_ns(proc: Path) -> int | None:
    total, known = 0, False
    try:
        threads = sorted((proc / "self" / "task").iterdir())
    except OSError:
        return None
    for thread in threads:
        try:
            _running, waiting, *_ = (thread / "schedstat").read_text(encoding="utf-8").split()
        except (OSError, ValueError):
            # A thread that has just ended, or a kernel that does not count.
            continue
        known = True
        total += int(waiting)
    return total if known else None


def _involuntary_switches() -> int | None:
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


class Observer:
    """Watches one block: made before it, asked after it.

    Parameters
    ----------
    cores : sequence of int
        Cores that the block runs on.
    clock : callable
        Nanoseconds that do not run backwards.
    look : Look
        How it looks at the clock of the core within the block.
    """

    def __init__(
        self,
        cores: Sequence[int],
        clock: Callable[[], int] = time.perf_counter_ns,
        look: Look = BETWEEN_QUERIES,
    ) -> None:
        self._cores = tuple(cores)
        self._clock = clock
        self._look = look
        self._spins = [spin_ns(clock)]
        self._before = read_counters(self._cores)
        self._started_ns = self._looked_ns = clock()

    def glance(self) -> bool:
        """Look at the clock of the core, unless that was just done; return whether it did."""
        if self._clock() - self._looked_ns < self._look.every_ns:
            return False
        self._spins.append(spin_ns(self._clock, self._look))
        self._looked_ns = self._clock()
        return True

    def reading(self) -> BlockReading:
        """What happened since this observer was made; the spin is the mean of before, after and every glance."""
        duration_ns = self._clock() - self._started_ns
        now, before = read_counters(self._cores), self._before
        spins = [*self._spins, spin_ns(self._clock)]
        return BlockReading(
            duration_ns=max(duration_ns, 1),
            spin_ns=sum(spins) // len(spins),
            steal_ns=_since(now.steal_ns, before.steal_ns),
            waiting_ns=_since(now.waiting_ns, before.waiting_ns),
            involuntary_switches=_since(now.involuntary_switches, before.involuntary_switches),
        )


def _since(now: int | None, before: int | None) -> int | None:
    return None if now is None or before is None else max(now - before, 0)
