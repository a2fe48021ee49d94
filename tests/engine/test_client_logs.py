"""Hand-worked event logs of timeouts, retries and hedges, to the nanosecond."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.engine.record import NEVER, AttemptEnd, Cause, Outcome, RunRecord
from sim.serving.clients import DROP_REASONS, DropReason
from tests.engine.test_event_logs import DROPPED, IN_TIME, LATE, ONE_US_A_SAMPLE, TEN_US, US, device, log, parts, run

pytestmark = pytest.mark.usefixtures("engine")

ROUND_ROBIN = "router: {kind: round-robin}\n"
FIRST, HEDGE, RETRY = Cause
ANSWERED, BEATEN = AttemptEnd.ANSWERED, AttemptEnd.BEATEN
TIMED_OUT = AttemptEnd.FAILED + DropReason.TIMEOUT
FULL = AttemptEnd.FAILED + DropReason.QUEUE_FULL


def attempts(record: RunRecord) -> list[tuple[int, Cause, float, float, int]]:
    """Query, cause, sending and end in microseconds, and how it ended, of every attempt in the order of sending."""
    columns = (
        record.attempt_query,
        record.attempt_cause,
        record.attempt_sent_ns,
        record.attempt_end_ns,
        record.attempt_end,
    )
    return [
        (q, Cause(c), sent / US, end if end == NEVER else end / US, how)
        for q, c, sent, end, how in zip(*(c.tolist() for c in columns), strict=True)
    ]


def reasons(record: RunRecord) -> list[str | None]:
    return [DROP_REASONS[reason] if reason >= 0 else None for reason in record.drop_reason.tolist()]


# -- timeouts -----------------------------------------------------------------------------------------------


def test_a_query_that_times_out_in_the_queue_leaves_it(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 1, 2], {"d": device(TEN_US)}, more="timeout: {after: 15us}")
    # The second is served 10-20 and gone at 16; its service runs on. The third leaves the queue at 17.
    assert parts(record) == [(0, 0, 0, 10), (1, 0, 10, 20)]
    assert log(record) == [(0, 0, 10, IN_TIME), (1, 10, NEVER, DROPPED), (2, NEVER, NEVER, DROPPED)]
    assert record.drop_ns.tolist() == [NEVER, 16 * US, 17 * US]
    assert reasons(record) == [None, "timeout", "timeout"]
    assert record.unstarted_wait_ns == 15 * US
    assert record.correct.tolist() == [0.8, 0.0, 0.0]


def test_a_node_that_is_not_told_serves_what_nobody_waits_for(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 1, 2, 29], {"d": device(TEN_US)}, more="timeout: {after: 15us, cancel: none}")
    assert parts(record) == [(0, 0, 0, 10), (1, 0, 10, 20), (2, 0, 20, 30), (3, 0, 30, 40)]
    assert [outcome for *_, outcome in log(record)] == [IN_TIME, DROPPED, DROPPED, IN_TIME]


def test_service_stops_where_timeouts_stop_it(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 1, 2], {"d": device(TEN_US)}, more="timeout: {after: 15us, cancel: running}")
    # At 16 the lane is freed for the third, which has one microsecond left to wait.
    assert parts(record) == [(0, 0, 0, 10), (1, 0, 10, 16), (2, 0, 16, 17)]
    assert record.part_cut.tolist() == [False, True, True]
    assert record.drop_ns.tolist() == [NEVER, 16 * US, 17 * US]


def test_an_answer_at_the_very_timeout_counts(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 5], {"d": device(TEN_US)}, more="timeout: {after: 15us}")
    assert log(record) == [(0, 0, 10, IN_TIME), (5, 10, 20, IN_TIME)]


def test_a_batch_stops_only_if_all_of_it_is_cancelled(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 4],
        {"d": device(TEN_US)},
        more="timeout: {after: 14us, cancel: running}\nbatching: {queries: 2}",
    )
    # The second and third run together 10-20; the second is given up at 15, the third at 18: then the batch stops.
    assert parts(record) == [(0, 0, 0, 10), (1, 0, 10, 18), (2, 0, 10, 18)]
    assert record.drop_ns.tolist() == [NEVER, 15 * US, 18 * US]


# -- retries ------------------------------------------------------------------------------------------------


def test_a_query_that_finds_no_room_is_sent_again(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1],
        {"d": device(TEN_US)},
        more="queue: {limit: 0}\nretries: {limit: 3, backoff: 2us, multiplier: 2}",
    )
    # Refused at 1, again at 3, and at 7; at 15 there is room.
    assert attempts(record) == [
        (0, FIRST, 0, 10, ANSWERED),
        (1, FIRST, 1, 1, FULL),
        (1, RETRY, 3, 3, FULL),
        (1, RETRY, 7, 7, FULL),
        (1, RETRY, 15, 25, ANSWERED),
    ]
    assert log(record) == [(0, 0, 10, IN_TIME), (1, 15, 25, IN_TIME)]
    assert record.answered_by.tolist() == [0, 3]
    # Little's law counts the second query from its arrival on.
    assert record.in_system_integral == (10 + 24) * US
    assert record.waiting_integral == 0


def test_the_last_failure_is_the_reason(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 1], {"d": device(TEN_US)}, more="queue: {limit: 0}\nretries: {limit: 1, backoff: 2us}")
    assert log(record) == [(0, 0, 10, IN_TIME), (1, NEVER, NEVER, DROPPED)]
    assert record.drop_ns.tolist() == [NEVER, 3 * US]
    assert reasons(record) == [None, "queue-full"]


def test_a_retry_may_be_sent_at_the_deadline_and_not_after_it(tmp_path: Path) -> None:
    # Query 1 has until 10. Its first retry, at 5, finds no room; the second would be sent 5 us later, or 5.001 us.
    def second_retry(multiplier: float, more: str = "") -> RunRecord:
        retries = f"retries: {{limit: 2, backoff: 4us, multiplier: {multiplier}{more}}}"
        return run(tmp_path, [0, 1], {"d": device(TEN_US)}, sla="9us", more=f"queue: {{limit: 0}}\n{retries}")

    assert log(second_retry(1.25)) == [(0, 0, 10, LATE), (1, 10, 20, LATE)]
    past = second_retry(1.25025)
    assert log(past)[1] == (1, NEVER, NEVER, DROPPED)
    assert past.drop_ns[1] == 5 * US
    anyway = second_retry(1.25025, more=", past_deadline: true")
    assert log(anyway)[1] == (1, 10.001, 20.001, LATE)


def test_a_retry_whose_backoff_cannot_be_counted_is_never_sent(tmp_path: Path) -> None:
    # The lane is busy for longer than the run. The ninth retry would wait for 2 us x 100^8, some 630 years.
    retries = "retries: {limit: 9, backoff: 2us, multiplier: 100, past_deadline: true}"
    busy = "{distribution: deterministic, mean: 1h}"
    record = run(tmp_path, [0, 1], {"d": device(busy)}, more=f"queue: {{limit: 0}}\n{retries}")
    assert [sent for q, _, sent, *_ in attempts(record) if q == 1] == [1, 3, 203]
    assert record.outcome.tolist() == [Outcome.IN_FLIGHT] * 2


def test_a_retry_at_the_instant_of_a_completion_finds_the_lane_free(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 1], {"d": device(TEN_US)}, more="queue: {limit: 0}\nretries: {limit: 1, backoff: 9us}")
    assert log(record) == [(0, 0, 10, IN_TIME), (1, 10, 20, IN_TIME)]


def test_a_budget_bounds_retries(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 2, 3, 4, 5],
        {"d": device(TEN_US)},
        sla="1ms",
        more="queue: {limit: 0}\nretries: {limit: 1, backoff: 1us, budget: 50%, burst: 1}",
    )
    # The budget holds one retry at first and never more: query 1 takes it, 3 (after 2 and 3 were offered) takes the
    # next, 5 the third.
    assert [q for q, cause, *_ in attempts(record) if cause == RETRY] == [1, 3, 5]


def test_timeouts_and_retries_make_a_storm(tmp_path: Path) -> None:
    storm = run(
        tmp_path,
        [0, 1],
        {"d": device(TEN_US)},
        sla="1ms",
        more="timeout: {after: 12us, cancel: none}\nretries: {limit: 2}",
    )
    # Nobody waits for the second query's service at 10-20 beyond 13, nor for 20-30 beyond 25: 30-40 is beyond 37.
    assert attempts(storm) == [
        (0, FIRST, 0, 10, ANSWERED),
        (1, FIRST, 1, 13, TIMED_OUT),
        (1, RETRY, 13, 25, TIMED_OUT),
        (1, RETRY, 25, 37, TIMED_OUT),
    ]
    assert parts(storm) == [(0, 0, 0, 10), (1, 0, 10, 20), (1, 0, 20, 30), (1, 0, 30, 40)]
    assert storm.part_attempt.tolist() == [0, 0, 1, 2]
    assert log(storm)[1] == (1, 10, NEVER, DROPPED)
    calm = run(
        tmp_path,
        [0, 1],
        {"d": device(TEN_US)},
        sla="1ms",
        more="timeout: {after: 12us, cancel: running}\nretries: {limit: 2}",
    )
    assert log(calm)[1] == (1, 10, 23, IN_TIME)
    assert parts(calm) == [(0, 0, 0, 10), (1, 0, 10, 13), (1, 0, 13, 23)]


# -- hedges -------------------------------------------------------------------------------------------------


def test_the_first_answer_wins_and_the_other_leaves_its_queue(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 2],
        {"d": device(ONE_US_A_SAMPLE)},
        sizes=[50, 20, 5],
        nodes=2,
        sla="1ms",
        more=ROUND_ROBIN + "hedging: {after: 10us}",
    )
    # Queries 0 and 2 are on the first node, 1 on the second until 21. Copies: 0 at 10 and 2 at 12 go to the second
    # node, 1 at 11 to the first. 1 is done at 21 and its copy leaves the first node's queue; then 0's copy runs 21-71,
    # but 0 is done at 50 and its copy runs on; 2 starts on the first node at 50, is done at 55, and its copy leaves.
    assert attempts(record) == [
        (0, FIRST, 0, 50, ANSWERED),
        (1, FIRST, 1, 21, ANSWERED),
        (2, FIRST, 2, 55, ANSWERED),
        (0, HEDGE, 10, 50, BEATEN),
        (1, HEDGE, 11, 21, BEATEN),
        (2, HEDGE, 12, 55, BEATEN),
    ]
    assert parts(record) == [(0, 0, 0, 50), (1, 1, 1, 21), (0, 1, 21, 71), (2, 0, 50, 55)]
    assert record.part_attempt.tolist() == [0, 0, 1, 0]


def test_a_copy_in_service_is_stopped_where_that_is_asked(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 2],
        {"d": device(ONE_US_A_SAMPLE)},
        sizes=[50, 20, 5],
        nodes=2,
        sla="1ms",
        more=ROUND_ROBIN + "hedging: {after: 10us, cancel: running}",
    )
    # As before, but at 50 both lanes are freed: 2 starts on both nodes, and the first to complete is its first attempt.
    assert parts(record) == [(0, 0, 0, 50), (1, 1, 1, 21), (0, 1, 21, 50), (2, 0, 50, 55), (2, 1, 50, 55)]
    assert record.part_cut.tolist() == [False, False, True, False, True]
    assert record.answered_by.tolist() == [0, 0, 0]


def test_a_query_that_completes_at_the_instant_of_its_hedge_is_not_hedged(tmp_path: Path) -> None:
    record = run(tmp_path, [0], {"d": device(TEN_US)}, nodes=2, more=ROUND_ROBIN + "hedging: {after: 10us}")
    assert attempts(record) == [(0, FIRST, 0, 10, ANSWERED)]


def test_copies_that_finish_at_one_instant_answer_once(tmp_path: Path) -> None:
    for cancel in ("none", "waiting", "running"):
        record = run(
            tmp_path,
            [0],
            {"d": device(TEN_US)},
            nodes=2,
            more=ROUND_ROBIN + f"hedging: {{after: 0s, cancel: {cancel}}}",
        )
        assert attempts(record) == [(0, FIRST, 0, 10, ANSWERED), (0, HEDGE, 0, 10, BEATEN)]
        assert parts(record) == [(0, 0, 0, 10), (0, 1, 0, 10)]
        assert record.correct.tolist() == [0.8]


def test_a_copy_that_finds_no_room_changes_nothing(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1],
        {"d": device(TEN_US)},
        nodes=2,
        more=ROUND_ROBIN + "queue: {limit: 0}\nhedging: {after: 5us}",
    )
    assert attempts(record) == [
        (0, FIRST, 0, 10, ANSWERED),
        (1, FIRST, 1, 11, ANSWERED),
        (0, HEDGE, 5, 5, FULL),
        (1, HEDGE, 6, 6, FULL),
    ]
    assert reasons(record) == [None, None]


def test_a_copy_takes_over_from_an_attempt_that_times_out(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 2, 3],
        {"d": device(ONE_US_A_SAMPLE)},
        sizes=[50, 1, 1, 5],
        nodes=3,
        sla="1ms",
        more=ROUND_ROBIN + "timeout: {after: 20us}\nhedging: {after: 18us}",
    )
    # Query 3 waits behind 0 on the first node until 23; its copy, sent at 21 to the second, is done at 26.
    assert attempts(record) == [
        (0, FIRST, 0, 20, TIMED_OUT),
        (1, FIRST, 1, 2, ANSWERED),
        (2, FIRST, 2, 3, ANSWERED),
        (3, FIRST, 3, 23, TIMED_OUT),
        (0, HEDGE, 18, 38, TIMED_OUT),
        (3, HEDGE, 21, 26, ANSWERED),
    ]
    assert log(record)[3] == (3, 21, 26, IN_TIME)
    assert reasons(record) == ["timeout", None, None, None]
    assert record.answered_by.tolist() == [-1, 0, 0, 1]


def test_hedging_at_a_percentile_waits_until_it_is_known(tmp_path: Path) -> None:
    arrivals = [100.0 * k for k in range(12)]
    record = run(
        tmp_path,
        arrivals,
        {"d": device(ONE_US_A_SAMPLE)},
        sizes=[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 30, 30],
        nodes=2,
        sla="1ms",
        more=ROUND_ROBIN + "hedging: {percentile: 80, window: 10}",
    )
    # After ten queries the 80th percentile is 8 us; then 30 replaces 1, and it is 9.
    assert [(q, sent) for q, cause, sent, *_ in attempts(record) if cause == HEDGE] == [(10, 1008), (11, 1109)]


def test_a_hedge_in_a_central_queue_is_another_place_in_it(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1],
        {"d": device(TEN_US)},
        more="binding: {kind: late}\npolicy: {kind: fastest}\nhedging: {after: 3us}",
    )
    # At 10 the lane takes query 1; the copies of 0 (at 3, gone at 10) and of 1 (at 4) wait behind it.
    assert parts(record) == [(0, 0, 0, 10), (1, 0, 10, 20)]
    assert [how for *_, how in attempts(record)] == [ANSWERED, ANSWERED, BEATEN, BEATEN]
