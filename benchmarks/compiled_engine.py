"""The compiled engine as the benchmark runs it: one replication, with the drawing of its queries and its metrics."""

from __future__ import annotations

from sim.stats.summary import ReplicationResult
from sim.study.prepare import PreparedScenario

__all__ = ["NotAvailableError", "compiled"]


class NotAvailableError(Exception):
    """A contender cannot run here; says why."""


def compiled(prepared: PreparedScenario, replication: int) -> ReplicationResult:
    """Run one replication on the compiled engine, within this process, whose CPU time and memory are measured.

    Raises
    ------
    NotAvailableError
        While there is none.
    """
    raise NotAvailableError("not available: this version has no compiled engine")
