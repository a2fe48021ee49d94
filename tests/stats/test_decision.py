"""Decisions about an SLA: bounds worked by hand, what bars a yes, and how rarely they are wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from sim.stats.decision import Decision, Judgement, decide
from sim.stats.summary import reduce_record, summarise

MS = 1_000_000
QUERIES = 2000


@pytest.fixture(name="judge")
def _judge(record_of, one_device):
    """Decide about replications whose queries have these latencies, each a number or one a query."""

    def judge(
        latencies_ms: Sequence,
        *,
        sla_ms: float = 20.0,
        risk: float = 0.05,
        attainment: float | None = None,
        steady: bool = False,
        offered_load: float | None = None,
        dropped: int = 0,
        stop_ms: float | None = None,
    ) -> Judgement:
        results = []
        for number, latency in enumerate(latencies_ms):
            arrival = np.arange(QUERIES) * MS
            finish = arrival + np.broadcast_to(np.asarray(latency) * MS, QUERIES).astype(np.int64)
            record = record_of(
                arrival,
                arrival,
                finish,
                end_ns=QUERIES * MS,
                sla_ns=round(sla_ms * MS),
                dropped=range(dropped),
                lane=np.arange(QUERIES),
                stop_ns=None if stop_ms is None else round(stop_ms * MS),
            )
            results.append(
                reduce_record(
                    record, one_device(lane_device=np.zeros(QUERIES, dtype=np.int64)), replication=number, warmup_ns=0
                )
            )
        summary = summarise(
            {}, "measured", results, sla_ns=round(sla_ms * MS), offered_load=offered_load, time_varying=False
        )
        return decide(
            summary,
            results,
            percentile="p99",
            attainment=attainment,
            risk=risk,
            steady=steady,
            drain_ms=1000.0,
        )

    return judge


def test_the_bounds_are_students(judge) -> None:
    # Mean 10, standard error 0.40825; t of 3 degrees is 2.3534 at 5%, and 3.1824 at half of it: latency and drops share
    # the risk of a wrong no.
    found = judge([9.0, 10.0, 11.0, 10.0])
    assert found.excess == pytest.approx(10 / 20)
    assert found.high == pytest.approx((10 + 2.35336 * 0.408248) / 20, rel=1e-5)
    assert found.low == pytest.approx((10 - 3.18245 * 0.408248) / 20, rel=1e-5)
    assert found.latency_ms == pytest.approx((9.0, 10.0, 11.0, 10.0))
    assert found.spread == pytest.approx(0.81650 / 10, rel=1e-4)


@pytest.mark.parametrize(
    ("sla_ms", "decision"),
    [
        (8.6, Decision.MISSES),
        (8.8, Decision.OPEN),
        (10.0, Decision.OPEN),
        (10.9, Decision.OPEN),
        (11.0, Decision.MEETS),
    ],
)
def test_a_bound_on_one_side_decides(judge, sla_ms: float, decision: Decision) -> None:
    # From 8.70 to 10.96 ms is open, see above.
    assert judge([9.0, 10.0, 11.0, 10.0], sla_ms=sla_ms).decision is decision


def test_less_risk_decides_less(judge) -> None:
    assert judge([9.0, 10.0, 11.0, 10.0], sla_ms=12.0, risk=0.05).decision is Decision.MEETS
    assert judge([9.0, 10.0, 11.0, 10.0], sla_ms=12.0, risk=0.001).decision is Decision.OPEN


def test_a_known_overload_misses_and_never_meets(judge) -> None:
    found = judge([1.0, 1.0, 1.0, 1.0], offered_load=1.0)
    assert found.decision is Decision.MISSES
    assert found.saturated
    assert "offered load" in found.why


def test_a_backlog_that_drifts_misses(judge) -> None:
    growing = np.arange(QUERIES) * 0.5
    found = judge([growing, growing * 1.01, growing * 0.99, growing], sla_ms=10_000.0)
    assert found.decision is Decision.MISSES
    assert found.saturated


def test_more_drops_than_the_percentile_leaves_aside_miss(judge) -> None:
    assert judge([5.0, 5.1, 4.9, 5.0], dropped=40).decision is Decision.MISSES
    assert judge([5.0, 5.1, 4.9, 5.0], dropped=10).decision is Decision.MEETS


def test_where_nothing_is_answered_no_longer_run_is_asked_for(judge) -> None:
    found = judge([5.0, 5.1, 4.9, 5.0], dropped=QUERIES)
    assert found.decision is Decision.MISSES and "share of dropped queries" in found.why


def test_attainment_is_asked_besides(judge) -> None:
    # Five of 2,000 queries are late: p99 is met, 99.5% in time too, 99.9% is not.
    some_late = np.full(QUERIES, 5.0)
    some_late[:5] = 50.0
    fours = [some_late, some_late, some_late, some_late]
    assert judge(fours).decision is Decision.MEETS
    assert judge(fours, attainment=0.995).decision is Decision.MEETS
    assert judge(fours, attainment=0.999).decision is Decision.MISSES


def test_no_late_query_among_few_proves_no_high_attainment(judge) -> None:
    # At a risk of 5%, 8,000 queries without a late one say less than 0.0375% are late.
    assert judge([5.0, 5.1, 4.9, 5.0], attainment=0.9995).decision is Decision.MEETS
    assert judge([5.0, 5.1, 4.9, 5.0], attainment=0.9997).decision is Decision.OPEN


def test_where_latencies_jump_replications_that_agree_are_not_believed(judge) -> None:
    # 19 of 2,000 queries take 30 ms, so that p99 is 9 ms in every replication; two more would make it 30.
    near = np.full(QUERIES, 9.0)
    near[:19] = 30.0
    far = np.full(QUERIES, 9.0)
    far[:2] = 30.0
    assert judge([near] * 4, sla_ms=10.0).decision is Decision.OPEN
    assert judge([far] * 4, sla_ms=10.0).decision is Decision.MEETS


def test_a_steady_state_is_not_believed_of_replications_that_differ(judge) -> None:
    values = [8.0, 10.0, 12.0, 10.0]
    assert judge(values, sla_ms=14.0).decision is Decision.OPEN  # A standard error above 5%.
    many = values * 4
    assert judge(many, sla_ms=14.0).decision is Decision.MEETS
    found = judge(many, sla_ms=14.0, steady=True)
    assert found.decision is Decision.OPEN
    assert found.growing
    assert "too short" in found.why


def test_queries_in_flight_at_the_end_have_taken_the_drain_at_least(judge) -> None:
    # The last 100 queries are not done when the clock stops: p99 falls on them.
    stuck = np.full(QUERIES, 5.0)
    stuck[-100:] = 10_000.0
    found = judge([stuck] * 4, stop_ms=QUERIES + 1000.0)
    assert found.latency_ms == (1000.0,) * 4
    assert found.decision is Decision.MISSES


def test_too_few_queries_to_know_the_percentile_decide_nothing(record_of, one_device) -> None:
    arrival = np.arange(500) * MS
    results = [
        reduce_record(
            record_of(arrival, arrival, arrival + MS, end_ns=500 * MS),
            one_device(lane_device=np.zeros(QUERIES, dtype=np.int64)),
            replication=r,
            warmup_ns=0,
        )
        for r in range(4)
    ]
    summary = summarise({}, "measured", results, sla_ns=10 * MS)
    found = decide(summary, results, percentile="p99", risk=0.05, steady=False, drain_ms=100.0)
    assert found.decision is Decision.OPEN
    assert found.unmeasured
    assert "fewer than 10" in found.why
    with pytest.raises(ValueError, match="two replications"):
        decide(summary, results[:1], percentile="p99", risk=0.05, steady=False, drain_ms=100.0)
