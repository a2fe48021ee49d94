"""Hand-worked event logs: every stamp of a handful of queries, to the nanosecond."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.engine.record import NEVER, NO_PATH, Outcome, RunRecord
from tests.harness import run_text, write_trace

US = 1000

IN_TIME, LATE, DROPPED, IN_FLIGHT = Outcome


def log(record: RunRecord) -> list[tuple[float, float, float, Outcome]]:
    """Arrival, start and finish in microseconds, and the outcome, of every query."""

    def us(stamp: int) -> float:
        return stamp if stamp == NEVER else stamp / US

    return [
        (us(a), us(s), us(f), Outcome(o))
        for a, s, f, o in zip(
            record.arrival_ns.tolist(),
            record.start_ns.tolist(),
            record.finish_ns.tolist(),
            record.outcome.tolist(),
            strict=True,
        )
    ]


def experiment(
    folder: Path,
    arrivals_us: list[float],
    *,
    fleet: str,
    sizes: list[int] | None = None,
    sla: str = "25us",
    more: str = "",
    model: str = "",
) -> str:
    write_trace(folder, arrivals_us)
    size_text = "{kind: fixed, size: 1}"
    if sizes is not None:
        (folder / "sizes.csv").write_text("size\n" + "".join(f"{size}\n" for size in sizes))
        size_text = "{kind: trace, file: sizes.csv}"
    model = model or "{name: m, accuracy: {table: 80%}, bytes: {table: 1kB}}"
    return f"""
name: hand-worked
model: {model}
sla: {sla}
workload:
  arrivals: {{kind: trace, file: arrivals.csv, unit: us}}
  sizes: {size_text}
  queries: {len(arrivals_us)}
  warmup: 0s
fleet: {fleet}
replications: 1
{more}
"""


ONE_LANE = "[{name: n, devices: {cpu: {profile: {name: c, kind: cpu, lanes: 1, service: {distribution: deterministic, mean: 10us}}%s}}}]"
