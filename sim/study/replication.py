"""One replication of a cell: draw the queries, run the engine, hold the run to its laws, measure it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.engine.audit import InvariantError, audit
from sim.engine.engines import Engine, run_engine, stream_engine
from sim.engine.record import RunRecord
from sim.engine.streaming import end_of, rows_of
from sim.report.rundir import written_whole
from sim.serving.faults import FaultSchedule
from sim.stats.summary import ReplicationResult, reduce_record
from sim.stats.tally import Tally
from sim.stats.totals import Totals
from sim.stats.warmup import candidate_cuts
from sim.study.prepare import PreparedScenario
from sim.workload.cells import CellDraws
from sim.workload.check import check_sources
from sim.workload.draw import CHUNK, QueryStream

__all__ = [
    "Part",
    "fault_schedule",
    "keeps_record",
    "query_stream",
    "run_part",
    "run_record",
    "run_replication",
    "run_task",
    "run_totals",
    "save_records",
    "tally_for",
]

Part = ReplicationResult | Totals
"""What a task leaves: a replication, or the sums of one of its cells where there are several."""

MOST_RECORDED = 1_000_000
"""Queries of a cell in a replication up to which everything that happens is kept until it has been measured."""

CHECKED_ARRIVALS = 200_000
"""Of longer runs, so many arrivals at the beginning are held to their law, and as many more as complete a chunk."""

FOR_EVER_NS = 2**62
"""Later than any run; what is drawn needs a duration, so this only bounds what happens at given times."""


def query_stream(scenario: PreparedScenario, replication: int, cell: int = 0) -> QueryStream:
    """Return the queries of a cell in one replication."""
    return QueryStream(
        scenario.workload,
        scenario.seed,
        replication,
        cell=cell,
        cells=scenario.cells,
        classes=scenario.classes,
        parts=scenario.parts,
        choices=scenario.choices,
        attempts=scenario.attempts,
        routers=scenario.system.routers,
        network=scenario.network,
        base_dir=scenario.base_dir,
        service_seed=scenario.experiment.service_seed,
        laws=scenario.laws,
    )


def tally_for(scenario: PreparedScenario) -> Tally:
    """Return a tally for one cell, with the same candidate cuts as that of every other cell."""
    chooses = scenario.warmup_ns is None and not scenario.time_varying
    return Tally(
        scenario.view,
        candidates=candidate_cuts(round(scenario.expected_queries_per_cell)) if chooses else None,
        warmup_ns=scenario.warmup_ns,
        end_ns=scenario.workload.duration,
        timeline_ns=scenario.timeline_ns,
    )


def run_record(
    scenario: PreparedScenario, replication: int, cell: int = 0, engine: Engine = Engine.REFERENCE
) -> RunRecord:
    """Run one replication of a cell and return what happened to every query.

    Raises
    ------
    InvariantError
        When the run breaks a law of queueing or its arrivals are not the asked ones.
    """
    record = run_engine(
        engine,
        scenario.system,
        query_stream(scenario, replication, cell),
        drain_ns=scenario.drain_ns,
        faults=fault_schedule(scenario, replication, cell),
    )
    draws = CellDraws(scenario.seed, replication, cell, scenario.cells)
    broken = [
        *audit(record, scenario.system),
        *check_sources(
            scenario.sources,
            record.arrival_ns,
            record.query_class,
            draws=draws,
            base_dir=scenario.base_dir,
            laws=scenario.laws,
        ),
    ]
    _refuse(broken, scenario, replication, cell)
    return record


def run_totals(
    scenario: PreparedScenario, replication: int, cell: int = 0, engine: Engine = Engine.REFERENCE
) -> Totals:
    """Run one replication of a cell and return its sums, in memory that does not grow with its queries.

    That holds for the compiled engine; the reference engine keeps what happened to every query.

    Raises
    ------
    InvariantError
        When the run breaks a law of queueing or the arrivals at its beginning are not the asked ones.
    """
    replay = stream_engine(
        engine,
        scenario.system,
        query_stream(scenario, replication, cell),
        drain_ns=scenario.drain_ns,
        faults=fault_schedule(scenario, replication, cell),
    )
    tally = tally_for(scenario)
    arrival_ns: list[NDArray[np.int64]] = []
    query_class: list[NDArray[np.int64]] = []
    kept, offered = 0, 0
    for rows in replay.rows():
        tally.add(rows)
        if len(rows.arrival_ns):
            offered += len(rows.arrival_ns)
            if kept < CHECKED_ARRIVALS:
                kept = offered
                arrival_ns.append(rows.arrival_ns)
                query_class.append(rows.query_class)
    end = replay.end
    assert end is not None
    totals = tally.finish(end)
    broken = [
        *totals.violations,
        *check_sources(
            scenario.sources,
            np.concatenate([np.zeros(0, dtype=np.int64), *arrival_ns]),
            np.concatenate([np.zeros(0, dtype=np.int64), *query_class]),
            draws=CellDraws(scenario.seed, replication, cell, scenario.cells),
            base_dir=scenario.base_dir,
            laws=scenario.laws,
            beginning=kept < offered,
        ),
    ]
    _refuse(broken, scenario, replication, cell)
    return totals


def _refuse(broken: Sequence[str], scenario: PreparedScenario, replication: int, cell: int) -> None:
    """Raise InvariantError if there are laws that a run has broken."""
    if broken:
        which = f"replication {replication}" + (f", cell {cell}" if scenario.cells > 1 else "")
        raise InvariantError(f"scenario {scenario.label}, {which}, seed {scenario.seed}: " + "; ".join(broken))


def fault_schedule(scenario: PreparedScenario, replication: int, cell: int) -> FaultSchedule | None:
    """Draw what happens to the devices of a cell, up to where the clock must have stopped."""
    plan = scenario.fault_plan(cell)
    if plan is None:
        return None
    duration_ns = scenario.workload.duration
    until_ns = FOR_EVER_NS if duration_ns is None else duration_ns + scenario.drain_ns
    return plan.schedule(scenario.seed, replication, until_ns)


def run_replication(
    scenario: PreparedScenario,
    replication: int,
    records: Path | None = None,
    engine: Engine = Engine.REFERENCE,
) -> ReplicationResult:
    """Run one replication of a single cell and reduce it to its measurements.

    Parameters
    ----------
    scenario : PreparedScenario
    replication : int
        Its number; with the seed it determines every draw.
    records : Path, optional
        File to save the per-query records in.
    engine : Engine
        Which one runs it; the results are the same.
    """
    part = run_part(scenario, replication, 0, records, engine)
    assert isinstance(part, ReplicationResult)
    return part


def run_part(
    scenario: PreparedScenario,
    replication: int,
    cell: int,
    records: Path | None = None,
    engine: Engine = Engine.REFERENCE,
) -> Part:
    """Run one replication of a cell and reduce it to its measurements, or to sums if it is one of several cells.

    Where records are kept, and in short runs, percentiles are exact; otherwise they come from a histogram. Which of
    the two depends on the scenario and on what is kept, never on the engine.
    """
    return run_task(scenario, replication, cell, records, engine)[0]


def run_task(
    scenario: PreparedScenario,
    replication: int,
    cell: int,
    records: Path | None = None,
    engine: Engine = Engine.REFERENCE,
) -> tuple[Part, str | None]:
    """Run as `run_part` does; return also why the compiled engine could not, where the reference engine had to."""
    if engine is Engine.REFERENCE:
        return _run_part(scenario, replication, cell, records, engine), None
    from sim.engine.compiled.run import NeedsReference

    try:
        return _run_part(scenario, replication, cell, records, engine), None
    except NeedsReference as error:
        return _run_part(scenario, replication, cell, records, Engine.REFERENCE), str(error)


def keeps_record(scenario: PreparedScenario, asked: bool) -> bool:
    """Return whether a task is measured from a record of its queries: where one is `asked` for, and in short runs.

    Others are added up while they run.
    """
    most_recorded = MOST_RECORDED if scenario.most_recorded is None else scenario.most_recorded
    return asked or (scenario.cells == 1 and scenario.expected_queries_per_cell <= most_recorded)


def _run_part(scenario: PreparedScenario, replication: int, cell: int, records: Path | None, engine: Engine) -> Part:
    if not keeps_record(scenario, records is not None):
        totals = run_totals(scenario, replication, cell, engine)
        return totals if scenario.cells > 1 else totals.result(scenario.view, replication)
    record = run_record(scenario, replication, cell, engine)
    if records is not None:
        save_records(record, records, classes=scenario.classes is not None)
    if scenario.cells > 1:
        return _totals_of(record, scenario, replication, cell)
    return reduce_record(
        record,
        scenario.view,
        replication=replication,
        warmup_ns=scenario.warmup_ns,
        time_varying=scenario.time_varying,
        timeline_ns=scenario.timeline_ns,
    )


def _totals_of(record: RunRecord, scenario: PreparedScenario, replication: int, cell: int) -> Totals:
    """Return the sums of a record, as if they had been made while it ran."""
    tally = tally_for(scenario)
    for rows in rows_of(record, scenario.system, CHUNK):
        tally.add(rows)
    totals = tally.finish(end_of(record))
    _refuse(totals.violations, scenario, replication, cell)
    return totals


def save_records(record: RunRecord, file: Path, *, classes: bool = False) -> None:
    """Write the per-query arrays of `record` to an npz file, whole or not at all; `classes` adds their classes."""
    columns: dict[str, Any] = {"query_class": record.query_class} if classes else {}
    with written_whole(file) as stream:
        np.savez(
            stream,
            arrival_ns=record.arrival_ns,
            size=record.size,
            start_ns=record.start_ns,
            finish_ns=record.finish_ns,
            node=record.node,
            path=record.path,
            outcome=record.outcome,
            **columns,
        )
