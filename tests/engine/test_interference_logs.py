"""Hand-worked event logs of lanes that slow each other, to the nanosecond."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.engine.record import NEVER
from sim.serving.interference import FULL_SPEED, lane_speeds
from tests.engine.test_event_logs import (
    DROPPED,
    IN_FLIGHT,
    IN_TIME,
    ONE_US_A_SAMPLE,
    TEN_US,
    US,
    device,
    log,
    parts,
    run,
)

pytestmark = pytest.mark.usefixtures("engine")

HALVED = "interference: {slowdown: [1, 2]}"


def test_a_start_slows_the_other_lane_and_an_end_speeds_it_up(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 4], {"d": device(TEN_US, lanes=2)}, more=HALVED)
    # At 4 us the first has 6 us left, which take 12; by then, 16 us, the second has done 6 us and does 4 alone.
    assert parts(record) == [(0, 0, 0, 16), (1, 1, 4, 20)]
    assert record.in_system_integral == (16 + 16) * US


def test_a_lane_that_takes_the_next_query_at_once_leaves_the_other_slow(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 4, 5], {"d": device(TEN_US, lanes=2)}, more=HALVED)
    # At 16 us the second has 4 us left, which take 8; the third has done 4 us by then and does 6 alone.
    assert log(record) == [(0, 0, 16, IN_TIME), (4, 4, 24, IN_TIME), (5, 16, 30, IN_TIME)]
    assert record.in_system_integral == (16 + 20 + 25) * US
    assert record.waiting_integral == 11 * US


def test_more_lanes_than_factors_are_slowed_by_the_last(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 0, 0], {"d": device(TEN_US, lanes=3)}, more=HALVED)
    assert parts(record) == [(0, 0, 0, 20), (1, 1, 0, 20), (2, 2, 0, 20)]


def test_three_lanes_end_one_after_the_other(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 0, 0],
        {"d": device(ONE_US_A_SAMPLE, lanes=3)},
        sizes=[1, 2, 3],
        more="interference: {slowdown: [1, 2, 4]}",
    )
    # A quarter of the speed until 4 us, half until 6 us, then alone.
    assert parts(record) == [(0, 0, 0, 4), (1, 1, 0, 6), (2, 2, 0, 7)]


def test_factors_need_not_grow(tmp_path: Path) -> None:
    record = run(
        tmp_path, [0, 0, 10], {"d": device(TEN_US, lanes=3)}, more="interference: {slowdown: [1, 4, 2]}", sla="1ms"
    )
    # A quarter of the speed until 10 us, half of it with three: 7.5 us more take 15. Then the third has 2.5 us left.
    assert parts(record) == [(0, 0, 0, 25), (1, 1, 0, 25), (2, 2, 10, 27.5)]


def test_lanes_that_end_at_one_instant_and_start_again(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 0, 1, 1], {"d": device(TEN_US, lanes=2)}, more=HALVED, sla="1ms")
    assert parts(record) == [(0, 0, 0, 20), (1, 1, 0, 20), (2, 0, 20, 40), (3, 1, 20, 40)]


def test_ends_that_a_change_of_speed_puts_at_one_instant_go_in_the_order_of_lanes(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 0, 1, 2, 3],
        {"d": device(ONE_US_A_SAMPLE, lanes=2)},
        sizes=[2, 7, 5, 1, 1],
        more=HALVED,
        sla="1ms",
    )
    # At 4 us the first ends, the third starts, and both lanes have 5 us left: they end at 14 us. The second lane's
    # part started first, but both ends were last set at 4 us, the first lane's before the second's.
    assert parts(record) == [(0, 0, 0, 4), (1, 1, 0, 14), (2, 0, 4, 14), (3, 0, 14, 16), (4, 1, 14, 16)]


def test_an_arrival_at_the_instant_of_an_end_finds_the_lane_free_and_the_other_fast(tmp_path: Path) -> None:
    record = run(
        tmp_path, [0, 4, 16, 16], {"d": device(TEN_US, lanes=2, more=", queue_limit: 0")}, more=HALVED, sla="1ms"
    )
    assert log(record) == [
        (0, 0, 16, IN_TIME),
        (4, 4, 24, IN_TIME),
        (16, 16, 30, IN_TIME),
        (16, NEVER, NEVER, DROPPED),
    ]


def test_devices_of_a_node_do_not_slow_each_other(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 0, 0],
        {"a": device(TEN_US, lanes=2), "b": device(TEN_US, lanes=2)},
        sizes=[1, 100, 100],
        more=f"{HALVED}\npolicy: {{kind: size-threshold, threshold: 50, small: a, large: b}}",
    )
    assert parts(record) == [(0, 0, 0, 10), (1, 2, 0, 20), (2, 3, 0, 20)]


def test_only_the_named_devices_interfere(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 0, 0, 0],
        {"a": device(TEN_US, lanes=2), "b": device(TEN_US, lanes=2)},
        sizes=[1, 1, 100, 100],
        more="interference: {slowdown: [1, 2], devices: [b]}\n"
        "policy: {kind: size-threshold, threshold: 50, small: a, large: b}",
    )
    assert parts(record) == [(0, 0, 0, 10), (1, 1, 0, 10), (2, 2, 0, 20), (3, 3, 0, 20)]


def test_the_parts_of_a_split_query_slow_each_other(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0],
        {"d": device(ONE_US_A_SAMPLE, lanes=2)},
        sizes=[25],
        more=f"{HALVED}\nsplitting: {{part: 10}}",
        sla="1ms",
    )
    # 9, 8 and 8 samples. At 16 us the second part ends and the third starts; at 18 us the first ends.
    assert parts(record) == [(0, 0, 0, 18), (0, 1, 0, 16), (0, 1, 16, 25)]
    assert log(record) == [(0, 0, 25, IN_TIME)]


def test_a_batch_is_one_busy_lane(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 2, 3, 9],
        {"d": device(ONE_US_A_SAMPLE, lanes=2)},
        sizes=[4, 3, 2, 2, 5],
        more=f"{HALVED}\nbatching: {{queries: 2}}",
    )
    # From 1 us on both lanes have 3 us left and end at 7 us. The first lane takes two queries, 4 us of work, alone
    # until the last query comes at 9 us: 2 us left, which take 4. The last one has done 2 us at 13 us.
    assert parts(record) == [(0, 0, 0, 7), (1, 1, 1, 7), (2, 0, 7, 13), (3, 0, 7, 13), (4, 1, 9, 16)]
    assert record.part_batch.tolist() == [0, 1, 2, 2, 3]


def test_late_binding(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 2, 3],
        {"slow": device("{distribution: deterministic, mean: 20us}"), "fast": device(TEN_US, lanes=2)},
        sla="1ms",
        more=f"{HALVED}\npolicy: {{kind: fastest}}\nbinding: {{kind: late, preference: [fast, slow]}}",
    )
    # The fast lanes are slow from 1 us on: 9 us take 18. At 19 us the oldest that waits starts, the second has 1 us
    # left; the slow device's only lane is alone.
    assert log(record) == [(0, 0, 19, IN_TIME), (1, 1, 21, IN_TIME), (2, 2, 22, IN_TIME), (3, 19, 30, IN_TIME)]
    assert record.part_lane.tolist() == [1, 2, 0, 1]


def test_policies_expect_undisturbed_service(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 2],
        {"a": device(TEN_US, lanes=2), "b": device("{distribution: deterministic, mean: 15us}")},
        sla="1ms",
        more="interference: {slowdown: [1, 4]}\npolicy: {kind: fastest}",
    )
    # The second expects 10 us on the other lane of a, 15 on b, and takes 37. The third expects a's first lane free
    # at 10 us, as if nothing had slowed it: 8 + 10 us there, 15 on b.
    assert parts(record) == [(0, 0, 0, 37), (1, 1, 1, 38), (2, 2, 2, 17)]


def test_what_is_slow_when_the_clock_stops_is_in_flight(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 0], {"d": device(TEN_US, lanes=2)}, sla="1.5us", more=HALVED)
    assert record.stop_ns == 15 * US
    assert log(record) == [(0, 0, NEVER, IN_FLIGHT), (0, 0, NEVER, IN_FLIGHT)]
    assert record.in_system_integral == 30 * US


THIRD = 349_525
"""A third of 2**20, rounded: a little less, so that work takes a little longer than three times."""


def test_ends_are_rounded_up_to_a_whole_nanosecond(tmp_path: Path) -> None:
    assert lane_speeds(3, [1, 3]).tolist() == [FULL_SPEED, THIRD, THIRD]
    record = run(tmp_path, [0, 4], {"d": device(TEN_US, lanes=2)}, more="interference: {slowdown: [1, 3]}")
    # 6,000 ns x 2**20 at this speed are 18,000.02 ns. In 18,001 ns the second does 6,000.33 ns and has 3,999.67 left.
    assert 18_000 * THIRD < 6_000 * FULL_SPEED <= 18_001 * THIRD
    assert 3_999 * FULL_SPEED < 10_000 * FULL_SPEED - 18_001 * THIRD <= 4_000 * FULL_SPEED
    assert parts(record) == [(0, 0, 0, 22.001), (1, 1, 4, 26.001)]


def test_roundings_do_not_add_up(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, *(10.0 * k for k in range(10))],
        {"d": device(ONE_US_A_SAMPLE, lanes=2)},
        sizes=[100, *[1] * 10],
        more="interference: {slowdown: [1, 3]}",
        sla="1ms",
    )
    # Ten short ones of 1 us take 3,001 ns each. The long one does 30,010 ns of its time at a third of the speed:
    # 10,003.32 ns of its work, which leave 89,996.68 for full speed. It was re-timed twenty times, rounded once.
    assert 89_996 * FULL_SPEED < 100_000 * FULL_SPEED - 30_010 * THIRD < 89_997 * FULL_SPEED
    assert parts(record)[0] == (0, 0, 0, 120.007)
    assert parts(record)[1:] == [(k + 1, 1, 10.0 * k, 10.0 * k + 3.001) for k in range(10)]
