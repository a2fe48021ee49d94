"""Hand-worked event logs of lanes that serve more slowly after they stood idle, to the nanosecond."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.profile.aftereffects import AfterIdle
from sim.serving.aftereffects import counted, extra_ns, pack_aftereffects
from tests.engine.test_event_logs import MP_REC_MODEL, device, parts, run

pytestmark = pytest.mark.usefixtures("engine")

COOLS = "after_idle: {idle: [10us, 30us], extra: [2us, 6us]}"
TEN_US = f"{{distribution: deterministic, mean: 10us, {COOLS}}}"
ONE_US_A_SAMPLE = f"{{distribution: deterministic, per_sample: 1us, {COOLS}}}"


def dhe_and_table(tmp_path: Path, dhe: str, table: str) -> list[tuple[int, int, float, float]]:
    """What becomes of four queries: dhe, dhe, the table, dhe, with these extra times after idle time."""
    service = ", ".join(
        f"{name}: {{distribution: deterministic, mean: {mean}, after_idle: {after_idle}}}"
        for name, mean, after_idle in (("dhe", "20us", dhe), ("table", "10us", table))
    )
    mp_rec = "policy: {kind: mp-rec}"
    devices = {"d": device(f"{{m: {{{service}}}}}")}
    return parts(run(tmp_path, [0, 25, 30, 60], devices, model=MP_REC_MODEL, more=mp_rec))


def test_it_takes_longer_the_longer_the_lane_was_idle(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 1, 25, 100, 116, 146], {"d": device(TEN_US)})
    assert parts(record) == [
        # Nothing was idle yet at 0, and who waits is taken at once.
        (0, 0, 0, 10),
        (1, 0, 10, 20),
        # Idle for 5 us, half way to the first point; for 64 us, beyond the last; for nothing; for 20 us, between both.
        (2, 0, 25, 36),
        (3, 0, 100, 116),
        (4, 0, 116, 126),
        (5, 0, 146, 160),
    ]


def test_each_lane_cools_by_itself(tmp_path: Path) -> None:
    record = run(tmp_path, [0, 5, 30, 31], {"d": device(TEN_US, lanes=2)})
    # The second lane stood idle from the beginning: 5 us, then 15 us until 31; the first 20 us until 30.
    assert parts(record) == [(0, 0, 0, 10), (1, 1, 5, 16), (2, 0, 30, 44), (3, 1, 31, 44)]


def test_a_batch_takes_longer_once(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 1, 2, 43],
        {"d": device(ONE_US_A_SAMPLE)},
        sizes=[10, 5, 5, 3],
        more="batching: {queries: 4}",
    )
    assert parts(record) == [(0, 0, 0, 10), (1, 0, 10, 20), (2, 0, 10, 20), (3, 0, 43, 50 + 600 / 1000)]


def test_idle_time_is_carried_over(tmp_path: Path) -> None:
    carries = "{distribution: deterministic, mean: 10us, after_idle: {idle: [10us], extra: [4us], carry: 50%}}"
    record = run(tmp_path, [0, 8, 9, 28, 45, 45], {"d": device(carries)})
    assert parts(record) == [
        # Nothing before 0, so nothing is carried to what waits, either.
        (0, 0, 0, 10),
        (1, 0, 10, 20),
        (2, 0, 20, 30),
        (3, 0, 30, 40),
        # Idle for 5 us: 2 us more. For the next 2.5 us count: 1 us more.
        (4, 0, 45, 57),
        (5, 0, 57, 68),
    ]


def test_idle_time_that_was_carried_over_adds_to_more_of_it(tmp_path: Path) -> None:
    carries = "{distribution: deterministic, mean: 10us, after_idle: {idle: [100us], extra: [50us], carry: 50%}}"
    record = run(tmp_path, [0, 30, 31, 75, 200], {"d": device(carries)})
    assert parts(record) == [
        # 20 us count for the second; half of them; 10 and half of these 10; 107.5 and half of 15.
        (0, 0, 0, 10),
        (1, 0, 30, 50),
        (2, 0, 50, 65),
        (3, 0, 75, 75 + 10 + 7.5),
        (4, 0, 200, 260),
    ]


def test_each_path_carries_by_its_own_through_all_that_the_lane_serves(tmp_path: Path) -> None:
    dhe = "{idle: [10us], extra: [4us], carry: 50%}"
    table = "{idle: [10us], extra: [2us], carry: 20%}"
    assert dhe_and_table(tmp_path, dhe, table) == [
        (0, 0, 0, 20),
        # Idle for 5 us, of which nothing was carried.
        (1, 0, 25, 47),
        # The lane is expected to be free at 45, too late for dhe: the table, for which 20% of the 5 us count.
        (2, 0, 47, 57.2),
        # Idle for 2.8 us; for dhe half of the 2.5 us that would have counted on dhe count again.
        (3, 0, 60, 81.62),
    ]


def test_what_is_carried_is_cut_to_whole_nanoseconds_and_given_by_path() -> None:
    assert [counted(idle, 7, 0.5) for idle in (0, 10)] == [3, 13]
    assert counted(10, 7, 0.0) == 10
    packed = pack_aftereffects([(), (AfterIdle((5,), (1,), 0.25),)])
    assert packed.curves == 1 and packed.carries.tolist() == [0.25] and packed.carry_of.tolist() == [0, 0]
    several = pack_aftereffects(
        [(AfterIdle((5,), (1,)), AfterIdle((7, 9), (1, 2), 0.5)), (AfterIdle((5,), (1,), 0.25),)]
    )
    # First curves of both paths, then second ones.
    assert several.curves == 2 and several.carries.tolist() == [0.0, 0.25, 0.5]
    assert several.carry_of.tolist() == [0, 1, 2, 0]
    assert several.first.tolist() == [0, 1, 2, 4, 4] and several.at.tolist() == [5, 5, 7, 9]


def test_curves_are_added_up_and_each_carries_its_own(tmp_path: Path) -> None:
    curves = "[{idle: [10us], extra: [2us]}, {idle: [100us], extra: [50us], carry: 50%}]"
    service = f"{{distribution: deterministic, mean: 10us, after_idle: {curves}}}"
    record = run(tmp_path, [0, 30, 31, 75], {"d": device(service)})
    assert parts(record) == [
        (0, 0, 0, 10),
        # Idle for 20 us: 2 us by the first, 10 by the second.
        (1, 0, 30, 52),
        # Nothing by the first; half of the 20 us count by the second.
        (2, 0, 52, 67),
        # Idle for 8 us, of which a fifth; and half of 10 us more, of which half.
        (3, 0, 75, 75 + 10 + 1.6 + 6.5),
    ]


def test_a_path_without_a_second_curve_takes_nothing_from_that_of_another(tmp_path: Path) -> None:
    dhe = "[{idle: [10us], extra: [2us]}, {idle: [100us], extra: [50us], carry: 50%}]"
    assert dhe_and_table(tmp_path, dhe, "{idle: [10us], extra: [4us]}") == [
        (0, 0, 0, 20),
        # Idle for 5 us: 1 us and 2.5 us.
        (1, 0, 25, 48.5),
        # The table, at once: nothing.
        (2, 0, 48.5, 58.5),
        # Idle for 1.5 us: 0.3 us; and with half of the half of 5 us, 1.375.
        (3, 0, 60, 81.675),
    ]


def test_it_is_slowed_as_all_service_is(tmp_path: Path) -> None:
    record = run(
        tmp_path,
        [0, 40],
        {"d": device(TEN_US)},
        more="faults: {slow: [{device: d, at: 0s, for: 1s, factor: 2}]}",
    )
    # Idle for 20 us: 10 us and 4 us more, at half the speed.
    assert parts(record) == [(0, 0, 0, 20), (1, 0, 40, 68)]


def test_paths_cost_what_they_cost() -> None:
    points = [0, 0, 2], [100, 200], [10, 13], [0, 0]
    assert [extra_ns(idle, 0, 7, *points) for idle in (0, 50, 10**12)] == [0, 0, 0]
    # Halves are rounded to even: 50 is 5, 150 is 11.5.
    cases = {0: 0, 50: 5, 100: 10, 150: 12, 200: 13, 201: 13, 10**12: 13}
    assert {idle: extra_ns(idle, 1, 7, *points) for idle in cases} == cases
    # Of seven samples 24 and 34: half of 24 is 12, half way between both is 29.
    points = [0, 0, 2], [100, 200], [10, 13], [2, 3]
    cases = {0: 0, 50: 12, 100: 24, 150: 29, 200: 34, 10**12: 34}
    assert {idle: extra_ns(idle, 1, 7, *points) for idle in cases} == cases


def test_it_takes_longer_the_more_samples_there_are(tmp_path: Path) -> None:
    cools = "after_idle: {idle: [10us, 30us], extra: [2us, 6us], per_sample: [100ns, 500ns]}"
    service = f"{{distribution: deterministic, mean: 10us, {cools}}}"
    record = run(tmp_path, [0, 25, 26, 96, 130], {"d": device(service)}, sizes=[20, 20, 20, 4, 1])
    assert parts(record) == [
        (0, 0, 0, 10),
        # Idle for 15 us, a quarter of the way from 2 + 2 to 6 + 10.
        (1, 0, 25, 42),
        (2, 0, 42, 52),
        # For 44 us, of 4 samples; for 16, 0.3 of the way from 2.1 to 6.5.
        (3, 0, 96, 114),
        (4, 0, 130, 143.42),
    ]


def test_a_batch_counts_all_its_samples(tmp_path: Path) -> None:
    cools = "after_idle: {idle: [10us], extra: [2us], per_sample: [100ns]}"
    service = f"{{distribution: deterministic, per_sample: 1us, {cools}}}"
    record = run(
        tmp_path,
        [0, 30, 30],
        {"d": device(service)},
        sizes=[10, 5, 5],
        more="batching: {queries: 2, timeout: 5us}",
    )
    # The first waits for 5 us for another, on a lane that was idle as long; the others fill a batch.
    assert parts(record) == [(0, 0, 5, 5 + 10 + 1.5), (1, 0, 30, 30 + 10 + 3), (2, 0, 30, 43)]
