"""Known answers of hedging: the minimum of two services, and redundancy over every server."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.engine.record import RunRecord
from tests.theory.queues import assert_close, experiment, replications

pytestmark = pytest.mark.usefixtures("engine")

EXPONENTIAL = "{distribution: exponential, mean: 1ms}"
UNIFORM = "{sizes: [1], quantiles: [0, 1], service: [[1ms, 4ms]]}"
AT_ONCE = "hedging: {after: 0s, cancel: running}\n"


def mean_latency_ms(record: RunRecord) -> float:
    served = record.finish_ns >= 0
    served[: len(served) // 5] = False
    return float((record.finish_ns - record.arrival_ns)[served].mean() / 1e6)


@pytest.mark.parametrize(("service", "mean_ms"), [(EXPONENTIAL, 0.5), (UNIFORM, 2.0)])
def test_without_load_the_latency_is_the_lesser_of_two_services(service: str, mean_ms: float, tmp_path: Path) -> None:
    # A query an hour, so that none finds another.
    text = experiment(service=service, rate_per_s=1 / 3600, queries=3_000, nodes=2, more=AT_ONCE)
    assert_close(replications(tmp_path, text), mean_latency_ms, mean_ms)


@pytest.mark.parametrize("load", [0.6, 0.8])
def test_two_servers_that_both_get_every_query_are_one_of_twice_the_rate(load: float, tmp_path: Path) -> None:
    # Exponential services of one query on both servers end at twice the rate, and both then start the next: M/M/1.
    text = experiment(
        service=EXPONENTIAL,
        rate_per_s=2000 * load,
        queries=12_000,
        nodes=2,
        more=AT_ONCE + "router: {kind: round-robin}",
    )
    assert_close(replications(tmp_path, text), mean_latency_ms, 0.5 / (1 - load))


def test_copies_that_are_not_stopped_are_load(tmp_path: Path) -> None:
    # Both servers are M/M/1 at the full rate, with a mean response of 2 ms, and a query takes the lesser of the two.
    text = experiment(
        service=EXPONENTIAL,
        rate_per_s=500,
        queries=12_000,
        nodes=2,
        more="hedging: {after: 0s, cancel: none}\nrouter: {kind: round-robin}",
    )
    records = replications(tmp_path, text)
    # Two services of 1 ms each, whichever answers.
    assert_close(records, lambda r: float((r.part_finish_ns - r.part_start_ns).sum() / 1e6 / len(r.arrival_ns)), 2.0)
    for record in records:
        assert 1.0 < mean_latency_ms(record) < 2.0
