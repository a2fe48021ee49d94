"""Metrics of one replication: by hand, against a slow second reading of the definitions, and in theory."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.engine.record import Outcome
from sim.stats.measure import (
    METRICS,
    PERCENTILES_PER_MILLE,
    Measurement,
    count_dropped_by_reason,
    count_outcomes,
    measure,
)
from sim.stats.warmup import candidate_cuts

MS = 1_000_000


def test_four_queries_by_hand(record_of, one_device):
    # Lane 0 serves 0-2, 3-5 and 5-9 ms; query 2 waits 1 ms, misses the SLA of 4 ms; query 3 is dropped.
    record = record_of(
        [0, 3 * MS, 4 * MS, 6 * MS],
        [0, 3 * MS, 5 * MS, 6 * MS],
        [2 * MS, 5 * MS, 9 * MS, 7 * MS],
        end_ns=10 * MS,
        sla_ns=4 * MS,
        size=[10, 20, 30, 40],
        dropped=[3],
    )
    view = one_device(sla_ns=4 * MS)
    (m,) = measure(record, view, [0])
    assert m.measured == {"offered": 4, "served_in_time": 2, "served_late": 1, "dropped": 1, "in_flight": 0}
    assert count_outcomes(record) == m.measured
    assert count_dropped_by_reason(record, view) == {"queue full": 1}
    assert m.metrics["queries_per_s"] == 300
    assert m.metrics["samples_per_s"] == 6_000
    assert m.metrics["correct_predictions_per_s"] == 3_000
    assert m.metrics["correct_predictions_within_sla_per_s"] == 1_500
    assert m.metrics["accuracy_served"] == 0.5
    assert m.metrics["sla_attainment"] == 0.5
    assert m.metrics["drop_rate"] == 0.25
    assert m.metrics["latency_ms_mean"] == 3
    assert m.utilisation == {"hw1/gpu": 0.8}
    assert m.waiting_parts == {"hw1/gpu": 0.1}
    assert m.path_mix == {"table@gpu": 1.0}
    # (50 W x 10 ms + 200 W x 8 ms) = 2.1 J for 30 correct predictions; 3.6 $/h is a millionth of a $ per ms.
    assert m.metrics["energy_j_per_million_correct"] == pytest.approx(2.1 / 30e-6)
    assert m.metrics["cost_per_million_correct"] == pytest.approx(1e-5 / 30e-6)
    assert set(m.metrics) == set(METRICS)
    assert set(m.reasons) == set(PERCENTILES_PER_MILLE)


def test_a_cut_moves_the_window_and_clips_what_crosses_its_edge(record_of, one_device):
    record = record_of(
        [0, 3 * MS, 4 * MS], [0, 3 * MS, 5 * MS], [2 * MS, 5 * MS, 9 * MS], end_ns=8 * MS, size=[10, 20, 30]
    )
    whole, cut = measure(record, one_device(), [0, 2])
    assert (cut.cut, cut.window_start_ns, cut.window_end_ns) == (2, 4 * MS, 8 * MS)
    assert whole.window_start_ns == 0
    # Query 1 arrived before the window and finishes in it: its throughput counts, its latency does not.
    assert cut.metrics["queries_per_s"] == 1 / 4e-3
    assert cut.metrics["samples_per_s"] == 20 / 4e-3
    assert cut.metrics["latency_ms_mean"] == 5
    assert cut.measured["offered"] == 1
    # Busy 4-5 and 5-8 of 4-8 ms; query 2 waits from 4 to 5 ms.
    assert cut.utilisation["hw1/gpu"] == 1.0
    assert cut.waiting_parts["hw1/gpu"] == 0.25


def test_lanes_devices_and_paths_are_told_apart(record_of, one_device):
    # Kind 0 has one device of two lanes, kind 1 two devices of one lane each.
    view = one_device(
        lane_device=np.array([0, 0, 1, 2]),
        device_kind=np.array([0, 1, 1]),
        device_kind_name=["hw1/gpu", "hw1/cpu"],
        device_idle_w=np.array([100.0, 10.0, 10.0]),
        device_busy_w=np.array([300.0, 30.0, 30.0]),
        device_price_usd_per_h=np.array([3.6, 0.0, 0.0]),
        path_names=["table@gpu", "dhe@gpu", "table@cpu"],
        path_accuracy=np.array([0.5, 0.5, 0.5]),
    )
    record = record_of(
        [0, 0, 0],
        [0, 0, 0],
        [4 * MS, 2 * MS, 6 * MS],
        end_ns=10 * MS,
        lane=[0, 1, 3],
        path=[0, 1, 2],
        size=[1, 1, 2],
    )
    (m,) = measure(record, view, [0])
    assert m.utilisation == {"hw1/gpu": pytest.approx(6 / 20), "hw1/cpu": pytest.approx(6 / 20)}
    assert m.path_mix == {"table@gpu": 0.25, "dhe@gpu": 0.25, "table@cpu": 0.5}
    joules = (120 * 10 + (200 / 2) * 6 + 20 * 6) * 1e-3
    assert m.metrics["energy_j_per_million_correct"] == pytest.approx(joules / 2e-6)


def test_unknown_power_and_price_give_no_number(record_of, one_device):
    record = record_of([0], [0], [MS], end_ns=MS)
    view = one_device(device_busy_w=np.array([np.nan]), device_price_usd_per_h=np.array([np.nan]))
    (m,) = measure(record, view, [0])
    assert m.metrics["energy_j_per_million_correct"] is None
    assert m.metrics["cost_per_million_correct"] is None
    assert "power" in m.reasons["energy_j_per_million_correct"]
    assert "price" in m.reasons["cost_per_million_correct"]


def steady(record_of, queries, **options):
    """Query i takes i+1 ns on its own; one a millisecond."""
    arrival = np.arange(queries) * MS
    return record_of(arrival, arrival, arrival + 1 + np.arange(queries), end_ns=queries * MS, **options)


@pytest.mark.parametrize(
    ("queries", "given_names"),
    [
        (64, ["latency_ms_p50"]),
        (99, ["latency_ms_p50"]),
        (100, ["latency_ms_p50", "latency_ms_p90"]),
        (200, ["latency_ms_p50", "latency_ms_p90", "latency_ms_p95"]),
        (999, ["latency_ms_p50", "latency_ms_p90", "latency_ms_p95"]),
        (1_000, ["latency_ms_p50", "latency_ms_p90", "latency_ms_p95", "latency_ms_p99"]),
        (9_999, ["latency_ms_p50", "latency_ms_p90", "latency_ms_p95", "latency_ms_p99"]),
        (10_000, list(PERCENTILES_PER_MILLE)),
    ],
)
def test_no_percentile_from_too_few_queries(record_of, one_device, queries, given_names):
    (m,) = measure(steady(record_of, queries), one_device(), [0])
    assert [p for p in PERCENTILES_PER_MILLE if m.metrics[p] is not None] == given_names


def test_percentiles_are_the_order_statistics_that_numpy_calls_inverted_cdf(record_of, one_device):
    record = steady(record_of, 12_345)
    (m,) = measure(record, one_device(), [0])
    latency = record.finish_ns - record.arrival_ns
    for name, per_mille in PERCENTILES_PER_MILLE.items():
        expected = np.quantile(latency, per_mille / 1000, method="inverted_cdf")
        assert m.metrics[name] == expected / 1e6


def test_throughput_has_the_right_power_of_ten(record_of, one_device):
    # One query of 100 samples every millisecond for ten seconds, whatever the unit of the clock.
    (m,) = measure(steady(record_of, 10_000, size=100), one_device(), [0])
    assert m.metrics["queries_per_s"] == pytest.approx(1_000, rel=1e-3)
    assert m.metrics["samples_per_s"] == pytest.approx(100_000, rel=1e-3)
    assert m.metrics["correct_predictions_per_s"] == pytest.approx(50_000, rel=1e-3)


def test_stopping_an_overloaded_run_cannot_shorten_its_tail(single_server, one_device):
    drained = single_server(1.5, 20_000, seed=3)
    stopped = single_server(1.5, 20_000, seed=3, drain_ns=0)
    (true,) = measure(drained, one_device(), [0])
    (seen,) = measure(stopped, one_device(), [0])
    finished = stopped.outcome != Outcome.IN_FLIGHT
    naive = np.quantile((stopped.finish_ns - stopped.arrival_ns)[finished], 0.99) / 1e6
    assert naive < 0.75 * true.metrics["latency_ms_p99"]  # the mistake: a p99 as long as the run allowed
    assert seen.metrics["latency_ms_p99"] is None
    assert seen.reasons["latency_ms_p99"].startswith("censored")
    assert seen.metrics["latency_ms_p999"] is None
    assert seen.metrics["latency_ms_mean"] is None
    assert seen.waiting_parts == {"hw1/gpu": None}
    # What is given in both is the same: a third of the queries in flight does not reach down to the median.
    assert seen.metrics["latency_ms_p50"] == true.metrics["latency_ms_p50"]
    assert seen.metrics["sla_attainment"] == pytest.approx(true.metrics["sla_attainment"], abs=1e-3)


def test_a_mean_forgives_one_in_a_thousand_in_flight(record_of, one_device):
    # Query i finishes i+1 ns after its arrival, so a stop at an arrival leaves that query in flight.
    one = steady(record_of, 1_000, stop_ns=999 * MS)
    assert count_outcomes(one)["in_flight"] == 1
    (m,) = measure(one, one_device(sla_ns=1), [0])
    assert m.metrics["latency_ms_mean"] == pytest.approx(500e-6)
    assert m.metrics["latency_ms_p99"] == 990e-6
    (m,) = measure(steady(record_of, 999, stop_ns=998 * MS), one_device(sla_ns=1), [0])
    assert m.metrics["latency_ms_mean"] is None


def test_attainment_is_withheld_where_the_clock_stops_before_the_sla(record_of, one_device):
    record = steady(record_of, 100, stop_ns=99 * MS)
    (m,) = measure(record, one_device(), [0])
    assert m.metrics["sla_attainment"] is None
    assert m.reasons["sla_attainment"].startswith("censored")


def test_a_query_twice_on_one_lane_is_refused_not_shown_as_over_100_percent(record_of, one_device):
    record = record_of([0, 0], [0, 0], [8 * MS, 8 * MS], end_ns=10 * MS)
    with pytest.raises(ValueError, match="lane 0 is busy for 16000000 ns of 10000000 ns"):
        measure(record, one_device(), [0])


def test_a_part_that_outlives_the_window_does_not_push_utilisation_over_100_percent(record_of, one_device):
    record = record_of([0], [0], [80 * MS], end_ns=10 * MS)
    (m,) = measure(record, one_device(), [0])
    assert m.utilisation == {"hw1/gpu": 1.0}


@pytest.mark.parametrize("outcome", [-1, 4])
def test_counts_that_cannot_add_up_are_refused(record_of, one_device, outcome):
    record = record_of([0, 1], [0, 1], [1, 2], end_ns=5)
    broken = dataclasses.replace(record, outcome=np.array([0, outcome], np.int8))
    with pytest.raises(ValueError, match="outcome"):
        count_outcomes(broken)
    with pytest.raises(ValueError, match="outcome"):
        measure(broken, one_device(), [0])


def test_an_unknown_path_or_lane_is_refused(record_of, one_device):
    with pytest.raises(ValueError, match="part_path"):
        measure(record_of([0], [0], [1], end_ns=5, path=1), one_device(), [0])
    with pytest.raises(ValueError, match="part_lane"):
        measure(record_of([0], [0], [1], end_ns=5, lane=1), one_device(), [0])


@pytest.mark.parametrize("cuts", [[-1], [3], [1, 0]])
def test_cuts_out_of_order_or_range_are_refused(record_of, one_device, cuts):
    with pytest.raises(ValueError, match="cuts"):
        measure(record_of([0, 1], [0, 1], [1, 2], end_ns=5), one_device(), cuts)


@pytest.mark.parametrize("queries", [0, 1])
def test_an_empty_window_gives_reasons_and_no_division_by_zero(record_of, one_device, queries):
    record = record_of([0] * queries, [0] * queries, [1] * queries, end_ns=0 if queries == 0 else 5)
    m = measure(record, one_device(), [queries])[0]
    assert all(value is None for value in m.metrics.values())
    assert set(m.reasons) == {name for name, value in m.metrics.items() if value is None}
    assert m.utilisation == {"hw1/gpu": 0.0}
    assert m.path_mix == {}


@st.composite
def scripts(draw):
    """Two lanes, FIFO each, some drops, a clock that may stop before the end of the work."""
    n = draw(st.integers(1, 60))
    gaps = draw(st.lists(st.integers(0, 20), min_size=n, max_size=n))
    service = draw(st.lists(st.integers(1, 40), min_size=n, max_size=n))
    lane = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    size = draw(st.lists(st.integers(1, 9), min_size=n, max_size=n))
    dropped = [i for i in range(n) if draw(st.integers(0, 9)) == 0]
    arrival = np.cumsum(gaps)
    free, start, finish = [0, 0], [], []
    for i in range(n):
        begin = max(int(arrival[i]), free[lane[i]])
        start.append(begin)
        finish.append(begin + service[i])
        if i not in dropped:
            free[lane[i]] = begin + service[i]
    end = int(arrival[-1]) + draw(st.integers(1, 30))
    stop = end + draw(st.integers(0, 100))
    cuts = sorted(draw(st.lists(st.integers(0, n), min_size=1, max_size=5)))
    return (
        (arrival, start, finish),
        {"end_ns": end, "stop_ns": stop, "dropped": dropped, "lane": lane, "size": size},
        cuts,
    )


@settings(max_examples=200, deadline=None)
@given(script=scripts())
def test_every_cut_agrees_with_a_slow_reading_of_the_definitions(record_of, one_device, script):
    stamps, options, cuts = script
    sla = 25
    record = record_of(*stamps, sla_ns=sla, path=options["lane"], **options)
    view = one_device(
        lane_device=np.array([0, 1]),
        device_kind=np.array([0, 1]),
        device_kind_name=["a", "b"],
        device_idle_w=np.full(2, 1.0),
        device_busy_w=np.full(2, 3.0),
        device_price_usd_per_h=np.full(2, 1.0),
        path_names=["p", "q"],
        path_accuracy=np.full(2, 0.5),
        sla_ns=sla,
    )
    arrival, end = record.arrival_ns.tolist(), record.end_ns
    served = (Outcome.SERVED_IN_TIME, Outcome.SERVED_LATE)
    for m, cut in zip(measure(record, view, cuts), cuts, strict=True):
        assert m.cut == cut
        start = 0 if cut == 0 else (end if cut == len(arrival) else arrival[cut])
        window = end - start
        kept = range(cut, len(arrival))
        for o in Outcome:
            assert m.measured[o.name.lower()] == sum(record.outcome[i] == o for i in kept)
        latency = [
            record.finish_ns[i] - arrival[i] if record.outcome[i] in served else math.inf
            for i in kept
            if record.outcome[i] != Outcome.DROPPED
        ]
        p50 = sorted(latency)[math.ceil(len(latency) / 2) - 1] if len(latency) >= 20 else math.inf
        assert m.metrics["latency_ms_p50"] == (None if math.isinf(p50) else p50 / 1e6)
        if latency and not any(map(math.isinf, latency)):
            assert m.metrics["latency_ms_mean"] == pytest.approx(sum(latency) / len(latency) / 1e6)
        else:
            assert m.metrics["latency_ms_mean"] is None

        done = [i for i in range(len(arrival)) if record.outcome[i] in served and start <= record.finish_ns[i] <= end]
        if window:
            assert m.metrics["queries_per_s"] == pytest.approx(len(done) / (window * 1e-9))
            correct = sum(record.correct[i] for i in done)
            assert m.metrics["correct_predictions_per_s"] == pytest.approx(correct / (window * 1e-9))
            in_time = sum(record.correct[i] for i in done if record.outcome[i] == Outcome.SERVED_IN_TIME)
            assert m.metrics["correct_predictions_within_sla_per_s"] == pytest.approx(in_time / (window * 1e-9))
        busy, waited, samples = [0, 0], [0, 0], [0, 0]
        for p in range(len(record.part_lane)):
            lane = record.part_lane[p]
            s, f, q = (int(x[p]) for x in (record.part_start_ns, record.part_finish_ns, record.part_enqueue_ns))
            busy[lane] += max(0, min(f, end) - max(s, start))
            waited[lane] += max(0, min(s, end) - max(q, start))
            samples[lane] += int(record.part_size[p]) if start <= s <= end else 0
        if window:
            assert list(m.utilisation.values()) == pytest.approx([b / window for b in busy])
            if m.metrics["latency_ms_mean"] is not None:
                assert list(m.waiting_parts.values()) == pytest.approx([w / window for w in waited])
        if sum(samples):
            assert list(m.path_mix.values()) == pytest.approx([s / sum(samples) for s in samples])
        else:
            assert m.path_mix == {}


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_mm1_agrees_with_theory(single_server, one_device, load):
    # Ten independent replications; the tolerance is five standard errors of their mean, which a right program
    # exceeds about once in a thousand (t with 9 degrees of freedom) - and the seed is fixed.
    runs = [
        measure(r, one_device(), candidate_cuts(50_000))[4]
        for r in (single_server(load, 50_000, seed=11, replication=k) for k in range(10))
    ]
    mean_ms = 1 / (1 - load)
    expected = {
        "latency_ms_mean": mean_ms,
        "latency_ms_p50": mean_ms * math.log(2),
        "latency_ms_p99": mean_ms * math.log(100),
        "queries_per_s": 1_000 * load,
        "sla_attainment": 1 - math.exp(-10 / mean_ms),
    }
    for name, value in expected.items():
        values = np.array([m.metrics[name] for m in runs])
        assert abs(values.mean() - value) < 5 * values.std(ddof=1) / math.sqrt(10), name
    for values, value in (
        (np.array([m.utilisation["hw1/gpu"] for m in runs]), load),
        (np.array([m.waiting_parts["hw1/gpu"] for m in runs]), load**2 / (1 - load)),
    ):
        assert abs(values.mean() - value) < 5 * values.std(ddof=1) / math.sqrt(10)


def test_a_measurement_survives_json_exactly(single_server, one_device):
    for m in measure(single_server(0.9, 3_000, seed=1), one_device(), candidate_cuts(3_000)):
        assert Measurement.from_json_dict(json.loads(json.dumps(m.to_json_dict(), allow_nan=False))) == m


def test_the_view_refuses_what_does_not_fit_together(one_device):
    with pytest.raises(ValueError, match="device_idle_w"):
        one_device(device_idle_w=np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match="lane_device"):
        one_device(lane_device=np.array([1]))
    with pytest.raises(ValueError, match="paths"):
        one_device(path_names=["a", "b"])
