"""Each law that a tally holds its rows against is broken once, and said to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import yaml

from sim.engine.record import AttemptEnd, Cause, Outcome
from sim.engine.rows import Rows, RunEnd
from sim.engine.streaming import end_of, rows_of
from sim.stats.tally import Tally
from sim.study.replication import run_record
from tests.harness import prepare_text
from tests.stats.test_tally import PLAIN

MS = 1_000_000
Tampering = Callable[[Rows], Rows]


def served(**changes: Callable[[np.ndarray], Any]) -> Tampering:
    """Change columns of the served rows."""
    return changed("served", **changes)


def changed(table: str, **changes: Callable[[np.ndarray], Any]) -> Tampering:
    def tamper(rows: Rows) -> Rows:
        copy = getattr(rows, table).copy()
        for column, change in changes.items():
            copy[column] = change(copy[column])
        return replace(rows, **{table: copy})

    return tamper


def one(place: int, value: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Set one value of a column."""

    def change(column: np.ndarray) -> np.ndarray:
        column = column.copy()
        column[place] = value
        return column

    return change


def violations(
    record: Any, view: Any, tamper: Tampering, end: RunEnd | None = None, system: Any = PLAIN, **options: Any
) -> list[str]:
    tally = Tally(view, **options)
    (rows,) = rows_of(record, system, len(record.arrival_ns))
    tally.add(tamper(rows))
    return list(tally.finish(end or end_of(record)).violations)


@pytest.fixture(scope="module")
def record(single_server: Any) -> Any:
    # The server is behind: it is busy nearly all the time, and some queries are in flight when the clock stops.
    return single_server(1.5, 400, seed=9, drain_ns=0)


def test_sound_rows_break_nothing(record: Any, one_device: Any) -> None:
    assert violations(record, one_device(), lambda rows: rows) == []
    assert violations(record, one_device(), lambda rows: rows, end_ns=record.end_ns) == []


TAMPERED = {
    "a row is lost": (lambda rows: replace(rows, served=rows.served[1:]), "conservation: outcomes"),
    "a row comes twice": (
        lambda rows: replace(rows, served=np.concatenate([rows.served, rows.served[:1]])),
        "conservation: outcomes",
    ),
    "one comes twice, another never": (
        served(query=lambda column: one(3, column[4])(column)),
        "conservation: a query has two outcomes",
    ),
    "an arrival is lost": (
        lambda rows: replace(rows, arrival_ns=rows.arrival_ns[:-1], query_class=rows.query_class[:-1]),
        "conservation: 400 queries were offered, but 399 arrivals",
    ),
    "queries before were not offered": (lambda rows: replace(rows, first=7), "conservation: arrivals are out of order"),
    "arrivals are out of order": (
        lambda rows: replace(rows, arrival_ns=one(5, 0)(rows.arrival_ns)),
        "conservation: arrivals are out of order",
    ),
    "an arrival is late": (
        lambda rows: replace(rows, arrival_ns=one(-1, rows.arrival_ns[-1] + 1)(rows.arrival_ns)),
        "conservation: arrivals are out of order or after the end",
    ),
    "a lane that is not there": (served(lane=one(0, 1)), "conservation: 1 rows name"),
    "a path that is not there": (served(path=one(0, -1)), "conservation: 1 rows name"),
    "a class that is not there": (served(query_class=one(0, 1)), "conservation: 1 rows name"),
    "a query that is not there": (served(query=one(0, 400)), "conservation: 1 rows name"),
    "a query of an unknown class": (
        lambda rows: replace(rows, query_class=one(0, 1)(rows.query_class)),
        "conservation: 1 rows name",
    ),
    "a part on no lane": (changed("parts", lane=one(0, 1)), "conservation: 1 rows name"),
    "a part larger than its batch": (changed("parts", size=one(0, 2)), "conservation: 1 rows name"),
    "in flight but finished": (
        changed("queries", outcome=one(0, Outcome.SERVED_LATE)),
        "conservation: the stamps of 1 queries",
    ),
    "in flight but dropped": (
        changed("queries", drop_ns=lambda column: np.full_like(column, 10 * MS)),
        "conservation: the stamps of",
    ),
    "started before it arrived": (
        served(start_ns=lambda column: one(0, 0)(column)),
        "causality: 1 queries or parts are out of order in time",
    ),
    "finished before it started": (
        served(finish_ns=lambda column: one(0, 1)(column)),
        "causality: 1 queries or parts are out of order in time",
    ),
    "a part started before it joined": (
        changed("parts", start_ns=one(0, 0)),
        "causality: 1 queries or parts are out of order in time",
    ),
    "a wait is longer": (
        served(start_ns=lambda column: one(9, column[9] + 1)(column)),
        "Little's law: the number waiting adds up to",
    ),
    "a finish is later": (
        served(finish_ns=lambda column: one(9, column[9] + 1)(column)),
        "Little's law: the number in the system adds up to",
    ),
    "a lane serves two at once": (
        lambda rows: replace(rows, served=with_starts_at_arrival(rows.served)),
        "lanes: the lanes of hw1/gpu are busy for",
    ),
}


def with_starts_at_arrival(rows: np.ndarray) -> np.ndarray:
    rows = rows.copy()
    rows["start_ns"] = rows["arrival_ns"]
    return rows


@pytest.mark.parametrize("what", TAMPERED)
def test_what_is_tampered_with_is_found(record: Any, one_device: Any, what: str) -> None:
    tamper, said = TAMPERED[what]
    found = violations(record, one_device(), tamper)
    assert any(violation.startswith(said) for violation in found), found


def test_the_end_has_to_agree(record: Any, one_device: Any) -> None:
    end = end_of(record)
    for change, said in (
        ({"in_system_integral": end.in_system_integral - 1}, "Little's law: the number in the system"),
        ({"waiting_integral": end.waiting_integral + 1}, "Little's law: the number waiting"),
        ({"unstarted_wait_ns": end.unstarted_wait_ns + 1}, "Little's law: the number waiting"),
        ({"stop_ns": 20 * MS}, "causality: a query finished before it started or after the clock stopped"),
    ):
        found = violations(record, one_device(), lambda rows: rows, replace(end, **change))
        assert any(violation.startswith(said) for violation in found), (change, found)


def test_rows_that_come_before_what_they_may_depend_on_are_found(record: Any, one_device: Any) -> None:
    first, second = rows_of(record, PLAIN, 200)
    tally = Tally(one_device(), end_ns=record.end_ns)
    tally.add(replace(first, served=np.concatenate([first.served, second.served[second.served["query"] < 200]])))
    tally.add(replace(second, served=second.served[second.served["query"] >= 200]))
    assert any("before a query that had arrived by then" in one for one in tally.finish(end_of(record)).violations)


CLIENTS = """
name: clients
model: {name: m, representations: {table: {accuracy: {value: 0.7, evidence: assumed}}}}
sla: 2ms
workload: {arrivals: {kind: poisson, rate: 3k/s}, sizes: {kind: fixed, size: 10}, queries: 300}
fleet:
  - name: g0
    count: 2
    devices:
      cpu:
        queue_limit: 2
        profile: {kind: cpu, lanes: 1, service: {m: {table: {distribution: exponential, mean: 700us}}}}
router: {kind: random}
policy: {kind: static, representation: table}
timeout: {after: 3ms, cancel: waiting}
retries: {limit: 1, backoff: 1ms}
replications: 1
seed: 4
"""


def test_attempts_have_laws_of_their_own(tmp_path: Any) -> None:
    (scenario,) = prepare_text(tmp_path, yaml.safe_dump(yaml.safe_load(CLIENTS)))
    record = run_record(scenario, 0)
    first = int(np.flatnonzero(record.attempt_cause == Cause.FIRST)[0])
    answered = int(np.flatnonzero(record.attempt_end == AttemptEnd.ANSWERED)[0])
    cases: tuple[tuple[Tampering, str], ...] = (
        (lambda rows: rows, ""),
        (changed("attempts", cause=one(first, Cause.RETRY)), "attempts: a query does not have exactly one first"),
        (changed("attempts", end=one(answered, AttemptEnd.BEATEN)), "attempts: a query that is served"),
        (changed("attempts", end_ns=one(answered, 0)), "attempts: an attempt ended before it was sent"),
        (changed("attempts", query=one(first, 300)), "conservation: 1 rows name"),
        (changed("queries", drop_reason=lambda column: np.full_like(column, -1)), "conservation: the stamps of"),
        (changed("queries", answered_by=lambda column: np.full_like(column, -1)), "conservation: the stamps of"),
        (
            changed("queries", drop_ns=lambda column: np.where(column >= 0, 0, column)),
            "causality: ",
        ),
    )
    for tamper, said in cases:
        # Rows are in the order of turns; with one turn that is the order of the record.
        found = violations(record, scenario.view, tamper, system=scenario.system)
        assert found == [] if not said else any(violation.startswith(said) for violation in found), (said, found)
