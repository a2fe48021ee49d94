"""Cells add up: two of them side by side are measured as one record of both."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import yaml

from sim.engine.record import Cause, RunRecord
from sim.engine.streaming import end_of, rows_of
from sim.stats.attempts import availability, nodes_on, wasted_work
from sim.stats.devices import device_on_ns, lane_busy_time_ns
from sim.stats.histogram import Histogram
from sim.stats.measure import measure
from sim.stats.summary import reduce_record, summarise
from sim.stats.tally import Tally
from sim.stats.totals import Totals
from sim.stats.warmup import batch_series, candidate_cuts, choose_cut
from sim.study.replication import run_record
from tests.harness import prepare_text
from tests.stats.test_tally import PLAIN, same, same_results, tallied

MS = 1_000_000
END_NS = 400 * MS


def served(load: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Arrivals, starts, finishes and sizes at a server with mean service 1 ms, up to the end of the arrival period."""
    generator = np.random.Generator(np.random.Philox(seed))
    arrival = np.cumsum(generator.exponential(MS / load, 2_000)).astype(np.int64)
    arrival = arrival[arrival < END_NS]
    service = generator.exponential(MS, len(arrival)).astype(np.int64)
    total = np.cumsum(service)
    finish = total + np.maximum.accumulate(arrival - (total - service))
    return arrival, finish - service, finish, generator.integers(1, 50, len(arrival))


def side_by_side(record_of: Any, one_device: Any) -> tuple[list[RunRecord], RunRecord, Any, Any]:
    """Two cells, the record of both as one system, and the views of a cell and of both."""
    cells = [served(0.8, seed=1), served(0.6, seed=2)]
    stop_ns = int(END_NS + 3 * MS)
    records = [
        record_of(arrival, start, finish, size=size, end_ns=END_NS, stop_ns=stop_ns)
        for arrival, start, finish, size in cells
    ]
    arrival, start, finish, size = (np.concatenate(both) for both in zip(*cells, strict=True))
    lane = np.repeat([0, 1], [len(cells[0][0]), len(cells[1][0])])
    order = np.argsort(arrival, kind="stable")
    whole = record_of(
        arrival[order], start[order], finish[order], size=size[order], lane=lane[order], end_ns=END_NS, stop_ns=stop_ns
    )
    twice = {name: np.repeat(getattr(one_device(), name), 2) for name in ("device_idle_w", "device_busy_w")}
    twice["device_price_usd_per_h"] = np.repeat(one_device().device_price_usd_per_h, 2)
    both = one_device(lane_device=np.arange(2), device_kind=np.zeros(2, dtype=np.int64), **twice)
    return records, whole, one_device(), both


@pytest.mark.parametrize("options", [{}, {"timeline_ns": 30 * MS}])
def test_two_cells_are_one_record_of_both(record_of: Any, one_device: Any, options: dict[str, Any]) -> None:
    records, whole, view, both = side_by_side(record_of, one_device)
    one, other = (tallied(record, view, end_ns=END_NS, **options) for record in records)
    exact = reduce_record(whole, both, replication=0, time_varying=True, **options)
    same_results(exact, (one + other).result(view, 0))
    assert (one + other).result(view, 0).to_json_dict() == (other + one).result(view, 0).to_json_dict()


def test_a_given_warm_up_is_cut_from_every_cell(record_of: Any, one_device: Any) -> None:
    records, whole, view, _ = side_by_side(record_of, one_device)
    one, other = (tallied(record, view, warmup_ns=100 * MS, end_ns=END_NS) for record in records)
    (merged,) = (one + other).result(view, 0).measurements
    kept = [int(np.sum(record.arrival_ns >= 100 * MS)) for record in records]
    assert merged.measured["offered"] == sum(kept)
    assert merged.cut == min(len(r.arrival_ns) - k for r, k in zip(records, kept, strict=True))
    # What is counted by arrival does not depend on where the windows of the cells begin.
    cut = len(whole.arrival_ns) - sum(kept)
    (exact,) = measure(whole, view_of_both(one_device), [cut])
    for name in ("latency_ms_p50", "latency_ms_p99", "latency_ms_mean", "sla_attainment"):
        same(exact.metrics[name], merged.metrics[name], name)
    # Rates are those of the cells, each over its own window.
    alone = [totals.result(view, 0).measurements[0] for totals in (one, other)]
    for name in ("queries_per_s", "samples_per_s", "correct_predictions_per_s"):
        assert merged.metrics[name] == sum(m.metrics[name] for m in alone)
    assert merged.waiting_parts["hw1/gpu"] == sum(m.waiting_parts["hw1/gpu"] for m in alone)
    windows = [END_NS - m.window_start_ns for m in alone]
    weighted = sum(m.utilisation["hw1/gpu"] * window for m, window in zip(alone, windows, strict=True))
    assert merged.utilisation["hw1/gpu"] == pytest.approx(weighted / sum(windows), rel=1e-12)
    energy_j = sum(
        50.0 * window / 1e9 + 200.0 * float(lane_busy_time_ns(r, view, m.window_start_ns, END_NS)[0]) / 1e9
        for r, m, window in zip(records, alone, windows, strict=True)
    )
    correct = sum(m.metrics["correct_predictions_per_s"] * w / 1e9 for m, w in zip(alone, windows, strict=True))
    assert merged.metrics["energy_j_per_million_correct"] == pytest.approx(energy_j / correct * 1e6, rel=1e-9)
    assert merged.window_start_ns == min(m.window_start_ns for m in alone)


def view_of_both(one_device: Any) -> Any:
    twice = {name: np.ones(2) for name in ("device_idle_w", "device_busy_w", "device_price_usd_per_h")}
    return one_device(lane_device=np.arange(2), device_kind=np.zeros(2, dtype=np.int64), **twice)


def test_a_candidate_cut_counts_by_what_it_removes_from_every_cell(record_of: Any, one_device: Any) -> None:
    records, _, view, _ = side_by_side(record_of, one_device)
    candidates = [candidate_cuts(len(record.arrival_ns)) for record in records]
    cells = [
        tallied(record, view, candidates=cuts, end_ns=END_NS) for record, cuts in zip(records, candidates, strict=True)
    ]
    merged = (cells[0] + cells[1]).result(view, 0)
    assert [m.cut for m in merged.measurements] == np.minimum(*candidates).tolist()
    removed = [merged.counts["offered"] - m.measured["offered"] for m in merged.measurements]
    assert removed == (candidates[0] + candidates[1]).tolist()
    # A transient of 60 queries ends in both cells with the first candidate that removes 60 from the smaller one.
    assert merged.series is not None
    level = np.ones(len(merged.series.mean_ms), dtype=np.float32)
    level[:12] = 50
    series = replace(merged.series, mean_ms=level)
    chosen = choose_cut([series], [[m.cut for m in merged.measurements]])
    assert candidates[1][chosen.index - 1] < 60 <= candidates[1][chosen.index]
    assert len(records[1].arrival_ns) < len(records[0].arrival_ns)


def test_batches_of_cells_are_pooled(single_server: Any, one_device: Any) -> None:
    # Of the same arrival period, one cell gets a quarter of the queries.
    records, view = [single_server(0.8, 4_000, seed=5), single_server(0.8, 1_000, seed=6)], one_device()
    cells = []
    for record in records:
        tally = Tally(view, candidates=candidate_cuts(len(record.arrival_ns)))
        for rows in rows_of(record, PLAIN, 500):
            tally.add(rows)
        cells.append(tally.finish(end_of(record)))
    large, small = cells
    assert large.series is not None
    assert small.series is not None
    pooled = large.series + small.series
    mean = pooled.series().mean_ms
    assert pooled.queries_per_batch == 5
    assert len(mean) == 200
    alone = [batch_series(record).mean_ms[:200] for record in records]
    np.testing.assert_allclose(mean, (alone[0] + alone[1]) / 2, rtol=1e-6)
    # Where the batches differ in size, neighbours are merged first.
    coarse = large.series.coarsened(4) + small.series
    assert coarse.queries_per_batch == 20
    np.testing.assert_allclose(coarse.series().mean_ms, mean.reshape(50, 4).mean(axis=1), rtol=1e-6)


def test_cells_that_were_not_measured_alike_do_not_add_up(record_of: Any, one_device: Any) -> None:
    records, _, view, _ = side_by_side(record_of, one_device)
    plain = tallied(records[0], view, end_ns=END_NS)
    for options in ({"timeline_ns": 30 * MS}, {"candidates": [0]}, {"candidates": [0, 5]}):
        with pytest.raises(ValueError, match="measured alike"):
            plain + tallied(records[1], view, end_ns=END_NS, **options)
    other = record_of([5], [5], [9], end_ns=END_NS + 1)
    with pytest.raises(ValueError, match="one arrival period"):
        plain + tallied(other, view, end_ns=END_NS + 1)


def test_a_sum_lacks_what_a_cell_lacks(record_of: Any, one_device: Any) -> None:
    records, _, view, _ = side_by_side(record_of, one_device)
    # A warm-up as long as the run leaves the second cell, which has no late query, without a window.
    early = record_of([0, 10], [0, 10], [5, 15], end_ns=END_NS)
    (merged,) = (
        (tallied(records[0], view, warmup_ns=MS, end_ns=END_NS) + tallied(early, view, warmup_ns=MS, end_ns=END_NS))
        .result(view, 0)
        .measurements
    )
    assert merged.metrics["queries_per_s"] is None
    assert merged.reasons["queries_per_s"] == "the window is empty"
    assert merged.waiting_parts == {"hw1/gpu": None}
    assert merged.metrics["latency_ms_p50"] is not None


FAULTY = {
    "name": "cells",
    "model": {"name": "m", "representations": {"table": {"accuracy": {"value": 0.7, "evidence": "assumed"}}}},
    "sla": "2ms",
    "workload": {
        "arrivals": {"kind": "poisson", "rate": "6k/s"},
        "sizes": {"kind": "fixed", "size": 10},
        "duration": "300ms",
    },
    "fleet": [
        {
            "name": "g0",
            "count": 4,
            "devices": {
                "cpu": {
                    "profile": {
                        "kind": "cpu",
                        "lanes": 2,
                        "service": {"m": {"table": {"distribution": "exponential", "mean": "900us"}}},
                    }
                }
            },
        }
    ],
    "router": {"kind": "power-of-d", "d": 2},
    "policy": {"kind": "static", "representation": "table"},
    "autoscaling": [
        {"group": "g0", "measure": "backlog", "target": 3, "every": "10ms", "provisioning": "5ms", "cooldown": "10ms"}
    ],
    "faults": {"lifetimes": [{"each": "node", "mtbf": "100ms", "mttr": "20ms"}]},
    "timeout": {"after": "3ms", "cancel": "running"},
    "retries": {"limit": 2, "backoff": "1ms"},
    "hedging": {"after": "2ms", "cancel": "running"},
    "classes": [{"name": "a", "share": 0.7}, {"name": "b", "share": 0.3, "sla": "1ms"}],
    "replications": 1,
    "seed": 11,
}


def test_faults_retries_and_classes_of_cells_add_up(tmp_path: Any) -> None:
    (scenario,) = prepare_text(tmp_path, yaml.safe_dump(FAULTY))
    view = scenario.view
    # Two replications are two cells with draws of their own.
    records = [run_record(scenario, number) for number in range(2)]
    options = {"end_ns": records[0].end_ns, "timeline_ns": 50 * MS}
    cells = [tallied(record, view, scenario.system, **options) for record in records]
    assert [cell.violations for cell in cells] == [(), ()]
    merged = (cells[0] + cells[1]).result(view, 0)
    (measured,) = merged.measurements
    end_ns, devices = records[0].end_ns, len(view.device_kind)

    queries = sum(len(record.arrival_ns) for record in records)
    for name, cause in (("hedges_per_query", Cause.HEDGE), ("retries_per_query", Cause.RETRY)):
        sent = sum(int(np.sum(record.attempt_cause == cause)) for record in records)
        assert sent > 0
        assert measured.metrics[name] == pytest.approx(sent / queries, rel=1e-12)
    busy = [float(lane_busy_time_ns(record, view, 0, end_ns).sum()) for record in records]
    wasted = [(wasted_work(record, 0, end_ns) or 0.0) * b for record, b in zip(records, busy, strict=True)]
    assert measured.metrics["wasted_work"] == pytest.approx(sum(wasted) / sum(busy), rel=1e-9)
    up = [availability(record, devices, 0, end_ns) or 0.0 for record in records]
    assert measured.metrics["availability"] == pytest.approx(sum(up) / 2, rel=1e-12)
    on = [nodes_on(record, view.device_node, 0, end_ns) or 0.0 for record in records]
    assert measured.metrics["nodes_on"] == pytest.approx(sum(on), rel=1e-12)
    available = [float(device_on_ns(record, view, 0, end_ns)[np.asarray(view.lane_device)].sum()) for record in records]
    assert [*measured.utilisation.values()] == pytest.approx([sum(busy) / sum(available)], rel=1e-9)
    assert merged.counts["offered"] == queries
    assert sum(one.counts["offered"] for one in merged.classes.values()) == queries

    alone = [cell.result(view, 0).timeline for cell in cells]
    assert merged.timeline is not None
    assert alone[0] is not None
    assert alone[1] is not None
    for name in ("queries_in_system", "nodes_up", "attempts_per_s", "retries_per_s", "offered_per_s"):
        added = np.array(alone[0].metrics[name], float) + np.array(alone[1].metrics[name], float)
        np.testing.assert_allclose(np.array(merged.timeline.metrics[name], float), added, rtol=1e-12)
    mean = (np.array(alone[0].metrics["availability"], float) + np.array(alone[1].metrics["availability"], float)) / 2
    np.testing.assert_allclose(np.array(merged.timeline.metrics["availability"], float), mean, rtol=1e-12)

    # Cells that come back from a file add up to the same.
    files = [Totals.from_json_dict(json.loads(json.dumps(cell.to_json_dict()))) for cell in cells]
    assert (files[0] + files[1]).to_json_dict() == (cells[0] + cells[1]).to_json_dict()
    summary = summarise({}, "assumed", [merged], sla_ns=view.sla_ns, time_varying=True)
    assert summary.metrics["nodes_on"].value == pytest.approx(sum(on), rel=1e-12)


def test_histograms_of_cells_are_one_histogram(record_of: Any, one_device: Any) -> None:
    records, whole, view, both = side_by_side(record_of, one_device)
    one, other = (tallied(record, view, end_ns=END_NS) for record in records)
    together = tallied(whole, both, end_ns=END_NS)
    ranking = (one + other).whole.sums[0].ranking
    assert isinstance(ranking, Histogram)
    exact = together.whole.sums[0].ranking
    assert isinstance(exact, Histogram)
    assert ranking.to_json_dict() == exact.to_json_dict()
