"""Hand-worked event logs of crashes, slow spells and maintenance, to the nanosecond."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.engine.record import NEVER, AttemptEnd, Cause, RunRecord, Span
from sim.serving.clients import DropReason
from tests.engine.test_client_logs import attempts, reasons
from tests.engine.test_event_logs import DROPPED, IN_TIME, ONE_US_A_SAMPLE, TEN_US, US, device, log, parts, run

pytestmark = pytest.mark.usefixtures("engine")

ROUND_ROBIN = "router: {kind: round-robin}\n"
RETRIES = "retries: {limit: 1, past_deadline: true}\n"
FIRST, HEDGE, RETRY = Cause
ANSWERED = AttemptEnd.ANSWERED
LOST = AttemptEnd.FAILED + DropReason.FAULT


def spans(record: RunRecord) -> list[tuple[int, Span, float, float]]:
    """Device, kind, begin and end in microseconds of every time down or closed, in the order of their ends."""
    columns = (record.span_device, record.span_kind, record.span_from_ns, record.span_to_ns)
    return [(d, Span(k), f / US, t / US) for d, k, f, t in zip(*(c.tolist() for c in columns), strict=True)]


def test_what_is_on_a_node_that_crashes_is_lost(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 2, 3, 30],
        {"d": device(TEN_US)},
        nodes=2,
        more=ROUND_ROBIN + "faults: {crashes: [{at: 5us, for: 20us, group: n, nodes: [0]}]}",
    )
    # The first node serves query 0 and holds 2: both are lost at 5. At 30, whose turn the first node's is, it is back.
    assert parts(record) == [(0, 0, 0, 5), (1, 1, 1, 11), (3, 1, 11, 21), (4, 0, 30, 40)]
    assert record.part_cut.tolist() == [True, False, False, False]
    assert log(record) == [
        (0, 0, NEVER, DROPPED),
        (1, 1, 11, IN_TIME),
        (2, NEVER, NEVER, DROPPED),
        (3, 11, 21, IN_TIME),
        (30, 30, 40, IN_TIME),
    ]
    assert reasons(record) == ["fault", None, "fault", None, None]
    assert record.drop_ns.tolist() == [5 * US, NEVER, 5 * US, NEVER, NEVER]
    assert record.unstarted_wait_ns == 3 * US
    assert spans(record) == [(0, Span.DOWN, 5, 25)]


def test_a_crash_during_a_batch_loses_all_of_it(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 2, 3],
        {"d": device(TEN_US)},
        more="batching: {queries: 3}\nfaults: {crashes: [{at: 15us, for: 5us}]}\n" + RETRIES,
        sla="1ms",
    )
    # At 15 the batch of 1, 2 and 3 is cut off, and nobody is left to send them to again.
    assert parts(record) == [(0, 0, 0, 10), (1, 0, 10, 15), (2, 0, 10, 15), (3, 0, 10, 15)]
    assert reasons(record) == [None, "unavailable", "unavailable", "unavailable"]
    waits = run(
        tmp_path,
        [0, 1, 2, 3],
        {"d": device(TEN_US)},
        more="batching: {queries: 3}\nfaults: {crashes: [{at: 15us, for: 5us}]}\nretries: {limit: 1, backoff: 5us}",
        sla="1ms",
    )
    # Sent again at 20, the instant the node is back, which comes first; the first of them finds the lane idle.
    assert parts(waits)[4:] == [(1, 0, 20, 30), (2, 0, 30, 40), (3, 0, 30, 40)]
    assert [outcome for *_, outcome in log(waits)] == [IN_TIME] * 4


def test_a_fault_at_the_instant_of_a_completion_comes_first(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 20], {"d": device(TEN_US)}, more="faults: {crashes: [{at: 10us, for: 3us}]}")
    assert log(record) == [(0, 0, NEVER, DROPPED), (20, 20, 30, IN_TIME)]
    assert record.drop_ns[0] == 10 * US
    assert record.part_cut.tolist() == [True, False]


def test_an_arrival_at_the_instant_of_a_crash_finds_the_node_down(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 15, 18], {"d": device(TEN_US)}, more="faults: {crashes: [{at: 15us, for: 3us}]}")
    # And one at the instant of the repair finds it back.
    assert log(record) == [(0, 0, 10, IN_TIME), (15, NEVER, NEVER, DROPPED), (18, 18, 28, IN_TIME)]
    assert reasons(record) == [None, "unavailable", None]


def test_what_is_lost_is_sent_to_nodes_that_are_up(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 2],
        {"d": device(TEN_US)},
        nodes=2,
        sla="1ms",
        more=ROUND_ROBIN + RETRIES + "faults: {crashes: [{at: 5us, group: n, nodes: [0]}]}",
    )
    # In the order in which they are lost: what is in service first, then what waits.
    assert attempts(record) == [
        (0, FIRST, 0, 5, LOST),
        (1, FIRST, 1, 11, ANSWERED),
        (2, FIRST, 2, 5, LOST),
        (0, RETRY, 5, 21, ANSWERED),
        (2, RETRY, 5, 31, ANSWERED),
    ]
    assert log(record) == [(0, 0, 21, IN_TIME), (1, 1, 11, IN_TIME), (2, 21, 31, IN_TIME)]
    assert record.node.tolist() == [1, 1, 1]
    assert spans(record) == [(0, Span.DOWN, 5, record.stop_ns / US)]


def test_nodes_that_crash_together_do_not_send_to_each_other(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0],
        {"d": device(TEN_US)},
        nodes=3,
        sla="1ms",
        more=ROUND_ROBIN
        + RETRIES
        + "faults: {crashes: [{at: 5us, group: n, nodes: [0]}, {at: 5us, group: n, nodes: [1]}]}",
    )
    assert parts(record) == [(0, 0, 0, 5), (0, 2, 5, 15)]


def test_the_policy_sees_only_devices_that_are_up(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 6, 16],
        {"slow": device("{distribution: deterministic, mean: 20us}"), "fast": device(TEN_US)},
        more="policy: {kind: fastest}\nfaults: {crashes: [{at: 5us, for: 10us, group: n, device: fast}]}",
    )
    assert parts(record) == [(0, 1, 0, 5), (1, 0, 6, 26), (2, 1, 16, 26)]
    assert [outcome for *_, outcome in log(record)] == [DROPPED, IN_TIME, IN_TIME]


def test_overlapping_faults_of_a_device_end_with_the_last(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 22, 32],
        {"d": device(TEN_US)},
        more="faults: {crashes: [{at: 15us, for: 5us}, {at: 18us, for: 12us, group: n, nodes: [0]}]}",
    )
    assert spans(record) == [(0, Span.DOWN, 15, 30)]
    assert reasons(record) == [None, "unavailable", None]


def test_a_part_that_is_lost_fails_its_query_and_the_others_run_on(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1],
        {"a": device(ONE_US_A_SAMPLE), "b": device(ONE_US_A_SAMPLE)},
        sizes=[30, 1],
        sla="1ms",
        more="policy: {kind: fastest}\nsplitting: {part: 10, over: devices}\n"
        "faults: {crashes: [{at: 5us, group: n, device: a}]}",
    )
    # Parts of 10 on a, b and a; the third waits behind the first and leaves with it. b works for nothing.
    assert parts(record) == [(0, 0, 0, 5), (0, 1, 0, 10), (1, 1, 10, 11)]
    assert log(record) == [(0, 0, NEVER, DROPPED), (1, 10, 11, IN_TIME)]
    assert record.drop_ns[0] == 5 * US


def test_with_late_binding_what_waits_centrally_is_not_lost(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 2],
        {"d": device(TEN_US, lanes=2)},
        sla="1ms",
        more="binding: {kind: late}\npolicy: {kind: fastest}\nfaults: {crashes: [{at: 5us, for: 20us}]}",
    )
    # Both lanes are cut off; the third query waits for the repair at 25.
    assert parts(record) == [(0, 0, 0, 5), (1, 1, 1, 5), (2, 0, 25, 35)]


def test_a_slow_node_is_slow_for_what_it_has_begun(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 6, 40],
        {"d": device(TEN_US)},
        sla="1ms",
        more="faults: {slow: [{at: 4us, for: 16us, group: n, nodes: [0], factor: 4}]}",
    )
    # 4 us of work are done at 4; until 20 another 4; the last 2 at full speed. Query 1 then takes its 10.
    assert parts(record) == [(0, 0, 0, 22), (1, 0, 22, 32), (2, 0, 40, 50)]


def test_slow_spells_multiply_and_completions_stay_on_whole_nanoseconds(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0],
        {"d": device("{distribution: deterministic, mean: 10ns}")},
        sla="1ms",
        more="faults: {slow: [{at: 4ns, for: 100ns, group: n, factor: 1.5}, {at: 7ns, for: 3ns, group: n, factor: 2}]}",
    )
    # 4 ns of work by 4; 2 by 7 at two thirds; 1 by 10 at a third; 3 more at two thirds take 4.5, done within 15.
    assert parts(record) == [(0, 0, 0, 0.015)]


def test_a_drain_with_a_full_queue(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 2, 3, 4],
        {"d": device(TEN_US)},
        nodes=2,
        sla="1ms",
        more=ROUND_ROBIN
        + "queue: {limit: 1}\nfaults: {maintenance: [{at: 2.5us, group: n, nodes: [0], drain: 15us, down: 10us}]}",
    )
    # The first node takes 0 and 2, then nothing: 3 waits on the second, where 4 finds no room. 0 is served by 10; 2 has
    # until 17.5 and is lost then, in service.
    assert parts(record) == [(0, 0, 0, 10), (1, 1, 1, 11), (2, 0, 10, 17.5), (3, 1, 11, 21)]
    assert reasons(record) == [None, None, "fault", None, "queue-full"]
    assert sorted(spans(record)) == [(0, Span.DOWN, 17.5, 27.5), (0, Span.CLOSED, 2.5, 27.5)]


def test_rolling_maintenance_takes_nodes_in_turn(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 10, 20, 30],
        {"d": device("{distribution: deterministic, mean: 1us}")},
        nodes=2,
        more="router: {kind: least-backlog}\nfaults: {maintenance: [{at: 0s, group: n, drain: 5us, down: 10us}]}",
    )
    assert sorted(spans(record)) == [
        (0, Span.DOWN, 5, 15),
        (0, Span.CLOSED, 0, 15),
        (1, Span.DOWN, 20, 30),
        (1, Span.CLOSED, 15, 30),
    ]
    assert record.node.tolist() == [1, 1, 0, 0]


def test_a_copy_survives_the_node_of_the_first(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0],
        {"d": device(TEN_US)},
        nodes=2,
        more=ROUND_ROBIN + "hedging: {after: 3us}\nfaults: {crashes: [{at: 5us, group: n, nodes: [0]}]}",
    )
    assert attempts(record) == [(0, FIRST, 0, 5, LOST), (0, HEDGE, 3, 13, ANSWERED)]
    assert log(record) == [(0, 0, 13, IN_TIME)]


def test_a_query_under_way_finds_its_node_down(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0],
        {"d": device(TEN_US)},
        nodes=2,
        more=ROUND_ROBIN + "network: {delay: 4us}\n" + RETRIES + "faults: {crashes: [{at: 2us, group: n, nodes: [0]}]}",
    )
    assert [(cause, sent, end) for _, cause, sent, end, _ in attempts(record)] == [(FIRST, 0, 4), (RETRY, 4, 22)]
    assert log(record) == [(0, 8, 22, IN_TIME)]
