"""What fails or is maintained, and when: a scenario's faults, and the schedule of one replication."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.serving.components import Component, DeviceNumbers, Devices
from sim.spec.experiment import Experiment
from sim.spec.faults import CrashSpec, LifetimeSpec, MaintenanceSpec, SlowSpec, SlowSpellSpec
from sim.workload.lifetimes import LifetimeLaw, alternate
from sim.workload.streams import open_stream

__all__ = [
    "Change",
    "DrawnFault",
    "FaultPlan",
    "FaultSchedule",
    "RollingMaintenance",
    "TimedFault",
    "plan_faults",
    "slowdowns",
]


class Change(IntEnum):
    """What a row of the schedule does to its device; each pair nests."""

    DOWN = 0
    UP = 1
    SLOW = 2
    NORMAL = 3
    CLOSE = 4
    OPEN = 5


END = {Change.DOWN: Change.UP, Change.SLOW: Change.NORMAL, Change.CLOSE: Change.OPEN}


@dataclass(frozen=True, slots=True)
class FaultSchedule:
    """Everything that happens to the devices of a cell in one replication.

    A device is up when it has seen as many UPs as DOWNs. It takes new queries when it is up and has seen as many OPENs
    as CLOSEs; a closed one that is up serves what is there. Its service times are multiplied by the factors of all
    SLOWs whose NORMAL has not come; a NORMAL row repeats the factor that it ends. At the start every device is up, open
    and as fast as its profile.

    Attributes
    ----------
    time_ns : int64, shape (rows,)
        Ascending. Rows of one time stand in the order of the entries of the file (crashes, lifetimes, slow,
        maintenance), then of devices, then in the order in which they have to be carried out.
    device : int64, shape (rows,)
        Numbered through the cell as in `sim.serving.system.System`.
    change : int8, shape (rows,)
        A `Change`.
    factor : float64, shape (rows,)
        Factor of SLOW and NORMAL rows; 1 otherwise.
    """

    time_ns: NDArray[np.int64]
    device: NDArray[np.int64]
    change: NDArray[np.int8]
    factor: NDArray[np.float64]

    @classmethod
    def empty(cls) -> FaultSchedule:
        """Return the schedule of a fleet to which nothing happens."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int8), np.empty(0, np.float64))


def slowdowns(schedule: FaultSchedule) -> NDArray[np.float64]:
    """Return by how much the device of each row is slowed after it: the product of all factors that are in force."""
    after = np.ones(len(schedule.time_ns))
    in_force: dict[int, list[float]] = {}
    changes = (schedule.device.tolist(), schedule.change.tolist(), schedule.factor.tolist())
    for row, (device, change, factor) in enumerate(zip(*changes, strict=True)):
        factors = in_force.setdefault(device, [])
        if change == Change.SLOW:
            factors.append(factor)
        elif change == Change.NORMAL:
            factors.remove(factor)
        after[row] = math.prod(factors)
    return after


# -- what is planned -----------------------------------------------------------------------------------


class _Rows(NamedTuple):
    """Changes and the devices that all of them befall."""

    time_ns: NDArray[np.int64]
    change: NDArray[np.int8]
    devices: Devices


def _rows(steps: Sequence[tuple[int, Change]], devices: Devices, until_ns: int) -> _Rows:
    # Times that were added up may not fit into 64 bits, so they are compared before they become an array.
    kept = [(time, change) for time, change in steps if time <= until_ns]
    return _Rows(
        np.array([time for time, _ in kept], dtype=np.int64),
        np.array([change for _, change in kept], dtype=np.int8),
        devices,
    )


@dataclass(frozen=True, slots=True)
class TimedFault:
    """Devices that are down or slow from a given time on; `lasts_ns` None is to the end."""

    begin: Change
    factor: float
    at_ns: int
    lasts_ns: int | None
    devices: Devices

    def rows(self, _seed: int, _replication: int, until_ns: int) -> Iterator[_Rows]:
        """Yield what happens up to and with `until_ns`."""
        steps = [(self.at_ns, self.begin)]
        if self.lasts_ns is not None:
            steps.append((self.at_ns + self.lasts_ns, END[self.begin]))
        yield _rows(steps, self.devices, until_ns)


@dataclass(frozen=True, slots=True)
class DrawnFault:
    """Components that are down or slow at random, each by its own stream ``<stream>.<component>``.

    Components know nothing of each other: one goes on ageing, failing and being repaired while a larger one that it
    is part of is down.
    """

    begin: Change
    factor: float
    stream: str
    law: LifetimeLaw
    components: tuple[Component, ...]

    def rows(self, seed: int, replication: int, until_ns: int) -> Iterator[_Rows]:
        """Yield what happens up to and with `until_ns`."""
        pair = np.array([self.begin, END[self.begin]], dtype=np.int8)
        for component in self.components:
            stream = open_stream(seed, f"{self.stream}.{component.name}", replication)
            time_ns = alternate(self.law, stream, until_ns)
            yield _Rows(time_ns, np.resize(pair, len(time_ns)), component.devices)


@dataclass(frozen=True, slots=True)
class RollingMaintenance:
    """Batches of nodes that are closed, taken down and brought back one after the other.

    A batch is closed when the one before it is back: at t CLOSE, at t + drain DOWN, at t + drain + down UP and OPEN.
    `turns` are the numbers of the batches, from 0 on, that have nodes in the cell.
    """

    at_ns: int
    drain_ns: int
    down_ns: int
    turns: tuple[int, ...]
    batches: tuple[Devices, ...]
    factor: float = 1.0

    def rows(self, _seed: int, _replication: int, until_ns: int) -> Iterator[_Rows]:
        """Yield what happens up to and with `until_ns`."""
        for turn, devices in zip(self.turns, self.batches, strict=True):
            closed = self.at_ns + turn * (self.drain_ns + self.down_ns)
            if closed > until_ns:
                return
            down = closed + self.drain_ns
            back = down + self.down_ns
            yield _rows(
                [(closed, Change.CLOSE), (down, Change.DOWN), (back, Change.UP), (back, Change.OPEN)],
                devices,
                until_ns,
            )


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """The faults of a scenario with the devices of a cell that they befall.

    Attributes
    ----------
    entries : tuple of TimedFault, DrawnFault or RollingMaintenance
        In the order of the file: crashes, lifetimes, slow, maintenance.
    """

    entries: tuple[TimedFault | DrawnFault | RollingMaintenance, ...]

    def schedule(self, seed: int, replication: int, until_ns: int) -> FaultSchedule:
        """Draw the schedule of one replication.

        Parameters
        ----------
        seed, replication : int
            With the entry's number and the component's name they determine every draw: neither a further entry at the
            end of its list nor a further node or group shifts another's.
        until_ns : int
            Rows up to and with this time are returned. A later end only adds rows at the end.
        """
        parts = [
            (number, entry.factor, rows)
            for number, entry in enumerate(self.entries)
            for rows in entry.rows(seed, replication, until_ns)
            if len(rows.time_ns)
        ]
        if not parts:
            return FaultSchedule.empty()
        time_ns = np.concatenate([np.repeat(rows.time_ns, len(rows.devices)) for _, _, rows in parts])
        change = np.concatenate([np.repeat(rows.change, len(rows.devices)) for _, _, rows in parts])
        device = np.concatenate([np.tile(rows.devices, len(rows.time_ns)) for _, _, rows in parts])
        length = [len(rows.time_ns) * len(rows.devices) for _, _, rows in parts]
        factor = np.repeat([factor for _, factor, _ in parts], length)
        entry = np.repeat([number for number, _, _ in parts], length)
        # Stable, so that UP stays before OPEN where maintenance ends both at once.
        order = np.lexsort((device, entry, time_ns))
        return FaultSchedule(time_ns[order], device[order], change[order], factor[order])


# -- from the file to devices --------------------------------------------------------------------------


def _timed(fleet: DeviceNumbers, spec: CrashSpec) -> TimedFault:
    begin, factor = (Change.SLOW, spec.factor) if isinstance(spec, SlowSpec) else (Change.DOWN, 1.0)
    return TimedFault(begin, factor, spec.at, spec.lasts, fleet.devices_of(spec, spec.device))


def _drawn(fleet: DeviceNumbers, spec: LifetimeSpec, stream: str) -> DrawnFault:
    begin, factor = (Change.SLOW, spec.factor) if isinstance(spec, SlowSpellSpec) else (Change.DOWN, 1.0)
    law = LifetimeLaw(spec.mtbf, spec.mttr, spec.shape, spec.repair == "fixed")
    return DrawnFault(begin, factor, stream, law, tuple(fleet.components(spec)))


def _maintained(fleet: DeviceNumbers, spec: MaintenanceSpec) -> RollingMaintenance:
    turns = dict(fleet.in_turn(spec, spec.at_once))
    return RollingMaintenance(spec.at, spec.drain, spec.down, tuple(turns), tuple(turns.values()))


def plan_faults(experiment: Experiment, cell: int = 0) -> FaultPlan | None:
    """Return the faults of a scenario with the devices of one of its cells that they befall; None if nothing happens.

    Parameters
    ----------
    experiment : Experiment
        One that `check_faults` has found nothing wrong with.
    cell : int
    """
    faults = experiment.faults
    if faults is None:
        return None
    fleet = DeviceNumbers(experiment.fleet, cell, experiment.cells)
    return FaultPlan(
        (
            *(_timed(fleet, crash) for crash in faults.crashes or ()),
            *(_drawn(fleet, spec, f"fault.lifetimes.{i}") for i, spec in enumerate(faults.lifetimes or ())),
            *(
                _drawn(fleet, spec, f"fault.slow.{i}") if isinstance(spec, SlowSpellSpec) else _timed(fleet, spec)
                for i, spec in enumerate(faults.slow or ())
            ),
            *(_maintained(fleet, spec) for spec in faults.maintenance or ()),
        )
    )
