"""Tasks, and how long they take, about: by that an engine is chosen, and whether to start processes for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sim.engine.engines import Engine
from sim.study.prepare import PreparedScenario

__all__ = ["Task", "expected_s", "reference_s"]

Task = tuple[int, int, int]
"""A scenario, the number of one of its replications, and one of its cells."""

QUERY_S = {Engine.REFERENCE: 1 / 30_000, Engine.COMPILED: 1e-6}
TASK_S = {Engine.REFERENCE: 0.01, Engine.COMPILED: 0.01}
"""What a query costs with all that is recorded of it, and what a task costs besides. Experiments that ship differ by
twice and more; what hangs on it is a second or two."""


def expected_s(scenarios: Sequence[PreparedScenario], tasks: Sequence[Task], engines: Sequence[Engine]) -> float:
    """Return the seconds that one process needs for `tasks`.

    Parameters
    ----------
    scenarios : sequence of PreparedScenario
    tasks : sequence of (scenario, replication, cell)
    engines : sequence of Engine
        Of each scenario.
    """
    return sum(
        count * (TASK_S[engines[index]] + scenarios[index].expected_queries_per_cell * QUERY_S[engines[index]])
        for index, count in Counter(scenario for scenario, _, _ in tasks).items()
    )


def reference_s(scenarios: Sequence[PreparedScenario]) -> float:
    """Return the seconds that one process needs for all replications of `scenarios` on the reference engine."""
    queries = sum(scenario.expected_queries * scenario.replications for scenario in scenarios)
    return queries * QUERY_S[Engine.REFERENCE]
