"""Two cells are two systems: each of them, run as an experiment of its own, does the same to the nanosecond."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sim.engine.record import RunRecord
from sim.workload.streams import open_stream
from tests.harness import prepare_text, run_record, write_trace

pytestmark = pytest.mark.usefixtures("engine")

TEXT = """\
name: t
model: {{name: m, representations: {{table: {{accuracy: {{value: 90%, evidence: assumed}}}}}}}}
sla: 10ms
cells: {cells}
workload:
  arrivals: {{kind: trace, file: {trace}, unit: us}}
  sizes: {{kind: fixed, size: 1}}
  queries: {queries}
fleet:
  - name: n
    count: {count}
    devices:
      d: {{kind: cpu, service: {{distribution: deterministic, mean: 300us}}}}
{more}"""
QUERIES = 400
SEED = 1
EARLY = "router: {kind: least-backlog}\n"
LATE = "binding: {kind: late, queue_limit: 5}\n"
LIMIT = "queue: {limit: 1}\nrouter: {kind: round-robin}\n"
COLUMNS = ("node", "path", "outcome", "drop_reason")
STAMPS = ("start_ns", "finish_ns", "drop_ns")


def columns(record: RunRecord, first_ns: int) -> dict[str, list[int]]:
    """Return what happened to every query, in time since `first_ns`."""
    found = {name: getattr(record, name).tolist() for name in COLUMNS}
    for name in STAMPS:
        stamp = getattr(record, name)
        found[name] = np.where(stamp < 0, stamp, stamp - first_ns).tolist()
    return found


@pytest.mark.parametrize(
    ("more", "crash"), [(EARLY, False), (LATE, False), (LIMIT, False), (LIMIT, True), (LATE, True)]
)
def test_two_cells_are_two_systems(tmp_path: Path, more: str, crash: bool) -> None:
    # The nth query arrives within 50 us of n x 60 us: at 300 us a query the two nodes of a cell are busy 1.25 times.
    at_us = (np.arange(QUERIES) * 60 + np.random.default_rng(4).integers(0, 50, QUERIES)).astype(np.int64)
    at_us -= at_us[0]
    write_trace(tmp_path, at_us.tolist(), "whole.csv")
    # Node 2 of the fleet is the first of cell 1.
    fault = "faults: {{crashes: [{{at: {at}ns, for: 2ms, group: n, nodes: [{node}]}}]}}\n"
    crash_ns = 9_000_000
    text = TEXT.format(
        cells=2,
        trace="whole.csv",
        queries=QUERIES,
        count=4,
        more=more + (fault.format(at=crash_ns, node=2) if crash else ""),
    )
    (scenario,) = prepare_text(tmp_path, text)
    mine = (open_stream(SEED, "cell", 0).uniforms(QUERIES) * 2).astype(int)
    assert 150 < np.sum(mine) < 250
    for cell in (0, 1):
        record = run_record(scenario, 0, cell)
        own_us = at_us[mine == cell]
        assert record.arrival_ns.tolist() == (own_us * 1_000).tolist()
        # On its own the cell's first query arrives at 0, so everything is earlier by so much.
        first_ns = int(own_us[0]) * 1_000
        write_trace(tmp_path, (own_us - own_us[0]).tolist(), "own.csv")
        own_fault = fault.format(at=crash_ns - first_ns, node=0) if crash and cell == 1 else ""
        (alone,) = prepare_text(
            tmp_path,
            TEXT.format(cells=1, trace="own.csv", queries=len(own_us), count=2, more=more + own_fault),
        )
        assert columns(record, first_ns) == columns(run_record(alone, 0), 0)
        if more is not EARLY:
            assert np.any(record.drop_reason >= 0)


def test_cells_know_nothing_of_each_other(tmp_path: Path) -> None:
    """Two queries at one instant are in cell 1, so one waits, though the only node of cell 0 is idle."""
    assert (open_stream(SEED, "cell", 0).uniforms(4) * 2).astype(int).tolist() == [1, 1, 0, 0]
    write_trace(tmp_path, [0, 0, 5_000, 5_000])
    text = TEXT.format(cells=2, trace="arrivals.csv", queries=4, count=2, more=EARLY)
    (scenario,) = prepare_text(tmp_path, text)
    assert run_record(scenario, 0, 1).start_ns.tolist() == [0, 300_000]
    assert run_record(scenario, 0, 0).start_ns.tolist() == [5_000_000, 5_300_000]
