"""Known answers of faults: availability, the capacity that is left, and what a crash loses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sim.engine.record import RunRecord, Span
from tests.theory.queues import assert_close, assert_values_close, experiment, replications

pytestmark = pytest.mark.usefixtures("engine")

LIFETIMES = "faults: {lifetimes: [{each: node, group: n, mtbf: 3s, mttr: 1s}]}\n"
NODES = 20


def timed(text: str, duration: str) -> str:
    """The textbook experiment over a time instead of a number of queries."""
    return text.replace("  queries: 1\n", f"  duration: {duration}\n")


def up_share(record: RunRecord) -> float:
    down = record.span_kind == Span.DOWN
    lost_ns = (np.minimum(record.span_to_ns, record.end_ns) - np.minimum(record.span_from_ns, record.end_ns))[down]
    return 1 - float(lost_ns.sum()) / (NODES * record.end_ns)


def test_availability_and_the_capacity_that_it_leaves(tmp_path: Path) -> None:
    # Overloaded nodes are always busy while they are up: 20 of them at 10 queries/s each, three quarters of the time.
    text = experiment(
        service="{distribution: exponential, mean: 100ms}",
        rate_per_s=300,
        queries=1,
        nodes=NODES,
        more=LIFETIMES + "queue: {limit: 20}\nrouter: {kind: least-backlog}",
    )
    records = replications(tmp_path, timed(text, "100s"))
    # Up at first, a node's availability falls to its limit within a second or so (the sum of its rates is 4/3 per s).
    limit, rates, end_s = 0.75, 1 / 3 + 1, 100
    exact = limit + (1 - limit) / (rates * end_s)
    assert_close(records, up_share, exact)
    served_per_s = [float(np.sum((r.finish_ns >= 0) & (r.finish_ns <= r.end_ns))) / 100 for r in records]
    # What a crash cuts off is memoryless, so an up node completes 10 a second; it is empty for a moment after a repair.
    per_up_node = [served / (NODES * up_share(r)) for served, r in zip(served_per_s, records, strict=True)]
    assert_values_close(per_up_node, 10, allowance=0.1)


def test_of_what_finds_a_single_server_a_crash_loses_the_share_of_the_race(tmp_path: Path) -> None:
    # With hardly any load a query is lost if the node fails within its service: rates 1 and 10 a second, so 1 in 11.
    text = experiment(
        service="{distribution: exponential, mean: 100ms}",
        rate_per_s=0.05,
        queries=1,
        more="faults: {lifetimes: [{each: node, group: n, mtbf: 1s, mttr: 1s}]}",
    )
    records = replications(tmp_path, timed(text, "60000s"))

    def lost(record: RunRecord) -> float:
        began = record.start_ns >= 0
        return float(np.mean(record.finish_ns[began] < 0))

    assert_close(records, lost, 1 / 11)


def test_lost_queries_that_are_sent_again_are_served(tmp_path: Path) -> None:
    text = experiment(
        service="{distribution: exponential, mean: 10ms}",
        rate_per_s=100,
        queries=1,
        nodes=NODES,
        replications=3,
        more=LIFETIMES + "retries: {limit: 8, past_deadline: true}",
    )
    for record in replications(tmp_path, timed(text, "30s")):
        assert np.any(record.attempt_cause == 2)
        assert np.mean(record.finish_ns >= 0) > 0.999
