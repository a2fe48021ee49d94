"""Known answer of M/G/1 whose lane serves more slowly after idle time: exceptional first service (Welch 1964)."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.theory.queues import assert_close, experiment, replications, waiting_ms

pytestmark = pytest.mark.usefixtures("engine")


@pytest.mark.parametrize("load", [0.3, 0.8])
def test_the_first_of_a_busy_period_takes_longer(load: float, tmp_path: Path) -> None:
    until_ms, most_ms = 2.0, 1.5
    service = "{distribution: exponential, mean: 1ms, after_idle: {idle: [2ms], extra: [1.5ms]}}"
    records = replications(tmp_path, experiment(service=service, rate_per_s=1000 * load, queries=30_000))
    # Idle periods are exponential with the rate of the arrivals; what is extra grows up to 2 ms of them. Per ms:
    rate, still = load, math.exp(-load * until_ms)
    extra = most_ms / until_ms * (1 - still) / rate
    extra_square = (most_ms / until_ms) ** 2 * 2 / rate**2 * (1 - still * (1 + rate * until_ms))
    first, first_square = 1 + extra, 2 + 2 * extra + extra_square
    # An arrival waits for those that wait, and for the rest of what is served, which is a first one where the one
    # before found the lane idle.
    idle = (1 - load) / (1 - load + rate * first)
    wait = rate / 2 * (idle * first_square + (1 - idle) * 2) / (1 - load)
    assert_close(records, lambda r: waiting_ms(r).mean(), wait)
    assert_close(records, lambda r: float((waiting_ms(r) == 0).mean()), idle)


@pytest.mark.parametrize(
    ("curves", "longer"),
    [
        ("{idle: [1000s], extra: [200s], carry: 40%}", 0.2 / 0.6),
        # Every query has one sample.
        ("[{idle: [1000s], extra: [50s], per_sample: [30s]}, {idle: [1000s], extra: [40s], carry: 80%}]", 0.08 + 0.2),
    ],
)
def test_carried_idle_time_takes_from_the_idle_share(curves: str, longer: float, tmp_path: Path) -> None:
    """Rate conservation. A carry of c counts each idle ms 1 / (1 - c) times, and each counted ms makes service longer.

    With ``per_ms`` more service for each, a query comes with 1 / rate ms, of which it spends its mean service, its idle
    time before it, and ``per_ms / (1 - c)`` of this, by each curve.
    """
    rate = 0.6
    service = f"{{distribution: exponential, mean: 1ms, after_idle: {curves}}}"
    records = replications(tmp_path, experiment(service=service, rate_per_s=1000 * rate, queries=30_000))
    idle = (1 - rate) / (1 + longer)
    # Arrivals see time averages.
    assert_close(records, lambda r: float((waiting_ms(r) == 0).mean()), idle)
    assert_close(records, lambda r: float((r.finish_ns - r.start_ns)[6_000:].mean()) / 1e6, (1 - idle) / rate)
