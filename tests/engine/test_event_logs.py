"""Hand-worked event logs: every stamp of a handful of queries, to the nanosecond."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.engine.record import NEVER, Outcome, RunRecord
from tests.harness import run_text, write_trace

pytestmark = pytest.mark.usefixtures("engine")

US = 1000
IN_TIME, LATE, DROPPED, IN_FLIGHT = Outcome

ACCURACY = "{value: 80%, evidence: assumed}"
ONE_REPRESENTATION = f"{{representations: {{table: {{accuracy: {ACCURACY}}}}}}}"
TWO_REPRESENTATIONS = (
    f"{{representations: {{table: {{accuracy: {ACCURACY}}}, dhe: {{accuracy: {{value: 90%, evidence: assumed}}}}}}}}"
)


def device(service: str, lanes: int = 1, more: str = "") -> str:
    """A device of `lanes` lanes; `service` is its service block."""
    return f"{{profile: {{kind: cpu, lanes: {lanes}, service: {service}}}{more}}}"


TEN_US = "{distribution: deterministic, mean: 10us}"
ONE_US_A_SAMPLE = "{distribution: deterministic, per_sample: 1us}"


def run(
    folder: Path,
    arrivals_us: list[float],
    devices: dict[str, str],
    *,
    sizes: list[int] | None = None,
    sla: str = "25us",
    nodes: int = 1,
    model: str = ONE_REPRESENTATION,
    more: str = "",
) -> RunRecord:
    write_trace(folder, arrivals_us)
    size_text = "{kind: fixed, size: 1}"
    if sizes is not None:
        (folder / "sizes.csv").write_text("size\n" + "".join(f"{size}\n" for size in sizes))
        size_text = "{kind: trace, file: sizes.csv}"
    fleet = ", ".join(f"{name}: {use}" for name, use in devices.items())
    return run_text(
        folder,
        f"""
name: hand-worked
model: {model}
sla: {sla}
workload:
  arrivals: {{kind: trace, file: arrivals.csv, unit: us}}
  sizes: {size_text}
  queries: {len(arrivals_us)}
  warmup: 0s
fleet: [{{name: n, count: {nodes}, devices: {{{fleet}}}}}]
replications: 1
{more}
""",
    )


def log(record: RunRecord) -> list[tuple[float, float, float, Outcome]]:
    """Arrival, start and finish in microseconds, and the outcome, of every query."""

    def us(stamp: int) -> float:
        return stamp if stamp == NEVER else stamp / US

    columns = (record.arrival_ns, record.start_ns, record.finish_ns, record.outcome)
    return [(us(a), us(s), us(f), Outcome(o)) for a, s, f, o in zip(*(c.tolist() for c in columns), strict=True)]


def parts(record: RunRecord) -> list[tuple[int, int, float, float]]:
    """Query, lane, start and finish in microseconds of every part, in the order of starts."""
    columns = (record.part_query, record.part_lane, record.part_start_ns, record.part_finish_ns)
    return [(q, lane, s / US, f / US) for q, lane, s, f in zip(*(c.tolist() for c in columns), strict=True)]


def test_queue(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 4, 5], {"d": device(TEN_US)})
    assert log(record) == [(0, 0, 10, IN_TIME), (4, 10, 20, IN_TIME), (5, 20, 30, IN_TIME)]
    # Number in the system: 1 over 0-4, 2 over 4-5, 3 over 5-10, 2 over 10-20, 1 over 20-30.
    assert record.in_system_integral == (4 + 2 + 15 + 20 + 10) * US
    # Number waiting: 1 over 4-5, 2 over 5-10, 1 over 10-20.
    assert record.waiting_integral == (1 + 10 + 10) * US
    assert record.correct.tolist() == [0.8, 0.8, 0.8]


def test_sla_is_met_at_the_very_limit_and_missed_a_nanosecond_later(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 5.001, 5.002], {"d": device(TEN_US)}, sla="14.999us")
    assert log(record) == [(0, 0, 10, IN_TIME), (5.001, 10, 20, IN_TIME), (5.002, 20, 30, LATE)]


def test_two_lanes(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 4, 5], {"d": device(TEN_US, lanes=2)})
    assert log(record) == [(0, 0, 10, IN_TIME), (4, 4, 14, IN_TIME), (5, 10, 20, IN_TIME)]
    assert parts(record) == [(0, 0, 0, 10), (1, 1, 4, 14), (2, 0, 10, 20)]


def test_split_over_lanes(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 5, 6],
        {"d": device(ONE_US_A_SAMPLE, lanes=2)},
        sizes=[30, 10, 15],
        more="splitting: {part: 10}",
    )
    # 30 is cut into 10, 10, 10 and 15 into 8, 7; parts wait in the order in which they came.
    assert parts(record) == [
        (0, 0, 0, 10),
        (0, 1, 0, 10),
        (0, 0, 10, 20),
        (1, 1, 10, 20),
        (2, 0, 20, 28),
        (2, 1, 20, 27),
    ]
    assert log(record) == [(0, 0, 20, IN_TIME), (5, 10, 20, IN_TIME), (6, 20, 28, IN_TIME)]


def test_split_over_devices_binds_each_part_by_what_the_parts_before_it_left(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0],
        {"fast": device(ONE_US_A_SAMPLE), "slow": device("{distribution: deterministic, per_sample: 2us}")},
        sizes=[40],
        sla="1ms",
        more="splitting: {part: 10, over: devices}\npolicy: {kind: fastest}",
    )
    # Completion seen by each part: fast 10 or slow 20; fast 20 or slow 20 (tie: the first); fast 30 or slow 20; ...
    assert parts(record) == [(0, 0, 0, 10), (0, 1, 0, 20), (0, 0, 10, 20), (0, 0, 20, 30)]
    assert log(record) == [(0, 0, 30, IN_TIME)]


def test_full_queue_drops_and_the_rest_is_served(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 1, 2, 11], {"d": device(TEN_US, more=", queue_limit: 1")})
    assert log(record) == [
        (0, 0, 10, IN_TIME),
        (1, 10, 20, IN_TIME),
        (2, NEVER, NEVER, DROPPED),
        (11, 20, 30, IN_TIME),
    ]
    assert record.drop_ns.tolist() == [NEVER, NEVER, 2 * US, NEVER]
    assert record.correct.tolist() == [0.8, 0.8, 0.0, 0.8]


def test_a_query_whose_last_part_finds_no_room_leaves_nothing_behind(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 2],
        {"d": device(ONE_US_A_SAMPLE, more=", queue_limit: 2")},
        sizes=[10, 30, 20],
        more="splitting: {part: 10}",
    )
    assert log(record) == [(0, 0, 10, IN_TIME), (1, NEVER, NEVER, DROPPED), (2, 10, 30, LATE)]
    assert record.waiting_integral == (8 * 2 + 10) * US


def test_completion_comes_before_an_arrival_at_the_same_instant(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 10, 10], {"d": device(TEN_US, more=", queue_limit: 0")})
    # At 10 us the lane is freed first, the second query takes it, the third finds it busy.
    assert log(record) == [(0, 0, 10, IN_TIME), (10, 10, 20, IN_TIME), (10, NEVER, NEVER, DROPPED)]


def test_completions_at_one_instant_go_in_the_order_of_their_starts(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 0, 1, 1], {"d": device(TEN_US, lanes=2)})
    assert parts(record) == [(0, 0, 0, 10), (1, 1, 0, 10), (2, 0, 10, 20), (3, 1, 10, 20)]


def test_least_backlog_takes_the_first_node_among_equals(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 1, 2, 3], {"d": device(TEN_US)}, nodes=2, sla="1ms")
    assert record.node.tolist() == [0, 1, 0, 1]
    assert log(record) == [(0, 0, 10, IN_TIME), (1, 1, 11, IN_TIME), (2, 10, 20, IN_TIME), (3, 11, 21, IN_TIME)]


def test_least_backlog_by_work_prefers_the_node_that_is_nearly_done(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 8],
        {"d": device(ONE_US_A_SAMPLE)},
        nodes=2,
        sizes=[9, 50, 5],
        sla="1ms",
        more="router: {kind: least-backlog, measure: work}",
    )
    assert record.node.tolist() == [0, 1, 0]
    assert log(record)[2] == (8, 9, 14, IN_TIME)


def test_round_robin_takes_turns(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 20, 40], {"d": device(TEN_US)}, nodes=2, more="router: {kind: round-robin}")
    assert record.node.tolist() == [0, 1, 0]


def test_least_expected_completion_weighs_backlog_against_service(tmp_path: Path) -> None:
    record = run_text(
        tmp_path,
        f"""
name: two kinds of node
model: {ONE_REPRESENTATION}
sla: 1ms
workload:
  arrivals: {{kind: trace, file: {write_trace(tmp_path, [0, 1, 2]).name}, unit: us}}
  sizes: {{kind: fixed, size: 1}}
  queries: 3
  warmup: 0s
fleet:
  - {{name: slow, devices: {{d: {device("{distribution: deterministic, mean: 25us}")}}}}}
  - {{name: fast, devices: {{d: {device(TEN_US)}}}}}
router: {{kind: least-expected-completion}}
policy: {{kind: fastest}}
replications: 1
""",
    )
    # Completions expected: slow 25, fast 10; slow 26, fast 20; slow 27, fast 30.
    assert record.node.tolist() == [1, 1, 0]
    assert log(record) == [(0, 0, 10, IN_TIME), (1, 10, 20, IN_TIME), (2, 2, 27, IN_TIME)]


MP_REC_DEVICES = {
    "cpu": device("{m: {table: {distribution: deterministic, mean: 10us}}}"),
    "gpu": device("{m: {dhe: {distribution: deterministic, mean: 20us}}}"),
}
MP_REC_MODEL = TWO_REPRESENTATIONS.replace("{representations", "{name: m, representations", 1)


def test_mp_rec_takes_the_most_accurate_path_in_time_else_the_fastest(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 1, 2, 3], MP_REC_DEVICES, model=MP_REC_MODEL, sla="25us", more="policy: {kind: mp-rec}")
    # Completions expected on (cpu table, gpu dhe), SLA 25: (10, 20) -> dhe; (10, 39) -> table; (18, 38) -> table;
    # (27, 37): none in time -> the fastest, table.
    assert record.part_lane[record.part_query.argsort()].tolist() == [1, 0, 0, 0]
    assert log(record) == [(0, 0, 20, IN_TIME), (1, 1, 11, IN_TIME), (2, 11, 21, IN_TIME), (3, 21, 31, LATE)]
    assert record.correct.tolist() == pytest.approx([0.9, 0.8, 0.8, 0.8], rel=0, abs=0)


def test_mp_rec_can_drop_what_no_path_serves_in_time(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 2, 3],
        MP_REC_DEVICES,
        model=MP_REC_MODEL,
        sla="25us",
        more="policy: {kind: mp-rec, when_none_fits: drop}",
    )
    assert [outcome for *_, outcome in log(record)] == [IN_TIME, IN_TIME, IN_TIME, DROPPED]


def test_mp_rec_that_ignores_the_queue_piles_up_on_the_accurate_path(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 2],
        MP_REC_DEVICES,
        model=MP_REC_MODEL,
        sla="25us",
        more="policy: {kind: mp-rec, queue: ignored}",
    )
    assert log(record) == [(0, 0, 20, IN_TIME), (1, 20, 40, LATE), (2, 40, 60, LATE)]


def test_mp_rec_margin_keeps_part_of_the_sla_free(tmp_path: Path) -> None:
    record = run(
        tmp_path, [0], MP_REC_DEVICES, model=MP_REC_MODEL, sla="25us", more="policy: {kind: mp-rec, margin: 0.21}"
    )
    # 20 us is more than 0.79 x 25 us.
    assert log(record) == [(0, 0, 10, IN_TIME)]


def test_size_threshold_sends_large_queries_whole_and_splits_small_ones(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 2],
        {"cpu": device(ONE_US_A_SAMPLE, lanes=2), "gpu": device("{distribution: deterministic, mean: 7us}")},
        sizes=[8, 100, 6],
        sla="1ms",
        more=(
            "policy: {kind: size-threshold, threshold: 50, small: cpu, large: gpu}\n"
            "splitting: {part: 4, devices: [cpu]}"
        ),
    )
    assert parts(record) == [(0, 0, 0, 4), (0, 1, 0, 4), (1, 2, 1, 8), (2, 0, 4, 7), (2, 1, 4, 7)]


def test_late_binding_gives_the_oldest_query_to_the_first_free_lane_in_preference_order(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 2, 3],
        {"slow": device("{distribution: deterministic, mean: 20us}"), "fast": device(TEN_US)},
        sla="1ms",
        more="policy: {kind: fastest}\nbinding: {kind: late, preference: [fast, slow]}",
    )
    assert log(record) == [(0, 0, 10, IN_TIME), (1, 1, 21, IN_TIME), (2, 10, 20, IN_TIME), (3, 20, 30, IN_TIME)]
    assert record.part_lane.tolist() == [1, 0, 1, 1]


def test_late_binding_at_one_instant_serves_the_lane_that_was_freed_first(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 0, 1, 1],
        {"a": device("{distribution: deterministic, mean: 10us}"), "b": device(TEN_US)},
        sla="1ms",
        more="policy: {kind: fastest}\nbinding: {kind: late, preference: [b, a]}",
    )
    # Both lanes are freed at 10 us; b's part started first, so b takes query 2 and a query 3.
    assert record.part_lane.tolist() == [1, 0, 1, 0]


def test_late_binding_chooses_the_representation_by_the_time_that_is_left(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1],
        {
            "d": device(
                "{m: {table: {distribution: deterministic, mean: 4us}, dhe: {distribution: deterministic, mean: 10us}}}"
            )
        },
        model=MP_REC_MODEL,
        sla="15us",
        more="policy: {kind: mp-rec}\nbinding: {kind: late}",
    )
    # Query 1 has waited 9 us when the lane is free: 6 us are left, enough for the table only.
    assert log(record) == [(0, 0, 10, IN_TIME), (1, 10, 14, IN_TIME)]
    assert record.correct.tolist() == [0.9, 0.8]


def test_late_binding_drops_at_a_full_central_queue(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 2],
        {"d": device(TEN_US)},
        more="binding: {kind: late, queue_limit: 1}\npolicy: {kind: fastest}",
    )
    assert [outcome for *_, outcome in log(record)] == [IN_TIME, IN_TIME, DROPPED]


def test_late_binding_can_drop_when_its_time_is_up(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 2],
        {"d": device(TEN_US)},
        sla="19us",
        more="binding: {kind: late}\npolicy: {kind: mp-rec, when_none_fits: drop}",
    )
    # Query 1 starts at 10 with 10 us left; query 2 is looked at when it has 1 us left.
    assert log(record) == [(0, 0, 10, IN_TIME), (1, 10, 20, IN_TIME), (2, NEVER, NEVER, DROPPED)]
    assert record.drop_ns.tolist() == [NEVER, NEVER, 20 * US]
    assert record.unstarted_wait_ns == 18 * US


def test_what_is_unfinished_when_the_drain_ends_is_in_flight(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 1, 2], {"d": device("{distribution: deterministic, mean: 200us}")}, sla="25us")
    # The clock stops ten SLAs after the last arrival, at 252 us.
    assert record.stop_ns == 252 * US
    assert log(record) == [(0, 0, 200, LATE), (1, 200, NEVER, IN_FLIGHT), (2, NEVER, NEVER, IN_FLIGHT)]
    assert record.in_system_integral == (200 + 251 + 250) * US


def test_expected_backlog_follows_means_and_true_backlog_what_really_happens(tmp_path: Path) -> None:
    devices = {
        "a": device("{sizes: [1], quantiles: [0, 0.5, 1], service: [[1us, 10us, 100us]]}"),
        "b": device("{distribution: deterministic, mean: 40us}"),
    }
    # Mean of a: (1 + 10)/2 x 0.5 + (10 + 100)/2 x 0.5 = 30.25 us, so a first query goes to a; a second one that comes
    # 1 us later sees 29.25 + 30.25 us there by means, and goes to b; by actual values it depends on the draw.
    record = run(tmp_path, [0, 1], devices, sla="1ms", more="policy: {kind: fastest}")
    assert record.part_lane.tolist() == [0, 1]
    service_us = int(record.part_finish_ns[0]) / US
    actual = run(tmp_path, [0, 1], devices, sla="1ms", more="policy: {kind: fastest, queue: actual}")
    assert actual.part_lane.tolist() == [0, 0 if service_us - 1 + 30.25 < 40 else 1]
