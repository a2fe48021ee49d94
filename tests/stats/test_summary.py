"""Merging replications into a scenario's entry of summary.json."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from sim.stats import summary as stats_summary
from sim.stats.measure import METRICS, measure
from sim.stats.summary import ReplicationResult, reduce_record

MS = 1_000_000

summarise = partial(stats_summary.summarise, sla_ns=25 * MS)


@pytest.fixture(scope="module", name="results")
def _results(single_server, one_device):
    view = one_device(device_price_usd_per_h=np.array([np.nan]))
    return [reduce_record(single_server(0.8, 20_000, seed=2, replication=k), view, replication=k) for k in range(5)]


@pytest.fixture(scope="module", name="overloaded")
def _overloaded(single_server, one_device):
    return [
        reduce_record(
            single_server(1.3, 5_000, seed=1, replication=k, drain_ns=2_000 * MS), one_device(), replication=k
        )
        for k in range(3)
    ]


def test_the_entry_has_the_shape_that_readers_of_summary_json_expect(results):
    entry = summarise({"policy": "table on GPU", "rate": "800/s"}, "modelled", results).to_json_dict()
    assert entry["parameters"] == {"policy": "table on GPU", "rate": "800/s"}
    assert entry["saturated"] is False
    assert entry["evidence"] == "modelled"
    assert list(entry["counts"]) == ["offered", "served_in_time", "served_late", "dropped", "in_flight"]
    assert tuple(entry["metrics"]) == METRICS
    for metric in entry["metrics"].values():
        assert {"value", "low", "high"} <= set(metric)
    assert entry["path_mix"] == {"table@gpu": 1.0}
    assert set(entry["utilisation"]) == {"hw1/gpu"}
    assert entry["metrics"]["cost_per_million_correct"] == {
        "value": None,
        "low": None,
        "high": None,
        "reason": "the price of a device is not known",
    }


def test_counts_are_over_whole_runs_and_measured_counts_over_what_is_kept(results):
    summary = summarise({}, "modelled", results)
    outcomes = ("served_in_time", "served_late", "dropped", "in_flight")
    for counts in (summary.counts, summary.measured):
        assert counts["offered"] == sum(counts[o] for o in outcomes)
    assert summary.counts["offered"] == 100_000
    assert summary.measured["offered"] == 5 * round(20_000 * (1 - summary.warmup.fraction))


def test_a_value_is_the_mean_over_replications_at_the_chosen_cut(results, single_server, one_device):
    summary = summarise({}, "modelled", results)
    assert summary.warmup.method == "mser-5"
    assert summary.warmup.established
    assert summary.warmup.fraction > 0
    cut = round(20_000 * summary.warmup.fraction)
    alone = [measure(single_server(0.8, 20_000, seed=2, replication=k), one_device(), [cut])[0] for k in range(5)]
    metric = summary.metrics["latency_ms_p99"]
    assert metric.values == tuple(m.metrics["latency_ms_p99"] for m in alone)
    assert metric.value == math.fsum(metric.values) / 5
    assert metric.low < metric.value < metric.high
    # The closed form, 5 ln(100) ms, within seven standard errors (t with 4 degrees of freedom: 0.2%).
    error = np.std(metric.values, ddof=1) / math.sqrt(5)
    assert abs(metric.value - 5 * math.log(100)) < 7 * error


def test_order_of_arrival_and_a_trip_through_json_change_no_byte(results):
    expected = json.dumps(summarise({}, "modelled", results).to_json_dict(), allow_nan=False)
    shuffled = results[:]
    random.Random(1).shuffle(shuffled)
    copies = [ReplicationResult.from_json_dict(json.loads(json.dumps(r.to_json_dict()))) for r in shuffled]
    merged = summarise({}, "modelled", copies)
    assert json.dumps(merged.to_json_dict(), allow_nan=False) == expected
    # Paired comparisons match replications by their place, so these must be in order too.
    assert merged.metrics["latency_ms_p50"] == summarise({}, "modelled", results).metrics["latency_ms_p50"]


def test_a_saturated_scenario_says_so_instead_of_a_tail(overloaded):
    summary = summarise({}, "modelled", overloaded)
    assert summary.saturated
    for name, metric in summary.metrics.items():
        if name.startswith("latency_ms_"):
            assert (metric.value, metric.low, metric.high, metric.reason) == (None, None, None, "saturated")
            assert metric.values == ()
    assert summary.metrics["queries_per_s"].value is not None
    assert summary.waiting_parts == {"hw1/gpu": None}
    assert summary.to_json_dict()["saturation"]["growth_fraction"] == pytest.approx(1 - 1 / 1.3, abs=0.1)


def test_a_known_overload_is_saturated_whatever_the_backlog_shows(results):
    summary = summarise({}, "modelled", results, offered_load=1.01)
    assert summary.saturated
    assert summary.saturation.offered_load == 1.01


def test_a_metric_that_one_replication_lacks_is_missing_with_its_reason(results, single_server, one_device):
    short = reduce_record(single_server(0.8, 600, seed=1, replication=9), one_device(), replication=9)
    summary = summarise({}, "modelled", [*results, short])
    assert summary.metrics["latency_ms_p99"].value is None
    assert "fewer than 10" in summary.metrics["latency_ms_p99"].reason
    assert summary.metrics["latency_ms_p50"].value is not None


def test_one_replication_has_values_and_no_intervals(results):
    summary = summarise({}, "modelled", results[:1])
    assert summary.metrics["latency_ms_p50"].value is not None
    assert summary.metrics["latency_ms_p50"].low is None
    assert "one replication" in summary.metrics["latency_ms_p50"].reason


def test_intervals_stay_within_what_a_metric_can_be(single_server, one_device):
    # Nearly all queries meet this limit, so a symmetric interval would reach beyond 1.
    view = one_device(sla_ns=30 * MS)
    few = [reduce_record(single_server(0.8, 300, seed=1, replication=k), view, replication=k) for k in range(3)]
    summary = summarise({}, "modelled", few)
    metric = summary.metrics["sla_attainment"]
    assert 0 <= metric.low <= metric.value <= metric.high <= 1
    assert max(metric.values) + 1e-12 >= metric.value
    assert summary.metrics["latency_ms_mean"].low >= 0


def test_a_given_warm_up_is_cut_exactly(single_server, one_device):
    records = [single_server(0.5, 1_000, seed=1, replication=k) for k in range(2)]
    given = [reduce_record(r, one_device(), replication=k, warmup_ns=500 * MS) for k, r in enumerate(records)]
    summary = summarise({}, "modelled", given)
    kept = [int(np.sum(r.arrival_ns >= 500 * MS)) for r in records]
    assert summary.warmup.method == "given"
    assert summary.measured["offered"] == sum(kept)
    assert summary.warmup.fraction == pytest.approx(1 - sum(kept) / 2_000)


def test_nothing_is_cut_from_a_load_that_varies_with_time(single_server, one_device):
    record = single_server(0.9, 2_000, seed=1)
    one = reduce_record(record, one_device(), replication=0, time_varying=True)
    summary = summarise({}, "modelled", [one], time_varying=True)
    assert (summary.warmup.method, summary.warmup.fraction) == ("none", 0)
    assert summary.measured["offered"] == 2_000


def test_drops_are_told_by_reason(record_of, one_device):
    record = record_of([0, 1, 2], [0, 1, 2], [1, 2, 3], end_ns=5, dropped=[1])
    summary = summarise({}, "modelled", [reduce_record(record, one_device(), replication=0)])
    assert summary.dropped_by_reason == {"queue full": 1}
    assert summary.counts["dropped"] == 1


def test_results_that_do_not_belong_together_are_refused(results, single_server, one_device):
    with pytest.raises(ValueError, match="no replication"):
        summarise({}, "modelled", [])
    with pytest.raises(ValueError, match="number"):
        summarise({}, "modelled", [results[0], results[0]])
    other = reduce_record(single_server(0.8, 100, seed=1), one_device(), replication=7, warmup_ns=0)
    with pytest.raises(ValueError, match="cuts"):
        summarise({}, "modelled", [*results, other])


def test_counts_that_do_not_add_up_are_refused(results):
    wrong = dataclasses.replace(results[0], counts=results[0].counts | {"in_flight": 1})
    with pytest.raises(ValueError, match="add up"):
        summarise({}, "modelled", [wrong])


def test_nan_never_reaches_the_file(results):
    with pytest.raises(ValueError, match=r"parameters\.rate"):
        summarise({"rate": math.nan}, "modelled", results).to_json_dict()


def test_the_percentile_curve_ends_where_fewer_than_ten_queries_lie_beyond(results):
    summary = summarise({}, "modelled", results)
    curve = summary.percentile_curve
    by_p = {round(point.p, 9): point for point in curve}
    assert by_p[0.9].value == pytest.approx(summary.metrics["latency_ms_p90"].value)
    assert by_p[0.99].value == pytest.approx(summary.metrics["latency_ms_p99"].value)
    assert all(a.value <= b.value and a.p < b.p for a, b in pairwise(curve))
    kept = summary.measured["offered"] / len(results)
    assert kept * (1 - curve[-1].p) > 9.99
    assert kept * (1 - curve[-1].p) * 10**-0.1 < 10.0
    assert all(point.low <= point.value <= point.high for point in curve)
    assert summary.to_json_dict()["sla_ms"] == 25.0


def test_a_saturated_scenario_has_no_percentile_curve(overloaded):
    assert summarise({}, "modelled", overloaded).percentile_curve == ()
