"""Rows that are added up say what the record says: counts to the unit, sums to rounding, percentiles to 0.1%."""

from __future__ import annotations

import json
import math
import pickle
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim.engine.record import RunRecord
from sim.engine.streaming import end_of, rows_of
from sim.serving.system import System
from sim.spec.problems import SpecError
from sim.stats.histogram import RELATIVE_ERROR
from sim.stats.measure import SystemView
from sim.stats.saturation import backlog_at, instants_of
from sim.stats.summary import ReplicationResult, reduce_record
from sim.stats.tally import Tally
from sim.stats.totals import Totals
from sim.stats.warmup import candidate_cuts
from sim.study.replication import run_record
from tests.engine.test_properties import experiments
from tests.harness import prepare_text

SUMS = 1e-9


def tallied(record: RunRecord, view: SystemView, system: System, chunk: int, **options: Any) -> Totals:
    tally = Tally(view, **options)
    for rows in rows_of(record, system, chunk):
        tally.add(rows)
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
