"""Hand-worked event logs of lanes that serve more slowly after many samples, to the nanosecond."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.profile.aftereffects import AfterSize
from sim.serving.aftereffects import pack_aftereffects
from tests.engine.test_event_logs import MP_REC_MODEL, device, parts, run

pytestmark = pytest.mark.usefixtures("engine")

US_A_SAMPLE = "distribution: deterministic, per_sample: 1us"


def test_it_takes_longer_after_many_samples_however_long_ago(tmp_path: Path) -> None:
    after = "after_size: {size: [10, 30], extra: [0us, 6us]}"
    record = run(
        tmp_path,
        [0, 1, 2, 50, 100, 200],
        {"d": device(f"{{{US_A_SAMPLE}, {after}}}")},
        sizes=[20, 5, 40, 8, 10, 1],
    )
    assert parts(record) == [
        # Nothing was served before the first. After 20, half way between 10 and 30; after 5; after 40, beyond the last.
        (0, 0, 0, 20),
        (1, 0, 20, 28),
        (2, 0, 28, 68),
        (3, 0, 68, 82),
        # After 8 and 10.
        (4, 0, 100, 110),
        (5, 0, 200, 201),
    ]


def test_what_is_typical_is_in_the_service_time_already(tmp_path: Path) -> None:
    after = "after_size: {size: [10], extra: [6us], typical: 2us}"
    record = run(
        tmp_path,
        [0, 50, 100, 150],
        {"d": device(f"{{{US_A_SAMPLE}, {after}}}")},
        sizes=[5, 10, 1, 1],
    )
    assert parts(record) == [
        # The first as it is; after 5 samples 3 us more, 2 us less; after 10; after 1: 0.6 us less 2, no less than 0.
        (0, 0, 0, 5),
        (1, 0, 50, 61),
        (2, 0, 100, 105),
        (3, 0, 150, 150),
    ]


def test_samples_are_carried_over_by_each_lane_and_a_batch_is_all_its_samples(tmp_path: Path) -> None:
    after = "after_size: {size: [100], extra: [100us], carry: 50%}"
    record = run(
        tmp_path,
        [0, 1, 2, 3, 200, 300, 400, 401],
        {"d": device(f"{{{US_A_SAMPLE}, {after}}}", lanes=1)},
        sizes=[10, 4, 3, 3, 20, 1, 2, 2],
        more="batching: {queries: 3}",
    )
    assert parts(record) == [
        (0, 0, 0, 10),
        # After 10: 10 us; 10 samples themselves.
        (1, 0, 10, 30),
        (2, 0, 10, 30),
        (3, 0, 10, 30),
        # After 10 and half of 10; after 20 and half of 15, cut to 27; after 1 and half of 27; after 2 and half of 14.
        (4, 0, 200, 235),
        (5, 0, 300, 328),
        (6, 0, 400, 416),
        (7, 0, 416, 427),
    ]
    lanes = run(
        tmp_path,
        [0, 5, 50, 51],
        {"d": device(f"{{{US_A_SAMPLE}, {after}}}", lanes=2)},
        sizes=[20, 10, 1, 1],
    )
    assert parts(lanes) == [(0, 0, 0, 20), (1, 1, 5, 15), (2, 0, 50, 71), (3, 1, 51, 62)]


def test_paths_have_their_own_and_all_that_the_lane_served_counts(tmp_path: Path) -> None:
    dhe = "{distribution: deterministic, mean: 20us, after_size: {size: [10], extra: [10us], carry: 50%}}"
    table = "{distribution: deterministic, mean: 10us}"
    record = run(
        tmp_path,
        [0, 4, 60, 100],
        {"d": device(f"{{m: {{dhe: {dhe}, table: {table}}}}}")},
        sizes=[4, 6, 1, 1],
        model=MP_REC_MODEL,
        more="policy: {kind: mp-rec}",
        sla="25us",
    )
    # The second would be late on dhe, and is on the table: for the third its 6 samples count, and half of the 4 that
    # counted for itself.
    assert parts(record) == [(0, 0, 0, 20), (1, 0, 20, 30), (2, 0, 60, 88), (3, 0, 100, 125)]


def test_it_adds_to_what_idle_time_costs_and_is_slowed_as_all_service_is(tmp_path: Path) -> None:
    both = "after_size: {size: [10], extra: [4us]}, after_idle: {idle: [10us], extra: [3us]}"
    record = run(
        tmp_path,
        [0, 40],
        {"d": device(f"{{{US_A_SAMPLE}, {both}}}")},
        sizes=[10, 5],
        more="faults: {slow: [{device: d, at: 0s, for: 1s, factor: 2}]}",
    )
    assert parts(record) == [(0, 0, 0, 20), (1, 0, 40, 64)]


def test_packed_by_path() -> None:
    packed = pack_aftereffects([(), (AfterSize((5, 7), (1, 2), 1, 0.25),)])
    assert packed.first.tolist() == [0, 0, 2] and packed.at.tolist() == [5, 7]
    assert packed.typical_ns.tolist() == [0, 1] and packed.carries.tolist() == [0.25] and bool(packed)
    assert not pack_aftereffects([()])
