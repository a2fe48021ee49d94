"""``python -m benchmarks.run_length``: coverage of percentiles over how many independent latencies lie beyond them.

What `sim.stats.independence.LEAST_BEYOND` stands on. Queues are simulated by their recursion, without the simulator, so
that many lengths and numbers of replications can be looked at; `benchmarks.coverage` does it with the simulator.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from benchmarks.coverage import true_values_ms
from sim.stats.independence import independent_latencies
from sim.stats.interval import t_interval
from sim.stats.warmup import QUERIES_PER_BATCH, BatchSeries

__all__ = ["in_system_ms", "main", "rows"]

QUERIES = {
    (1, 0.5): (1_000, 2_000, 4_000, 8_000),
    (1, 0.8): (2_000, 4_000, 8_000, 16_000, 32_000),
    (4, 0.8): (2_000, 4_000, 8_000, 16_000, 32_000),
    (1, 0.9): (10_000, 40_000, 100_000),
}
"""Queries of a replication, by servers and load."""

REPLICATIONS = (3, 10, 100)
PERCENTILES = {"p95": 0.95, "p99": 0.99}
CUT = 0.1


@njit(cache=True)
def in_system_ms(gap_ms: NDArray[np.float64], service_ms: NDArray[np.float64], servers: int) -> NDArray[np.float64]:
    """Return the times in system of queries that the first free of several servers serves in their order."""
    free_ms = np.zeros(servers)
    arrival_ms = 0.0
    found = np.empty(len(gap_ms))
    for i in range(len(gap_ms)):
        arrival_ms += gap_ms[i]
        first = np.argmin(free_ms)
        free_ms[first] = max(arrival_ms, free_ms[first]) + service_ms[i]
        found[i] = free_ms[first] - arrival_ms
    return found


def _pool(
    servers: int, load: float, queries: int, size: int, seed: int
) -> tuple[dict[str, NDArray[Any]], list[BatchSeries]]:
    """Return the percentiles of many replications, and their batch means."""
    values = {label: np.empty(size) for label in PERCENTILES}
    series = []
    for k in range(size):
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(servers, queries, k))))
        gaps = rng.exponential(1 / (servers * load), queries)
        latency = in_system_ms(gaps, rng.exponential(1.0, queries), servers)[int(CUT * queries) :]
        ranks = {label: int(np.ceil(p * len(latency))) - 1 for label, p in PERCENTILES.items()}
        ranked = np.partition(latency, list(ranks.values()))
        for label, rank in ranks.items():
            values[label][k] = ranked[rank]
        batches = len(latency) // QUERIES_PER_BATCH
        means = latency[: batches * QUERIES_PER_BATCH].reshape(batches, QUERIES_PER_BATCH).mean(axis=1)
        series.append(BatchSeries(QUERIES_PER_BATCH, means.astype(np.float32)))
    return values, series


def rows(size: int, experiments: int, seed: int) -> Iterator[str]:
    """Yield a Markdown table: a row for each queue and length, coverage of p95 and p99 for each number of replications.

    Experiments draw their replications from a pool of `size`, those of ten and fewer without using one twice.
    """
    counts = " | ".join(f"{count} replications" for count in REPLICATIONS)
    yield f"| queue | queries | {' | '.join(f'beyond {label} | {counts}' for label in PERCENTILES)} |"
    yield "|---" * (2 + len(PERCENTILES) * (1 + len(REPLICATIONS))) + "|"
    for (servers, load), lengths in QUERIES.items():
        true_ms = true_values_ms(servers, load)
        for queries in lengths:
            values, series = _pool(servers, load, queries, size, seed)
            worth = independent_latencies(series, [0.0] * size)
            assert worth is not None
            rng = np.random.Generator(np.random.Philox(seed))
            cells = [f"M/M/{servers}, load {load:g}", f"{queries:,}"]
            for label, p in PERCENTILES.items():
                covered = [_coverage(values[label], count, experiments, true_ms[label], rng) for count in REPLICATIONS]
                cells += [f"{worth * (1 - p):.2g}", *(f"{share:.0%}" for share in covered)]
            yield f"| {' | '.join(cells)} |"


def _coverage(
    pool: NDArray[np.float64], count: int, experiments: int, true_ms: float, rng: np.random.Generator
) -> float:
    order = rng.permutation(len(pool))
    apart = len(pool) // count >= experiments
    covered = 0
    for k in range(experiments):
        chosen = order[k * count : (k + 1) * count] if apart else rng.choice(len(pool), count, replace=False)
        interval = t_interval(pool[chosen].tolist())
        assert interval.low is not None and interval.high is not None
        covered += interval.low <= true_ms <= interval.high
    return covered / experiments


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.run_length", description=__doc__)
    options.add_argument("--pool", type=int, default=3_000, help="replications of every kind [3000]")
    options.add_argument("--experiments", type=int, default=300, help="experiments drawn from them [300]")
    options.add_argument("--seed", type=int, default=1, help="seed of every draw [1]")
    given = options.parse_args(arguments)
    for line in rows(given.pool, given.experiments, given.seed):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
