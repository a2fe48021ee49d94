"""Rows that are added up say what the record says: counts to the unit, sums to rounding, percentiles to 0.1%."""

from __future__ import annotations

import json
import math
import pickle
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim.engine.record import RunRecord
from sim.engine.rows import Rows
from sim.engine.streaming import end_of, rows_of
from sim.serving.system import System
from sim.spec.problems import SpecError
from sim.stats.histogram import RELATIVE_ERROR
from sim.stats.measure import SystemView, measure
from sim.stats.saturation import backlog_at, instants_of
from sim.stats.summary import ReplicationResult, reduce_record
from sim.stats.tally import Tally
from sim.stats.totals import Totals
from sim.stats.warmup import batch_series, candidate_cuts
from sim.study.replication import run_record
from tests.engine.scenarios import experiments
from tests.harness import prepare_text

SUMS = 1e-9


PLAIN: Any = SimpleNamespace(clients=None, has_network=False)
"""All that `rows_of` asks of a system."""


def shuffled(rows: Rows, generator: np.random.Generator) -> Rows:
    """The same rows in another order; spans stay in theirs."""
    tables = {name: generator.permutation(getattr(rows, name)) for name in ("served", "queries", "parts", "attempts")}
    return replace(rows, **tables)


def tallied(record: RunRecord, view: SystemView, system: System = PLAIN, chunk: int = 64, **options: Any) -> Totals:
    tally = Tally(view, **options)
    generator = np.random.Generator(np.random.Philox(chunk))
    for rows in rows_of(record, system, chunk):
        tally.add(shuffled(rows, generator))
    return tally.finish(end_of(record))


def same(exact: Any, streamed: Any, where: str = "") -> None:
    """Compare two results as JSON, number by number."""
    assert type(exact) is type(streamed), where
    if isinstance(exact, dict):
        assert list(exact) == list(streamed), where
        for name in exact:
            same(exact[name], streamed[name], f"{where}.{name}")
    elif isinstance(exact, list | tuple):
        assert len(exact) == len(streamed), where
        for i, (one, other) in enumerate(zip(exact, streamed, strict=True)):
            same(one, other, f"{where}[{i}]")
    elif isinstance(exact, float):
        percentile = "latency_ms_p" in where or "curve_ms" in where
        tolerance = RELATIVE_ERROR if percentile else SUMS
        assert math.isclose(exact, streamed, rel_tol=tolerance, abs_tol=1e-9), (where, exact, streamed)
    else:
        assert exact == streamed, where


def same_results(exact: ReplicationResult, streamed: ReplicationResult) -> None:
    one, other = exact.to_json_dict(), streamed.to_json_dict()
    # Means of single precision may fall on either side.
    assert (exact.series is None) == (streamed.series is None)
    if exact.series is not None and streamed.series is not None:
        assert one.pop("series")["queries_per_batch"] == other.pop("series")["queries_per_batch"]
        np.testing.assert_allclose(exact.series.mean_ms, streamed.series.mean_ms, rtol=2e-7)
    same(one, other)


def with_backlogs_at(result: ReplicationResult, record: RunRecord, time_ns: np.ndarray) -> ReplicationResult:
    """The same result, but its backlogs were taken at other times."""
    return replace(
        result,
        backlog=backlog_at(record, time_ns),
        classes={
            name: replace(one, backlog=backlog_at(record.of_class(number), time_ns))
            for number, (name, one) in enumerate(result.classes.items())
        },
    )


def options_of(record: RunRecord, how: str, known_end: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `reduce_record` and `Tally` are given for the same measurement."""
    end = {"end_ns": record.end_ns} if known_end else {}
    if how == "chosen":
        return {}, {"candidates": candidate_cuts(len(record.arrival_ns))} | end
    if how == "given":
        warmup_ns = int(0.3 * record.end_ns)
        return {"warmup_ns": warmup_ns}, {"warmup_ns": warmup_ns} | end
    return {"time_varying": True}, end


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(
    experiments(),
    st.integers(1, 170),
    st.sampled_from(["chosen", "given", "none"]),
    st.sampled_from([None, 300_000, 7_000_000]),
)
def test_any_scenario_is_measured_as_its_record_is(
    document: dict[str, Any], chunk: int, how: str, timeline_ns: int | None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            (scenario,) = prepare_text(Path(folder), yaml.safe_dump(document))
        except SpecError:
            return
        record = run_record(scenario, 0)
    view, system = scenario.view, scenario.system
    # Without a duration the end is not known beforehand, but it is in the end: a timeline can be taken all the same.
    known_end = "duration" in document["workload"] or timeline_ns is not None
    exact_options, options = options_of(record, how, known_end)
    totals = tallied(record, view, system, chunk, timeline_ns=timeline_ns, **options)
    assert totals.violations == ()
    exact = reduce_record(record, view, replication=3, timeline_ns=timeline_ns, **exact_options)
    if not known_end:
        exact = with_backlogs_at(exact, record, totals.whole.backlog.time_ns)
        assert np.all(np.abs(totals.whole.backlog.time_ns - instants_of(record.end_ns)) <= record.end_ns / 2048)
    same_results(exact, totals.result(view, 3))
    again = Totals.from_json_dict(json.loads(json.dumps(totals.to_json_dict(), allow_nan=False)))
    assert again.to_json_dict() == totals.to_json_dict()
    assert pickle.loads(pickle.dumps(totals)).to_json_dict() == totals.to_json_dict()
    assert again.result(view, 3).to_json_dict() == totals.result(view, 3).to_json_dict()


def test_what_a_cell_leaves_does_not_grow_with_its_queries(single_server: Any, one_device: Any) -> None:
    sizes = []
    for queries in (5_000, 50_000):
        record = single_server(0.8, queries, seed=3)
        options = {"candidates": candidate_cuts(queries), "max_batches": 100}
        sizes.append(len(pickle.dumps(tallied(record, one_device(), chunk=1000, **options))))
    # More latencies find more buckets, up to 512 an octave for each of eleven cuts.
    assert sizes[1] < 3 * sizes[0]
    assert sizes[1] < 1_000_000


def test_batches_are_those_of_the_record(single_server: Any, one_device: Any) -> None:
    record = single_server(0.9, 3_333, seed=8, drain_ns=0)
    for most in (20_000, 100, 7):
        totals = tallied(record, one_device(), chunk=97, candidates=candidate_cuts(3_333), max_batches=most)
        exact = batch_series(record, most)
        assert totals.series is not None
        assert totals.series.queries_per_batch == exact.queries_per_batch
        np.testing.assert_allclose(totals.series.series().mean_ms, exact.mean_ms, rtol=2e-7)


def test_a_cut_beyond_the_last_query_keeps_nothing(single_server: Any, one_device: Any) -> None:
    record = single_server(0.5, 100, seed=4)
    totals = tallied(record, one_device(), candidates=[0, 40, 5_000], end_ns=record.end_ns)
    exact = measure(record, one_device(), [0, 40, 100])
    for one, other in zip(exact, totals.result(one_device(), 0).measurements, strict=True):
        same(one.to_json_dict(), other.to_json_dict())


def test_a_warm_up_beyond_the_run_keeps_nothing(single_server: Any, one_device: Any) -> None:
    record = single_server(0.5, 100, seed=4)
    warmup_ns = record.end_ns + 1
    exact = reduce_record(record, one_device(), replication=0, warmup_ns=warmup_ns)
    streamed = tallied(record, one_device(), warmup_ns=warmup_ns).result(one_device(), 0)
    same(exact.to_json_dict()["measurements"], streamed.to_json_dict()["measurements"])


def test_a_run_without_queries_is_measured(one_device: Any, record_of: Any) -> None:
    record = record_of([], [], [], end_ns=1000)
    for options, exact_options in (({}, {"time_varying": True}), ({"warmup_ns": 5}, {"warmup_ns": 5})):
        exact = reduce_record(record, one_device(), replication=0, **exact_options)
        same_results(exact, tallied(record, one_device(), end_ns=1000, **options).result(one_device(), 0))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"candidates": [0], "warmup_ns": 5}, "either given or chosen"),
        ({"timeline_ns": 5}, "end of the arrival period"),
        ({"candidates": [5, 3]}, "non-decreasing"),
        ({"candidates": [-1]}, "non-decreasing"),
        ({"candidates": []}, "non-decreasing"),
    ],
)
def test_contradictions_are_refused(one_device: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Tally(one_device(), **options)


def test_devices_of_a_kind_that_differ_are_refused(one_device: Any) -> None:
    two = {"device_kind": np.array([0, 0]), "device_price_usd_per_h": np.ones(2), "device_idle_w": np.full(2, 50.0)}
    with pytest.raises(ValueError, match="hw1/gpu differ in lanes"):
        Tally(one_device(**two, lane_device=np.array([0, 0, 1]), device_busy_w=np.full(2, 90.0)))
    with pytest.raises(ValueError, match="hw1/gpu differ in busy power"):
        Tally(one_device(**two, lane_device=np.array([0, 1]), device_busy_w=np.array([90.0, 91.0])))


def test_an_end_that_was_announced_wrongly_is_refused(single_server: Any, one_device: Any) -> None:
    record = single_server(0.5, 100, seed=4)
    with pytest.raises(ValueError, match="was to end at"):
        tallied(record, one_device(), end_ns=record.end_ns + 1)
