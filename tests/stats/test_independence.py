"""How many independent latencies a replication is worth, and which intervals are warned of."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from sim.stats.independence import independent_latencies, short_runs
from sim.stats.merge import Metric
from sim.stats.summary import reduce_record, summarise
from sim.stats.warmup import BatchSeries

SLA_NS = 25_000_000


def series(values: Any, per_batch: int = 5) -> BatchSeries:
    return BatchSeries(per_batch, np.asarray(values, dtype=np.float32))


def autoregressive(rng: np.random.Generator, memory: float, length: int) -> BatchSeries:
    noise = rng.normal(0, 1, length + 500)
    values = np.zeros(length + 500)
    for i in range(1, len(values)):
        values[i] = memory * values[i - 1] + noise[i]
    return series(10 + values[500:])


def test_two_replications_by_hand() -> None:
    # Sixteen batches in eight stretches of two equal ones, 1 and 3 in turn. The variance of batches is 32/31, that of
    # the means of stretches 16/15: worth 16 (32/31) / (2 (16/15)) = 7.74 independent ones.
    one = series(np.repeat([1, 3] * 4, 2))
    assert independent_latencies([one, one], [0, 0]) == pytest.approx(16 * (32 / 31) / (2 * 16 / 15))
    assert independent_latencies([one, one], [0, 0], cells=3) == pytest.approx(3 * 16 * (32 / 31) / (2 * 16 / 15))


def test_what_varies_only_within_stretches_is_worth_all_its_batches() -> None:
    alternating = series([1, 3] * 80)
    assert independent_latencies([alternating], [0]) == 160
    assert independent_latencies([series(np.ones(160))], [0]) == 160


def test_what_is_cut_counts_for_nothing() -> None:
    rng = np.random.default_rng(1)
    calm = rng.normal(10, 1, 800)
    jump = np.concatenate([np.full(800, 100.0), calm])
    whole = independent_latencies([series(calm)], [0])
    assert independent_latencies([series(jump)], [0.5]) == pytest.approx(whole)
    assert independent_latencies([series(jump)], [0.0]) < 10


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
def test_an_autoregressive_series_is_worth_what_theory_says(memory: float) -> None:
    # The variance of the mean of AR(1) is (1 + a) / (1 - a) times that of independent values. 160 stretch means: a
    # standard error of sqrt(2/159) = 11%, five of them allowed.
    rng = np.random.default_rng(2)
    found = independent_latencies([autoregressive(rng, memory, 8_000) for _ in range(20)], [0] * 20)
    assert found == pytest.approx(8_000 * (1 - memory) / (1 + memory), rel=5 * math.sqrt(2 / 159))


def test_batches_that_served_nothing_are_left_out_and_too_few_tell_nothing() -> None:
    values = np.random.default_rng(3).normal(5, 1, (20, 800))
    values[:, ::4] = np.nan
    found = independent_latencies([series(one) for one in values], [0] * 20)
    assert found == pytest.approx(600, rel=5 * math.sqrt(2 / 159))
    assert independent_latencies([series(values[0, :15])], [0]) is None
    assert independent_latencies([series(np.full(800, np.nan))], [0]) is None


def test_coarser_batches_of_one_replication_are_no_hindrance() -> None:
    values = np.random.default_rng(4).normal(5, 1, 1_600)
    fine, coarse = series(values), series(values.reshape(800, 2).mean(axis=1), 10)
    assert independent_latencies([fine, coarse], [0, 0]) == pytest.approx(
        independent_latencies([coarse, coarse], [0, 0]), rel=1e-5
    )


METRICS = {
    f"latency_ms_{name}": Metric(5.0, 4.0, 6.0, None, (4.0, 6.0))
    for name in ("p50", "p90", "p95", "p99", "p999", "mean")
}


def names(*given: Any) -> list[str]:
    return [warning.metric.removeprefix("latency_ms_") for warning in short_runs(*given)]


def test_how_many_independent_latencies_each_metric_needs() -> None:
    assert names(3_000, METRICS, {}) == []
    assert names(2_999, METRICS, {}) == ["p999"]
    assert names(300, METRICS, {}) == ["p999"]
    assert names(299, METRICS, {}) == ["p99", "p999"]
    assert names(59, METRICS, {}) == ["p95", "p99", "p999"]
    assert names(50, METRICS, {}) == ["p95", "p99", "p999"]
    assert names(49, METRICS, {}) == ["mean", "p50", "p90", "p95", "p99", "p999"]
    assert names(None, METRICS, {}) == []
    (p999, *_) = short_runs(2_999, METRICS, {})
    assert (p999.needed, p999.times) == (3_000, 2)
    (_, p99, _) = short_runs(50, METRICS, {})
    assert p99.times == 10  # To be worth 500.


def test_what_has_no_interval_needs_no_warning() -> None:
    none = METRICS | {"latency_ms_p999": Metric(None, None, None, "too few", ())}
    assert names(299, none, {}) == ["p99"]


def test_a_class_is_worth_no_more_than_its_queries() -> None:
    warnings = short_runs(5_000, METRICS, {"rare": (METRICS, 200.0), "often": (METRICS, 8_000.0)})
    assert [one.metric for one in warnings] == ["rare: latency_ms_p99", "rare: latency_ms_p999"]
    assert warnings[0].independent_latencies == 200


@pytest.mark.parametrize(("load", "queries", "warned"), [(0.9, 10_000, True), (0.8, 5_000, True), (0.5, 20_000, False)])
def test_runs_of_one_server_that_are_too_short_are_warned_of(
    single_server: Any, one_device: Any, load: float, queries: int, warned: bool
) -> None:
    results = [
        reduce_record(single_server(load, queries, seed=1, replication=k), one_device(), replication=k)
        for k in range(10)
    ]
    summary = summarise({}, "modelled", results, sla_ns=SLA_NS)
    assert any(warning.metric == "latency_ms_p99" for warning in summary.warnings) == warned
    entry = summary.to_json_dict()
    assert entry["independent_latencies"] == summary.independent_latencies
    assert [one["metric"] for one in entry["warnings"]] == [one.metric for one in summary.warnings]


def test_it_does_not_matter_how_the_warm_up_was_chosen(single_server: Any, one_device: Any) -> None:
    records = [single_server(0.9, 10_000, seed=1, replication=k) for k in range(5)]
    given = [reduce_record(r, one_device(), replication=k, warmup_ns=0) for k, r in enumerate(records)]
    assert summarise({}, "modelled", given, sla_ns=SLA_NS).warnings
    varying = [reduce_record(r, one_device(), replication=k, time_varying=True) for k, r in enumerate(records)]
    # With a load that varies there is nothing steady: the percentile of such a run is what is asked for.
    summary = summarise({}, "modelled", varying, sla_ns=SLA_NS, time_varying=True)
    assert summary.independent_latencies is None and summary.warnings == ()
