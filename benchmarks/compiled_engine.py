"""The compiled engine as the benchmark runs it: one replication, with the drawing of its queries and its metrics."""

from __future__ import annotations

from sim.engine.engines import Engine
from sim.stats.summary import ReplicationResult
from sim.study.prepare import PreparedScenario
from sim.study.replication import run_totals

__all__ = ["compiled"]


def compiled(prepared: PreparedScenario, replication: int) -> ReplicationResult:
    """Run one replication on the compiled engine, within this process, whose CPU time and memory are measured."""
    return run_totals(prepared, replication, 0, Engine.COMPILED).result(prepared.view, replication)
