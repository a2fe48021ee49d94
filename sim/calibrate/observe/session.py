"""A session: workers are started, calibrated and observed in turns, and what was disturbed is set aside."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.measure.interference import BlockReading
from sim.calibrate.measure.readings import WHILE_IDLE, Observer
from sim.calibrate.observe.arrivals import on_schedule
from sim.calibrate.observe.calibration import CalibrationBlock, Calibrator, grid_of, overhead_ns
from sim.calibrate.observe.fitness import Block, Fitness, assess, combined
from sim.calibrate.observe.layout import LaidOut, RealDevice, Variable, check_observable, real_devices, subjects_of
from sim.calibrate.observe.own_error import OwnError, own_error
from sim.calibrate.observe.practice import Practice
from sim.calibrate.observe.profile import CalibratedDevice, capacity_per_s, device_override, fit_device, noted
from sim.calibrate.observe.server import Observed, Server
from sim.calibrate.observe.speed import Usual, slowness, usual_times
from sim.calibrate.observe.worker import Waiting, Worker
from sim.spec.problems import Problem, SpecError
from sim.workload.popularity import Popularity
from sim.workload.sizes import size_distribution

__all__ = ["Session", "SessionRequest", "run_session"]

Tell = Callable[[str], None]

RATE = "workload.arrivals.rate"

FIRST_CALIBRATIONS = 3
"""Calibration blocks before anything is observed: of fewer none can be told from the others."""

MORE = 1.25
"""The policy is told anew what services take when there are so many times as many calibration blocks as before. What
they say is worked out anew each time, which takes longer the more there are."""


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """What was asked for.

    Attributes
    ----------
    loads : tuple of float
        Loads to observe, of what the lanes can serve on their fastest paths as calibrated; the experiment's own rates
        where there are none.
    cores : tuple of int or None
        The dispatcher's, then one a lane; the first that may be used by default.
    waiting : {"poll", "block"}
    calibration_ns : int
        How long a calibration block takes, about.
    law : Popularity
        Of the IDs that queries ask.
    rehearse : bool
        Busy loops as long as the experiment's profile says instead of models.
    share_cores : bool
        Pin nothing; for machines with too few cores, where nothing can be judged.
    provenance : mapping
        What the profile says of where it comes from.
    """

    loads: tuple[float, ...] = ()
    cores: tuple[int, ...] | None = None
    waiting: Waiting = "poll"
    calibration_ns: int = 4_000_000_000
    law: Popularity = field(kw_only=True)
    rehearse: bool = False
    share_cores: bool = False
    provenance: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, slots=True)
class Session:
    """What a session leaves.

    Attributes
    ----------
    scenarios : tuple of LaidOut
        As they were dispatched in the last round, by the profile of the calibration blocks until then.
    overrides : tuple of str
        What turns the experiment into one that predicts these scenarios, with the profile of all calibration blocks.
    devices : tuple of CalibratedDevice
    blocks : tuple of Block
    fitness : Fitness
    observed : mapping of (scenario, replication) to Observed
        Every observed block, set aside or not.
    overhead_ns : mapping of str to int64 array
        See `sim.calibrate.observe.calibration.overhead_ns`.
    calibrations : tuple of CalibrationBlock
        Those that were kept.
    capacity_per_s : float
        What a load of 1 was, by the first calibration blocks.
    own_error : OwnError or None
        What the chance of the calibration does to predictions; None where that was left out, or cannot be told.
    """

    scenarios: tuple[LaidOut, ...]
    overrides: tuple[str, ...]
    devices: tuple[CalibratedDevice, ...]
    blocks: tuple[Block, ...]
    fitness: Fitness
    observed: Mapping[tuple[int, int], Observed]
    overhead_ns: Mapping[str, NDArray[np.int64]]
    calibrations: tuple[CalibrationBlock, ...]
    capacity_per_s: float
    own_error: OwnError | None = None

    def kept(self, scenario: int) -> list[int]:
        """Return the replications of a scenario whose blocks were kept."""
        return [
            block.replication
            for block, reason in zip(self.blocks, self.fitness.reasons, strict=True)
            if block.scenario == scenario and not reason
        ]


def run_session(variable: Variable, request: SessionRequest, tell: Tell) -> Session:
    """Calibrate and observe an experiment on this machine.

    Parameters
    ----------
    variable : Variable
        The experiment.
    request : SessionRequest
    tell : callable
        ``tell(line)`` is told what is going on.

    Raises
    ------
    SpecError
        If the experiment asks what cannot be served here.
    WorkerFailed
        If a worker dies.
    """
    first = _planned(variable, request)
    devices = real_devices(first)
    cores = _cores(request, sum(len(device.lanes) for device in devices if device.paths))
    with _workers(first, devices, cores, request, tell) as (workers, subjects):
        if cores is not None:
            os.sched_setaffinity(0, {cores[0]})
        session = _observe(variable, request, first, devices, workers, subjects, tell)
    return replace(session, own_error=_own_error(session, variable, request, first, devices, tell))


def _own_error(
    session: Session,
    variable: Variable,
    request: SessionRequest,
    first: LaidOut,
    devices: Sequence[RealDevice],
    tell: Tell,
) -> OwnError | None:
    """Predict what was observed without a part of the calibration, part by part; Ctrl-C loses no more than that."""
    used = [device for device in devices if device.paths]
    sweep = _sweep(request.loads, session.capacity_per_s)

    def lay_out(blocks: Sequence[CalibrationBlock]) -> Sequence[LaidOut]:
        fitted = [fit_device(blocks, first, device, _name(first, device)) for device in used]
        return variable.lay_out(_overrides(fitted, first, request.provenance, sweep))

    tell("simulating what the chance of the calibration does to predictions; Ctrl-C leaves that out")
    try:
        return own_error(session.calibrations, lay_out, [session.kept(i) for i in range(len(session.scenarios))])
    except KeyboardInterrupt:
        tell("left out: intervals of errors will be without the error of the calibration")
        return None


def _planned(variable: Variable, request: SessionRequest) -> LaidOut:
    """Return the first scenario, after everything that the files alone show was checked."""
    scenarios = variable.lay_out()
    check_observable(scenarios)
    if request.loads and len(scenarios) > 1:
        message = "--loads sweeps the rate of one scenario, and the experiment has a sweep of its own"
        raise SpecError([Problem(message, key_path="sweep", allowed="--set 'sweep={}', or no --loads")])
    return scenarios[0]


def _cores(request: SessionRequest, lanes: int) -> tuple[int, ...] | None:
    """Return the dispatcher's core and those of the lanes; None where nothing is pinned."""
    if request.share_cores:
        return None
    usable = sorted(os.sched_getaffinity(0))
    cores = request.cores or tuple(usable[: lanes + 1])
    wrong = [core for core in cores if core not in usable]
    if wrong or len(set(cores)) < lanes + 1:
        needed = f"{lanes + 1} different cores: one for the dispatcher and one for each of {lanes} lanes"
        raise SpecError([Problem(f"not enough cores; the experiment needs {needed}", value=cores, allowed=str(usable))])
    return cores[: lanes + 1]


@contextmanager
def _workers(
    first: LaidOut,
    devices: Sequence[RealDevice],
    cores: tuple[int, ...] | None,
    request: SessionRequest,
    tell: Tell,
) -> Iterator[tuple[list[Worker], list[int]]]:
    """Start a worker for each lane that a path uses; yield them by lane, with the subject of each path."""
    of_lane: dict[int, Worker] = {}
    subjects: dict[int, int] = {}
    affinity = os.sched_getaffinity(0)
    try:
        for device in devices:
            if not device.paths:
                continue
            specs, mine = subjects_of(first, device, request.law, rehearse=request.rehearse)
            subjects |= mine
            for lane in device.lanes:
                core = None if cores is None else cores[1 + len(of_lane)]
                name = f"{device.name}, lane {lane}"
                of_lane[lane] = Worker(name, specs, core, request.waiting, seed=1000 * (lane + 1))
        tell(f"loading {len(subjects)} paths in {len(of_lane)} workers")
        for worker in of_lane.values():
            worker.wait_until_loaded()
        lanes = int(first.system.device_lane[-1])
        # Lanes that no path uses are never asked anything; any worker stands in for them.
        anyone = next(iter(of_lane.values()))
        yield [of_lane.get(lane, anyone) for lane in range(lanes)], [subjects[path] for path in sorted(subjects)]
    finally:
        for worker in of_lane.values():
            worker.stop()
        os.sched_setaffinity(0, affinity)


class _Watch:
    """Reads what disturbs the dispatcher and its workers during a block."""

    def __init__(self, workers: Sequence[Worker], cores: Sequence[int]) -> None:
        self.workers = list({id(worker): worker for worker in workers}.values())
        self.cores = cores
        self.own: Observer | None = None

    def begin(self) -> None:
        for worker in self.workers:
            worker.begin_block()
        self.own = Observer(self.cores, look=WHILE_IDLE)

    def glance(self) -> bool:
        """Look at the clock of the dispatcher's core within a block; a worker looks at its own."""
        return self.own is not None and self.own.glance()

    def end(self) -> BlockReading:
        assert self.own is not None
        own, self.own = self.own.reading(), None
        return combined([own, *(worker.end_block() for worker in self.workers)])


def _observe(
    variable: Variable,
    request: SessionRequest,
    first: LaidOut,
    devices: Sequence[RealDevice],
    workers: Sequence[Worker],
    subjects: Sequence[int],
    tell: Tell,
) -> Session:
    """Run the blocks: a few of calibration, then observed and calibration in turns."""
    sizes = size_distribution(first.experiment.workload, first.base_dir)
    used = [device for device in devices if device.paths]
    grid = grid_of(sizes)
    watch = _Watch(workers, [] if request.share_cores else sorted(os.sched_getaffinity(0)))
    calibrator = Calibrator(
        first.system,
        used,
        workers,
        subjects,
        grid,
        request.calibration_ns,
        np.random.default_rng(first.experiment.seed),
        watch.glance,
    )
    tell("warming up")
    calibrator.prepare()
    overhead = overhead_ns(first.system, used[0], workers, grid.body[0])
    calibrations: list[CalibrationBlock] = []
    blocks: list[Block] = []
    observed: dict[tuple[int, int], Observed] = {}

    def calibrate() -> None:
        watch.begin()
        block = calibrator.block()
        calibrations.append(block)
        mean_ns = float(np.mean([times.mean() for times in block.times_ns.values()]))
        blocks.append(Block("calibration", -1, -1, watch.end(), 0, mean_ns, block.longest_gap_ns))

    def known() -> tuple[list[CalibrationBlock], list[CalibratedDevice]]:
        """Return the undisturbed calibration blocks so far, and what they say."""
        kept = _kept_calibrations(blocks, assess(blocks, calibrations, []), calibrations) or calibrations
        return kept, [fit_device(kept, first, device, _name(first, device)) for device in used]

    for _ in range(FIRST_CALIBRATIONS):
        calibrate()
    usual = usual_times(calibrations)
    capacity = capacity_per_s(known()[1], sizes)
    sweep = _sweep(request.loads, capacity)
    scenarios: Sequence[LaidOut] = ()
    told_of = 0
    for replication in range(first.experiment.replications):
        if len(calibrations) >= MORE * told_of:
            scenarios = variable.lay_out(_overrides(known()[1], first, request.provenance, sweep))
            told_of = len(calibrations)
        total = len(scenarios) * first.experiment.replications
        for turn in range(len(scenarios)):
            # Another scenario begins each round, so that what drifts slowly does not look like load.
            number = (turn + replication) % len(scenarios)
            watch.begin()
            seen = _serve(scenarios[number], replication, workers, subjects, watch)
            reading = watch.end()
            observed[number, replication] = seen
            blocks.append(_block(number, replication, reading, seen, usual))
            calibrate()
            tell(f"block {len(observed)} of {total}: {_label(scenarios[number])}, served by a real server")
    fitness = assess(blocks, calibrations, [_label(one) for one in scenarios])
    if request.share_cores:
        fitness = replace(fitness, unfit=(*fitness.unfit, "the cores were shared"))
    kept, fitted = known()
    return Session(
        scenarios=tuple(scenarios),
        overrides=tuple(_overrides(fitted, first, noted(request.provenance, overhead, fitness.unfit), sweep)),
        devices=tuple(fitted),
        blocks=tuple(blocks),
        fitness=fitness,
        observed=observed,
        overhead_ns=overhead,
        calibrations=tuple(kept),
        capacity_per_s=capacity,
    )


def _overrides(
    known: Sequence[CalibratedDevice], first: LaidOut, provenance: Mapping[str, str | int], sweep: Sequence[str]
) -> list[str]:
    return [*(device_override(one, first, provenance) for one in known), *sweep]


def _sweep(loads: Sequence[float], capacity_per_s: float) -> list[str]:
    """Return the override that sweeps the rate over the loads."""
    if not loads:
        return []
    rates = {f"load {load:g}": f"{float(f'{load * capacity_per_s:.4g}')}/s" for load in loads}
    return [f"sweep={json.dumps({RATE: rates})}"]


def _serve(
    scenario: LaidOut, replication: int, workers: Sequence[Worker], subjects: Sequence[int], watch: _Watch
) -> Observed:
    stream = scenario.stream(replication)
    chunks = list(stream.chunks())
    # At a low load a block may be without any query.
    none = np.zeros(0, dtype=np.int64)
    queries = on_schedule(
        np.concatenate([none, *(chunk.arrival_ns for chunk in chunks)]),
        np.concatenate([none, *(chunk.size for chunk in chunks)]),
        np.concatenate([chunk.router_u for chunk in chunks]) if chunks else np.zeros((0, 0)),
        stream.end_ns,
    )
    practice = Practice(scenario.system, subjects, queries, glance=watch.glance)
    return Server(scenario.system, workers, subjects).replay(queries, scenario.drain_ns, practice.step)


def _block(scenario: int, replication: int, reading: BlockReading, seen: Observed, usual: Usual) -> Block:
    record = seen.record
    took_ns = record.part_finish_ns - record.part_start_ns
    lag_ns = seen.lag_ns
    return Block(
        "observed",
        scenario,
        replication,
        reading,
        int(np.quantile(lag_ns, 0.99)) if len(lag_ns) else 0,
        float(took_ns.mean()) if len(took_ns) else 0.0,
        seen.longest_gap_ns,
        slowness(record, usual),
    )


def _kept_calibrations(
    blocks: Sequence[Block], fitness: Fitness, calibrations: Sequence[CalibrationBlock]
) -> list[CalibrationBlock]:
    kinds: list[Literal["calibration", "observed"]] = [block.kind for block in blocks]
    reasons = [reason for reason, kind in zip(fitness.reasons, kinds, strict=True) if kind == "calibration"]
    return [block for block, reason in zip(calibrations, reasons, strict=True) if not reason]


def _name(scenario: LaidOut, device: RealDevice) -> str:
    group = scenario.plan.groups[device.group].name
    return "-".join(part for part in (group if len(scenario.plan.groups) > 1 else "", device.name, "observed") if part)


def _label(scenario: LaidOut) -> str:
    return ", ".join(str(value) for value in scenario.parameters.values()) or scenario.experiment.name
