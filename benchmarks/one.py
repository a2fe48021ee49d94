"""One measurement, in a process of its own: ``python -m benchmarks.one CONTENDER SYSTEM [--queries N]``.

Prints one line of JSON. CPU time and memory are this process's own. Imports, the preparation of the scenario and a
first run, in which code is compiled or loaded, are not in the CPU time; building the model and drawing its queries are.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.contenders import CONTENDERS
from benchmarks.mechanisms import MECHANISMS, mechanism_text
from benchmarks.outcome import NotAvailableError, Outcome
from benchmarks.system import experiment_text, subject

__all__ = ["FEW", "MANY", "measure", "peak_memory_bytes", "rehearse"]

FEWEST, FEW, MANY = 25, 100, 2_000
"""Queries of the shortest run, of the first one, and of the one that is compared with the reference engine's."""

PILOT_S = 0.25
"""CPU seconds after which the pace of a contender is taken to be known."""


def peak_memory_bytes() -> int:
    """Return the most resident memory that this process has had."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not `ru_maxrss`, which on Linux starts from the size of the process that started this one.
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def runner(contender: str, system: str) -> Callable[[int], Callable[[], Outcome]]:
    """Return what prepares a run of so many queries."""
    chosen = CONTENDERS[contender]
    reason = chosen.missing()
    if reason is not None:
        raise NotAvailableError(reason)

    def prepared(queries: int) -> Callable[[], Outcome]:
        experiment = mechanism_text(system, queries) if system in MECHANISMS else experiment_text(int(system), queries)
        ready = subject(experiment)
        return lambda: chosen.run(ready)

    return prepared


def cpu_s(run: Callable[[], Outcome]) -> tuple[float, Outcome]:
    """Run it; return its CPU time, user and system, and what it came to."""
    gc.collect()
    begin = time.process_time()
    outcome = run()
    return time.process_time() - begin, outcome


def rehearse(contender: str, system: str, limit_s: float) -> dict[str, Any]:
    """Run few queries, then more and more: what they come to, and what the model and its queries cost.

    A run that would take longer than `limit_s` is left out.
    """
    prepared = runner(contender, system)
    first_s, outcome = cpu_s(prepared(FEW))
    checks = {FEW: outcome.to_json_dict()}
    least_s, outcome = cpu_s(prepared(FEWEST))
    least = outcome.queries
    setup_s, query_s, queries = 0.0, 0.0, FEWEST
    taken_s = least_s
    while taken_s - least_s < PILOT_S or MANY not in checks:
        queries = FEW if queries < FEW else MANY if MANY / 5 <= queries < MANY else 4 * queries
        if queries > FEW and setup_s + queries * query_s > limit_s:
            break
        taken_s, outcome = cpu_s(prepared(queries))
        # Where the model takes longer to build than to run, the difference of short runs may be noise.
        query_s = max(taken_s - least_s, 0.01 * taken_s) / (outcome.queries - least)
        setup_s = max(taken_s - outcome.queries * query_s, 0.0)
        if queries == MANY:
            checks[MANY] = outcome.to_json_dict()
    return {"query_s": query_s, "setup_s": setup_s, "first_run_s": first_s, "checks": checks}


def measure(contender: str, system: str, queries: int) -> dict[str, Any]:
    """Run `queries` queries, after a few that compile what is to be compiled."""
    prepared = runner(contender, system)
    prepared(FEW)()
    run = prepared(queries)
    before_bytes = peak_memory_bytes()
    taken_s, outcome = cpu_s(run)
    return {
        "queries": outcome.queries,
        "cpu_s": taken_s,
        "peak_bytes": peak_memory_bytes(),
        "before_bytes": before_bytes,
        "metrics": outcome.metrics,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.one", description=__doc__)
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("system", help=f"number of servers, or one of {', '.join(MECHANISMS)}")
    parser.add_argument("--queries", type=int, help="measure a run of so many; without it, find the pace and compare")
    parser.add_argument("--limit", type=float, default=60.0, help="longest run of the comparison, in seconds")
    given = parser.parse_args()
    try:
        if given.queries is None:
            result = rehearse(given.contender, given.system, given.limit)
        else:
            result = measure(given.contender, given.system, given.queries)
    except NotAvailableError as error:
        result = {"unavailable": str(error)}
    except KeyboardInterrupt:
        sys.exit(130)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
