"""Hand-worked event logs of queue orders, shedding and batching, to the nanosecond."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.engine.engines import Engine
from sim.engine.record import NEVER
from sim.serving.clients import DROP_REASONS
from tests.engine.test_event_logs import (
    DROPPED,
    IN_TIME,
    LATE,
    ONE_US_A_SAMPLE,
    TEN_US,
    TWO_REPRESENTATIONS,
    US,
    device,
    log,
    parts,
    run,
)

pytestmark = pytest.mark.usefixtures("engine")

OVERHEAD = "{profile: {kind: cpu, per_query_overhead: 2us, service: {distribution: deterministic, per_sample: 1us}}}"


def test_smallest_first(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 2, 3],
        {"d": device(ONE_US_A_SAMPLE)},
        sizes=[10, 8, 3, 8],
        more="queue: {order: smallest-first}",
    )
    # At 10 us 8, 3 and 8 wait: the 3 goes first, then the eights as they came.
    assert parts(record) == [(0, 0, 0, 10), (2, 0, 10, 13), (1, 0, 13, 21), (3, 0, 21, 29)]


def test_smallest_first_in_a_central_queue(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 2],
        {"d": device(ONE_US_A_SAMPLE)},
        sizes=[10, 8, 3],
        more="queue: {order: smallest-first}\nbinding: {kind: late}\npolicy: {kind: fastest}",
    )
    assert parts(record) == [(0, 0, 0, 10), (2, 0, 10, 13), (1, 0, 13, 21)]


def test_a_query_without_room_takes_its_own_parts_back_from_a_sorted_queue(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 2],
        {"d": device(ONE_US_A_SAMPLE)},
        sizes=[10, 9, 15],
        more="queue: {order: smallest-first, limit: 2}\nsplitting: {part: 10}",
    )
    # 15 is cut into 8 and 7: the 8 takes the last place, the 7 finds none, and the 9 keeps its own.
    assert log(record) == [(0, 0, 10, IN_TIME), (1, 10, 19, IN_TIME), (2, NEVER, NEVER, DROPPED)]


def test_with_one_sla_the_earliest_deadline_is_the_oldest_query(tmp_path: Path) -> None:
    logs = []
    for order in ("fifo", "earliest-deadline"):
        record = run(
            tmp_path,
            [0, 1, 1, 2],
            {"d": device(ONE_US_A_SAMPLE)},
            sizes=[9, 8, 3, 1],
            more=f"queue: {{order: {order}}}",
        )
        logs.append(parts(record))
    assert logs[0] == logs[1] == [(0, 0, 0, 9), (1, 0, 9, 17), (2, 0, 17, 20), (3, 0, 20, 21)]


def test_late_queries_are_shed_when_a_lane_would_take_them(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 1, 2, 25], {"d": device(TEN_US)}, sla="12us", more="queue: {shed: late}")
    # At 10 us the second is not past its deadline of 13 us, though it will be late; at 20 us the third is, of 14 us.
    assert log(record) == [(0, 0, 10, IN_TIME), (1, 10, 20, LATE), (2, NEVER, NEVER, DROPPED), (25, 25, 35, IN_TIME)]
    assert record.drop_ns[2] == 20 * US
    assert DROP_REASONS[record.drop_reason[2]] == "deadline"
    assert record.unstarted_wait_ns == 18 * US


def test_a_deadline_that_falls_on_the_start_is_not_past(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 1], {"d": device(TEN_US)}, sla="9us", more="queue: {shed: late}")
    assert log(record) == [(0, 0, 10, LATE), (1, 10, 20, LATE)]


def test_hopeless_queries_are_shed_before_their_deadline(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 1, 2, 10], {"d": device(TEN_US)}, sla="12us", more="queue: {shed: hopeless}")
    # At 10 us, after the first is done: 20 us is past 13 and past 14, not past 22.
    assert log(record) == [
        (0, 0, 10, IN_TIME),
        (1, NEVER, NEVER, DROPPED),
        (2, NEVER, NEVER, DROPPED),
        (10, 10, 20, IN_TIME),
    ]
    assert record.drop_ns.tolist() == [NEVER, 10 * US, 10 * US, NEVER]


def test_shedding_a_part_sheds_its_query_and_what_was_served_of_it_is_wasted(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 2],
        {"d": device(ONE_US_A_SAMPLE)},
        sizes=[10, 30, 1],
        sla="19us",
        more="queue: {shed: late}\nsplitting: {part: 10}",
    )
    # The second query's first part runs 10 to 20 us; at 20 us its deadline is now, at 30 us past.
    assert parts(record) == [(0, 0, 0, 10), (1, 0, 10, 20), (1, 0, 20, 30)]
    assert log(record) == [(0, 0, 10, IN_TIME), (1, 10, NEVER, DROPPED), (2, NEVER, NEVER, DROPPED)]
    assert record.correct.tolist() == [0.8 * 10, 0.0, 0.0]


def test_a_shed_query_leaves_its_waiting_parts_out(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 12],
        {"d": device(ONE_US_A_SAMPLE)},
        sizes=[10, 20, 1],
        sla="8us",
        more="queue: {shed: hopeless}\nsplitting: {part: 10}",
    )
    # The first would take 10 us of its 8: shed at once, though the lane is idle.
    assert log(record)[0] == (0, NEVER, NEVER, DROPPED)
    assert log(record)[1] == (1, NEVER, NEVER, DROPPED)
    assert log(record)[2] == (12, 12, 13, IN_TIME)


def test_bulk_service(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 1, 2, 3, 4], {"d": device(TEN_US)}, sla="1ms", more="batching: {queries: 3}")
    assert parts(record) == [(0, 0, 0, 10), (1, 0, 10, 20), (2, 0, 10, 20), (3, 0, 10, 20), (4, 0, 20, 30)]
    assert record.part_batch.tolist() == [0, 1, 1, 1, 2]


def test_a_batch_takes_the_time_of_its_samples_and_of_its_queries(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 1, 2], {"d": OVERHEAD}, sizes=[4, 3, 2], more="batching: {queries: 8}")
    # 3 + 2 samples of 1 us, and 2 us for the second query.
    assert parts(record) == [(0, 0, 0, 4), (1, 0, 4, 11), (2, 0, 4, 11)]


def test_a_batch_limit_of_one_changes_nothing(tmp_path: Path) -> None:
    alone = run(tmp_path, [0, 1, 2], {"d": OVERHEAD}, sizes=[4, 3, 2])
    batched = run(tmp_path, [0, 1, 2], {"d": OVERHEAD}, sizes=[4, 3, 2], more="batching: {queries: 1}")
    assert parts(alone) == parts(batched) == [(0, 0, 0, 4), (1, 0, 4, 7), (2, 0, 7, 9)]


def test_a_batch_that_is_not_full_waits_until_its_oldest_query_has_waited_for_the_timeout(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 3, 10, 30],
        {"d": device(TEN_US)},
        sla="1ms",
        more="batching: {queries: 2, timeout: 5us}",
    )
    # The second fills the first batch; the third is alone at 13 us and overdue at 15, the fourth at 35.
    assert parts(record) == [(0, 0, 3, 13), (1, 0, 3, 13), (2, 0, 15, 25), (3, 0, 35, 45)]


def test_an_arrival_at_the_instant_of_the_timeout_comes_too_late(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 5], {"d": device(TEN_US)}, sla="1ms", more="batching: {queries: 2, timeout: 5us}")
    # Timers go before arrivals. The second is overdue at 10 us and the lane free at 15.
    assert parts(record) == [(0, 0, 5, 15), (1, 0, 15, 25)]


def test_a_completion_and_a_timeout_at_one_instant(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 1, 7, 8], {"d": device(TEN_US)}, sla="1ms", more="batching: {queries: 2, timeout: 4us}")
    # The first two run 1 to 11 us; the third, overdue at 11 us, and the fourth fill a batch by then.
    assert parts(record) == [(0, 0, 1, 11), (1, 0, 1, 11), (2, 0, 11, 21), (3, 0, 11, 21)]


def test_a_batch_is_full_when_the_next_query_does_not_fit(tmp_path: Path) -> None:
    more = "batching: {queries: 8, samples: 10, timeout: 100us}"
    record = run(tmp_path, [0, 1], {"d": device(ONE_US_A_SAMPLE)}, sizes=[6, 5], sla="1ms", more=more)
    assert parts(record) == [(0, 0, 1, 7), (1, 0, 101, 106)]
    record = run(tmp_path, [0, 1], {"d": device(ONE_US_A_SAMPLE)}, sizes=[6, 4], sla="1ms", more=more)
    assert parts(record) == [(0, 0, 1, 11), (1, 0, 1, 11)]


def test_each_idle_lane_gathers_a_batch(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 0, 1, 1, 2, 2],
        {"d": device(TEN_US, lanes=2)},
        sla="1ms",
        more="batching: {queries: 2, timeout: 5us}",
    )
    assert parts(record) == [(0, 0, 0, 10), (1, 0, 0, 10), (2, 1, 1, 11), (3, 1, 1, 11), (4, 0, 10, 20), (5, 0, 10, 20)]


def test_a_part_left_over_waits_for_the_timeout_beside_an_idle_lane(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0],
        {"d": device(ONE_US_A_SAMPLE, lanes=2)},
        sizes=[30],
        sla="1ms",
        more="batching: {queries: 2, timeout: 5us}\nsplitting: {part: 10}",
    )
    # Three parts: two fill a batch at once; the third waits for the timeout although a lane is idle.
    assert parts(record) == [(0, 0, 0, 20), (0, 0, 0, 20), (0, 1, 5, 15)]


def test_representations_are_not_mixed_in_a_batch(tmp_path: Path) -> None:
    services = (
        "{m: {table: {distribution: deterministic, per_sample: 500ns}, "
        "dhe: {distribution: deterministic, per_sample: 2us}}}"
    )
    record = run(
        tmp_path,
        [0, 1, 2, 3],
        {"d": device(services)},
        sizes=[10, 1, 4, 1],
        sla="25us",
        model=TWO_REPRESENTATIONS.replace("{representations", "{name: m, representations"),
        more="policy: {kind: mp-rec}\nbatching: {queries: 4}",
    )
    # DHE 0 to 20 us; then a wait of 19 + 2 us for DHE fits, 20 + 8 does not (table 20 + 2 does), 21 + 2 does.
    # The DHE line's head is the oldest at 20 us: two samples of 2 us each; then the table's four of 0.5 us.
    assert parts(record) == [(0, 0, 0, 20), (1, 0, 20, 24), (3, 0, 20, 24), (2, 0, 24, 26)]


def test_a_bounded_queue_leaves_idle_lanes_room_to_gather(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 2, 3],
        {"d": device(TEN_US, more=", queue_limit: 1")},
        sla="1ms",
        more="batching: {queries: 2, timeout: 5us}",
    )
    assert log(record) == [(0, 1, 11, IN_TIME), (1, 1, 11, IN_TIME), (2, 11, 21, IN_TIME), (3, NEVER, NEVER, DROPPED)]


def test_what_is_shed_makes_room_in_the_batch(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 9, 9],
        {"d": device(TEN_US)},
        sla="12us",
        more="queue: {shed: hopeless}\nbatching: {queries: 2}",
    )
    assert parts(record) == [(0, 0, 0, 10), (2, 0, 10, 20), (3, 0, 10, 20)]
    assert log(record)[1] == (1, NEVER, NEVER, DROPPED)


def test_smallest_first_fills_batches_with_the_smallest(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 2, 3],
        {"d": device(ONE_US_A_SAMPLE)},
        sizes=[10, 8, 3, 4],
        sla="1ms",
        more="queue: {order: smallest-first}\nbatching: {queries: 2}",
    )
    assert parts(record) == [(0, 0, 0, 10), (2, 0, 10, 17), (3, 0, 10, 17), (1, 0, 17, 25)]


def test_only_the_named_devices_batch(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 0, 0, 0],
        {"a": device(TEN_US), "b": device(TEN_US)},
        sla="1ms",
        more="batching: {queries: 2, devices: [b]}\npolicy: {kind: fastest}",
    )
    assert parts(record) == [(0, 0, 0, 10), (1, 1, 0, 10), (2, 0, 10, 20), (3, 1, 10, 20)]


@pytest.mark.parametrize("order", ["fifo", "smallest-first", "earliest-deadline"])
def test_the_lane_of_a_batch_is_busy_once(order: str, tmp_path: Path, engine: Engine) -> None:
    from sim.study.prepare import prepare
    from sim.study.replication import run_replication
    from sim.study.scenario import load_scenarios

    run(
        tmp_path,
        [0, 1, 2, 20],
        {"d": device(TEN_US)},
        sla="1ms",
        more=f"queue: {{order: {order}}}\nbatching: {{queries: 3}}",
    )
    (scenario,) = prepare(load_scenarios(str(tmp_path / "experiment.yaml")))
    result = run_replication(scenario, 0, engine=engine)
    # Busy 0 to 10 and 10 to 20 of the arrival period of 20 us.
    assert result.measurements[0].utilisation == {"d": 1.0}


def test_routers_see_the_nodes_as_they_were(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 2, 6, 7, 30],
        {"d": device(TEN_US)},
        nodes=2,
        sla="1ms",
        more="router: {kind: least-backlog}\nknowledge: {delay: 5us}",
    )
    # Until 5 us the nodes look empty. At 6 us the second looks empty, as it was at 1 us, and at 7 us still.
    # At 30 us the router sees 25 us: one query on the first, one on the second.
    assert record.node.tolist() == [0, 0, 0, 1, 1, 0]
    assert parts(record) == [
        (0, 0, 0, 10),
        (3, 1, 6, 16),
        (1, 0, 10, 20),
        (4, 1, 16, 26),
        (2, 0, 20, 30),
        (5, 0, 30, 40),
    ]


@pytest.mark.parametrize(("second_us", "node"), [(4, 0), (5, 1)])
def test_what_happened_exactly_the_delay_ago_is_seen(second_us: int, node: int, tmp_path: Path) -> None:
    record = run(tmp_path, [0, second_us], {"d": device(TEN_US)}, nodes=2, sla="1ms", more="knowledge: {delay: 5us}")
    assert record.node.tolist() == [0, node]
