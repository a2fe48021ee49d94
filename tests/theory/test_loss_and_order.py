"""Known answers of queues that lose, shed or reorder: M/M/1/K, Erlang loss, impatience, shortest first, priorities."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from sim.engine.engines import Engine
from sim.engine.record import Outcome, RunRecord
from sim.study.scenario import load_scenarios
from sim.study.study import Study
from tests.theory.queues import assert_close, assert_values_close, experiment, replications, waiting_ms

pytestmark = pytest.mark.usefixtures("engine")

EXPONENTIAL = "{distribution: exponential, mean: 1ms}"


def dropped_share(record: RunRecord) -> float:
    first = len(record.outcome) // 5
    return float(np.mean(record.outcome[first:] == Outcome.DROPPED))


@pytest.mark.parametrize(("load", "room"), [(0.8, 3), (1.3, 5)])
def test_mm1k(load: float, room: int, tmp_path: Path) -> None:
    text = experiment(service=EXPONENTIAL, rate_per_s=1000 * load, queries=30_000, more=f"queue: {{limit: {room - 1}}}")
    records = replications(tmp_path, text)
    states = np.array([load**k for k in range(room + 1)])
    states /= states.sum()
    assert_close(records, dropped_share, float(states[room]))
    # A query that is let in waits for those it finds.
    entered = states[:room] / states[:room].sum()
    assert_close(records, lambda r: waiting_ms(r).mean(), float(np.dot(np.arange(room), entered)))


@pytest.mark.parametrize(("lanes", "offered"), [(3, 2.0), (10, 9.0)])
def test_erlang_loss(lanes: int, offered: float, tmp_path: Path) -> None:
    text = experiment(
        service=EXPONENTIAL, rate_per_s=1000 * offered, queries=30_000, lanes=lanes, more="queue: {limit: 0}"
    )
    terms = [offered**k / math.factorial(k) for k in range(lanes + 1)]
    assert_close(replications(tmp_path, text), dropped_share, terms[-1] / sum(terms))


@pytest.mark.parametrize("load", [0.8, 1.2])
def test_mm1_where_queries_that_waited_beyond_the_sla_are_shed(load: float, tmp_path: Path) -> None:
    patience_ms = 3.0
    text = experiment(service=EXPONENTIAL, rate_per_s=1000 * load, queries=30_000, more="queue: {shed: late}")
    records = replications(tmp_path, text.replace("sla: 1s", "sla: 3ms"))
    # The work found by an arrival has density load * e^{-(1 - load) x} up to the patience and
    # load * e^{load * patience - x} beyond, times the chance of an empty system (Barrer 1957; mean service 1).
    gap = 1 - load
    up_to = load * (1 - math.exp(-gap * patience_ms)) / gap
    beyond = load * math.exp(-gap * patience_ms)
    assert_close(records, dropped_share, beyond / (1 + up_to + beyond))


def test_smallest_first_is_priority_without_preemption(tmp_path: Path) -> None:
    # Sizes 1 (three quarters) and 10: two classes of M/D/1, Cobham 1954.
    rate_per_ms = 0.7 / 3.25
    text = experiment(
        service="{distribution: deterministic, per_sample: 1ms}",
        rate_per_s=1000 * rate_per_ms,
        queries=40_000,
        more="queue: {order: smallest-first}",
    ).replace("{kind: fixed, size: 1}", "{kind: quantiles, values: [1, 1, 1, 10]}")
    records = replications(tmp_path, text)
    residual_ms = rate_per_ms * (0.75 * 1 + 0.25 * 100) / 2
    small_load = rate_per_ms * 0.75

    def mean_wait_ms(record: RunRecord, size: int) -> float:
        first = len(record.size) // 5
        of_size = (record.size[first:] == size) & (record.start_ns[first:] >= 0)
        return float((record.start_ns - record.arrival_ns)[first:][of_size].mean() / 1e6)

    assert_close(records, lambda r: mean_wait_ms(r, 1), residual_ms / (1 - small_load))
    assert_close(records, lambda r: mean_wait_ms(r, 10), residual_ms / ((1 - small_load) * (1 - 0.7)))


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_two_priority_classes_without_preemption(share: float, tmp_path: Path) -> None:
    # M/M/1 with load 0.75 and a mean service of 1 ms (Cobham 1954): what is in service when a query comes takes
    # 0.75 x E[S^2] / 2 = 0.75 ms on average; the high class waits for that and for its own kind before it.
    load = 0.75
    classes = f"[{{name: high, share: {share}}}, {{name: low, share: {1 - share!r}, priority: 1}}]"
    text = experiment(
        service=EXPONENTIAL,
        rate_per_s=1000 * load,
        queries=40_000,
        more=f"queue: {{order: priority}}\nclasses: {classes}",
    )
    records = replications(tmp_path, text)
    high_load = load * share

    def mean_wait_ms(record: RunRecord, query_class: int) -> float:
        first = len(record.size) // 5
        mine = (record.query_class[first:] == query_class) & (record.start_ns[first:] >= 0)
        return float((record.start_ns - record.arrival_ns)[first:][mine].mean() / 1e6)

    assert_close(records, lambda r: mean_wait_ms(r, 0), load / (1 - high_load))
    assert_close(records, lambda r: mean_wait_ms(r, 1), load / ((1 - high_load) * (1 - load)))


@pytest.mark.slow_on_reference
def test_a_high_class_keeps_its_tail_where_the_low_one_is_saturated(tmp_path: Path, engine: Engine) -> None:
    # The high class has load 0.5 of 1.2 in all: to it the server is busy for ever, with a residual of 1 ms.
    text = experiment(
        service=EXPONENTIAL,
        rate_per_s=1200,
        queries=40_000,
        more="queue: {order: priority}\n"
        f"classes: [{{name: high, share: {5 / 12!r}}}, {{name: low, share: {7 / 12!r}, priority: 1}}]",
    )
    (tmp_path / "e.yaml").write_text(text)
    (summary,) = Study.of(load_scenarios(str(tmp_path / "e.yaml"))).run(engines=[engine]).summaries
    assert summary.saturated and summary.classes["low"].saturated and not summary.classes["high"].saturated
    assert summary.classes["low"].metrics["latency_ms_p99"].value is None
    mean = summary.classes["high"].metrics["latency_ms_mean"]
    assert_values_close(mean.values, 1.0 / (1 - 0.5) + 1.0)


def test_batches_of_any_size_at_infinite_load_are_full(tmp_path: Path) -> None:
    # 10 queries at most each 1 ms: 10,000/s are served of 20,000/s offered, in batches of exactly 10.
    text = experiment(
        service="{distribution: deterministic, mean: 1ms}",
        rate_per_s=20_000,
        queries=20_000,
        replications=1,
        more="batching: {queries: 10}",
    )
    (record,) = replications(tmp_path, text.replace("warmup: 0s", "warmup: 0s\n  drain: 0s"))
    counts = np.unique(record.part_batch, return_counts=True)[1]
    assert np.all(counts[5:] == 10)
    assert np.sum(record.finish_ns >= 0) == pytest.approx(10_000 * record.end_ns / 1e9, rel=0.01)
