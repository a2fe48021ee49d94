"""Measuring by blocks, with subjects whose service times are known and a clock that only they move."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.calibrate.measure.block_store import open_store
from sim.calibrate.measure.blocks import Alone, MeasuredBlock, measure_block
from sim.calibrate.measure.campaign import Campaign, Measured, duration_of_blocks_ns, in_turn
from sim.calibrate.measure.interference import BlockReading
from sim.calibrate.measure.pacing import Pacing, Waiting
from sim.calibrate.measure.result import interference_lines, sample_set
from sim.calibrate.measure.settings import MeasureSettings
from sim.calibrate.measure.subject import Cell, Served
from sim.calibrate.measure.visits import PILOT, CellPlan, Visit, visits_of_block, visits_of_pilot
from sim.calibrate.sample_set import SampleKey
from sim.spec.problems import SpecError

QUIET = BlockReading(duration_ns=1_000_000_000, spin_ns=1000, steal_ns=0, waiting_ns=0, involuntary_switches=0)
SETTINGS = MeasureSettings(
    model="m", representations=("table", "dhe"), device="cpu", sizes=(1, 8), repeats=20, blocks=4, level=0.5
)


class Clock:
    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


@dataclass
class Fake:
    """Takes 1000 ns and `per_sample_ns` a sample, three quarters of it in its first stage; and the clock knows."""

    clock: Clock
    per_sample_ns: int
    stages: tuple[str, ...] = ("table", "top MLP")
    apart: tuple[str, ...] = ("encoder cache",)
    taken: list[int] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)

    def renew(self, block: int) -> None:
        self.blocks.append(block)

    def take(self, size: int) -> Any:
        self.taken.append(size)
        return size

    def serve(self, inputs: Any) -> Served:
        took = 1000 + self.per_sample_ns * inputs
        self.clock.now += took
        return Served(took, (took * 3 // 4, took // 4))

    def time_apart(self, inputs: Any) -> list[int]:
        self.clock.now += 90
        return [90]


class Watch:
    def glance(self) -> None:
        pass

    def reading(self) -> BlockReading:
        return QUIET


def pacing(clock: Clock, waiting: Waiting | None = None, block: int = 0) -> Pacing:
    def sleep(seconds: float) -> None:
        clock.now += round(seconds * 1e9)

    return Pacing(waiting or Waiting(), seed=1, lane=0, block=block, clock=clock, sleep=sleep)


def test_a_visit_drops_its_first_query_and_keeps_the_others() -> None:
    clock = Clock()
    fakes = {"table": Fake(clock, 10), "dhe": Fake(clock, 100)}
    visits = [Visit(Cell("table", 8), 2), Visit(Cell("dhe", 1), 3), Visit(Cell("table", 8), 1)]
    block = measure_block(fakes, visits, 5, pacing(clock), Watch, Alone())
    # What is timed apart is timed with the first query that is kept of each visit.
    assert block.times[Cell("table", 8)].tolist() == [[1080, 810, 270, after] for after in (90, -1, 90)]
    assert block.times[Cell("dhe", 1)].tolist() == [[1100, 825, 275, after] for after in (90, -1, -1)]
    assert fakes["table"].taken == [8] * 5 and fakes["dhe"].taken == [1] * 4
    assert fakes["table"].blocks == fakes["dhe"].blocks == [5]
    assert block.reading == QUIET


def test_a_long_query_warms_nothing_up() -> None:
    clock = Clock()
    fake = Fake(clock, 10)
    block = measure_block({"table": fake}, [Visit(Cell("table", 1), 2, 100_000_000)], 0, pacing(clock), Watch, Alone())
    assert block.times[Cell("table", 1)].shape == (2, 4) and len(fake.taken) == 2


@pytest.mark.parametrize(("size", "dropped"), [(1, 64), (4, 16), (16, 4), (64, 3), (4096, 3)])
def test_behind_an_mp_cache_a_visit_drops_what_has_been_through_its_features(size: int, dropped: int) -> None:
    clock = Clock()
    fake = Fake(clock, 10)
    cell = Cell("dhe", size)
    (visit,) = visits_of_block({cell: CellPlan(2, 1000)}, seed=1, block=0, behind_cache=True)
    block = measure_block({"dhe": fake}, [visit], 0, pacing(clock), Watch, Alone())
    assert block.times[cell].shape == (2, 4) and len(fake.taken) == dropped + 2
    (pilot,) = visits_of_pilot([cell], behind_cache=True)
    assert pilot.dropped == dropped
    # As long as a query is, it would cost too much.
    assert replace(visit, usual_ns=100_000_000).dropped == 0


def test_what_is_timed_apart_is_timed_with_one_query_of_five() -> None:
    clock = Clock()
    block = measure_block({"dhe": Fake(clock, 10)}, [Visit(Cell("dhe", 1), 25)], 0, pacing(clock), Watch, Alone())
    assert block.times[Cell("dhe", 1)][:, 3].tolist() == [90, -1, -1, -1, -1] * 5
    assert clock.now == 26 * 1010 + 5 * 90


def test_a_lane_goes_on_serving_until_the_others_have_what_they_need() -> None:
    class Others(Alone):
        asked = 0

        def all_done(self) -> bool:
            self.asked += 1
            return self.asked > 3

    clock = Clock()
    fake = Fake(clock, 10)
    block = measure_block({"table": fake}, [Visit(Cell("table", 1), 2)], 0, pacing(clock), Watch, Others())
    assert len(fake.taken) == 3 + 3
    assert block.times[Cell("table", 1)].shape == (2, 4)


def test_gaps_give_the_load_that_is_asked() -> None:
    """A sum of n exponentials has a relative standard deviation of 1/sqrt(n): false alarms below 1e-6 at five."""
    for style in ("block", "poll"):
        clock = Clock()
        if style == "poll":
            ticking = clock

            def tick(ticking: Clock = ticking) -> int:
                ticking.now += 1
                return ticking.now

            paced = replace(pacing(clock, Waiting("poll", 0.25)), clock=tick)
        else:
            paced = pacing(clock, Waiting("block", 0.25))
        for _ in range(400):
            paced.wait(1000)
        assert clock.now / 400 == pytest.approx(3000, rel=5 / 20)


def test_back_to_back_waits_for_nothing() -> None:
    clock = Clock()
    pacing(clock).wait(1000)
    pacing(clock, Waiting("block", 0.5)).wait(0)
    assert clock.now == 0


def test_every_block_visits_every_cell_in_an_order_of_its_own() -> None:
    cells = [Cell(name, size) for name in ("table", "dhe") for size in (1, 8, 64)]
    plan = dict.fromkeys(cells, CellPlan(repeats=60, usual_ns=7))
    blocks = [visits_of_block(plan, seed=1, block=block) for block in range(5)]
    for visits in blocks:
        for cell in cells:
            repeats = [visit.repeats for visit in visits if visit.cell == cell]
            assert sum(repeats) == 60 and max(repeats) <= 25
        assert {visit.usual_ns for visit in visits} == {7}
    orders = [[visit.cell for visit in visits] for visits in blocks]
    assert all(one != other for one, other in itertools.combinations(orders, 2))
    assert orders[3] == [visit.cell for visit in visits_of_block(plan, seed=1, block=3)]
    assert [visit.cell.size for visit in visits_of_pilot(cells)] == [1, 1, 8, 8, 64, 64]


class FakeLanes:
    """Lanes whose blocks take what the fakes take; a block of `slow` takes twice as long."""

    def __init__(self, slow: Sequence[int] = (), lanes: int = 1, fail_at: int | None = None) -> None:
        self.slow = slow
        self.lanes = lanes
        self.fail_at = fail_at
        self.loads: list[tuple[str, ...]] = []
        self.blocks: list[int] = []

    def load(self, representations: Sequence[str]) -> dict[str, tuple[str, ...]]:
        self.loads.append(tuple(representations))
        return dict.fromkeys(representations, ("table", "top MLP"))

    def measure(self, block: int, visits: Sequence[Visit]) -> list[MeasuredBlock]:
        if block == self.fail_at:
            raise KeyboardInterrupt
        self.blocks.append(block)
        clock = Clock()
        factor = 2 if block in self.slow else 1
        fakes = {"table": Fake(clock, 10 * factor), "dhe": Fake(clock, 1000 * factor)}
        measured = [measure_block(fakes, visits, block, pacing(clock), Watch, Alone()) for _ in range(self.lanes)]
        spin_ns = 2000 if block in self.slow else 1000
        return [MeasuredBlock(one.times, replace(QUIET, spin_ns=spin_ns)) for one in measured]


def run(
    folder: Path, lanes: FakeLanes, settings: MeasureSettings = SETTINGS, *, resume: bool = False, rounds: Any = None
) -> tuple[Measured, list[str]]:
    @contextmanager
    def opened() -> Any:
        yield lanes

    said: list[str] = []
    store = open_store(folder / "blocks", settings.described(), resume=resume)
    rounds = rounds or [list(settings.representations)]
    measured = Campaign(settings, rounds, store, opened, lambda *_: None, said.append).run()
    return measured, said


def test_undisturbed_blocks_are_all_kept(tmp_path: Path) -> None:
    lanes = FakeLanes(lanes=2)
    measured, _ = run(tmp_path, lanes)
    assert lanes.blocks == [PILOT, 0, 1, 2, 3]
    assert measured.verdict.unfit == "" and measured.kept_blocks() == [0, 1, 2, 3]
    samples = sample_set(measured, SETTINGS, {})
    assert samples.pairs() == (("m", "table"), ("m", "dhe"))
    assert samples.sizes("m", "dhe") == (1, 8)
    # Four blocks of five repeats on two lanes.
    assert samples.service_ns("m", "dhe", 8).tolist() == [9000] * 40
    assert samples.service_ns("m", "dhe", 8, "top MLP").tolist() == [2250] * 40
    assert samples.cells[SampleKey("m", "table", "total", 1, 3)].tolist() == [1010] * 10
    assert samples.about["repeats"] == "40"


def test_campaigns_take_turns_block_by_block_until_each_has_enough(tmp_path: Path) -> None:
    order: list[tuple[str, int]] = []
    ended: list[str] = []

    class Noting(FakeLanes):
        def __init__(self, name: str, slow: Sequence[int] = ()) -> None:
            super().__init__(slow)
            self.name = name

        def measure(self, block: int, visits: Sequence[Visit]) -> list[MeasuredBlock]:
            order.append((self.name, block))
            return super().measure(block, visits)

    def campaign(lanes: Noting) -> Campaign:
        @contextmanager
        def opened() -> Any:
            yield lanes
            ended.append(lanes.name)

        store = open_store(tmp_path / lanes.name, SETTINGS.described(), resume=True)
        rounds = [list(SETTINGS.representations)]
        return Campaign(SETTINGS, rounds, store, opened, lambda *_: None, lambda _: None)

    without, behind = in_turn([campaign(Noting("without")), campaign(Noting("with", slow=[1]))])
    assert order == [
        *((name, block) for block in (PILOT, 0, 1, 2, 3) for name in ("without", "with")),
        ("with", 4),
    ]
    assert ended == ["without", "with"]
    assert without.kept_blocks() == [0, 1, 2, 3] and behind.kept_blocks() == [0, 2, 3, 4]
    # What is there already is taken in turn, too, and not measured again.
    order.clear()
    again = in_turn([campaign(Noting("without")), campaign(Noting("with", slow=[1]))])
    assert order == [] and [one.kept_blocks() for one in again] == [[0, 1, 2, 3], [0, 2, 3, 4]]


def test_what_was_measured_in_turn_is_kept_when_one_fails(tmp_path: Path) -> None:
    def campaign(name: str, lanes: FakeLanes) -> Campaign:
        @contextmanager
        def opened() -> Any:
            try:
                yield lanes
            finally:
                lanes.loads.append(("closed",))

        store = open_store(tmp_path / name, SETTINGS.described(), resume=True)
        rounds = [list(SETTINGS.representations)]
        return Campaign(SETTINGS, rounds, store, opened, lambda *_: None, lambda _: None)

    fine, failing = FakeLanes(), FakeLanes(fail_at=1)
    with pytest.raises(KeyboardInterrupt):
        in_turn([campaign("fine", fine), campaign("failing", failing)])
    assert fine.blocks == [PILOT, 0, 1] and failing.blocks == [PILOT, 0]
    assert fine.loads[-1] == failing.loads[-1] == ("closed",)
    rest = FakeLanes(), FakeLanes()
    in_turn([campaign("fine", rest[0]), campaign("failing", rest[1])])
    assert rest[0].blocks == [2, 3] and rest[1].blocks == [1, 2, 3]


def test_a_block_that_is_set_aside_is_measured_again_as_another(tmp_path: Path) -> None:
    lanes = FakeLanes(slow=[2])
    measured, _ = run(tmp_path, lanes)
    assert lanes.blocks == [PILOT, 0, 1, 2, 3, 4]
    assert measured.verdict.unfit == "" and measured.kept_blocks() == [0, 1, 3, 4]
    assert set(sample_set(measured, SETTINGS, {}).service_ns("m", "dhe", 8)) == {9000}
    lines = interference_lines(measured)
    assert lines[0].startswith("interference: 1 of 5 blocks set aside")
    assert lines[1].startswith("  block 2 set aside: clock +100.0%; service times +")


def test_too_many_of_them_make_it_unfit(tmp_path: Path) -> None:
    measured, _ = run(tmp_path, FakeLanes(slow=[1, 2]))
    assert measured.verdict.unfit == "2 of 5 blocks were disturbed, more than 25%"
    kept_all_the_same = sample_set(measured, SETTINGS, {})
    assert measured.saved_blocks() == [0, 3, 4]
    assert set(kept_all_the_same.service_ns("m", "dhe", 8)) == {9000}
    said = kept_all_the_same.about["unfit"]
    assert said.startswith("2 of 5 blocks") and said.endswith("the 3 blocks whose service times agree")


def test_an_unfit_measurement_is_saved_whole_where_too_few_blocks_agree(tmp_path: Path) -> None:
    measured, _ = run(tmp_path, FakeLanes(slow=[1, 2]))
    measured = replace(measured, disagreement=(0.0, 0.2, -0.2, 0.3, 0.0))
    assert measured.saved_blocks() == [0, 1, 2, 3, 4]
    kept_all_the_same = sample_set(measured, SETTINGS, {})
    assert set(kept_all_the_same.service_ns("m", "dhe", 8)) == {9000, 17000}
    assert kept_all_the_same.about["unfit"].endswith("every block")


def test_what_is_left_must_carry_the_quantile(tmp_path: Path) -> None:
    """p95 takes 200 repeats. Of 16 blocks of 13 and 4 in place of others a quarter may be set aside: 195 are left."""
    settings = replace(SETTINGS, repeats=200, blocks=16, level=0.95)
    assert run(tmp_path / "four", FakeLanes(slow=[0, 1, 2, 3]), settings)[0].verdict.unfit == ""
    measured, _ = run(tmp_path / "five", FakeLanes(slow=[0, 1, 2, 3, 16]), settings)
    assert measured.verdict.unfit == "195 undisturbed repeats of table, dhe do not carry p95"


def test_an_interrupted_measurement_goes_on_where_it_was(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, FakeLanes(fail_at=2))
    lanes = FakeLanes()
    resumed, _ = run(tmp_path, lanes, resume=True)
    assert lanes.blocks == [2, 3]
    straight, _ = run(tmp_path / "straight", FakeLanes())
    both = [sample_set(measured, SETTINGS, {}) for measured in (resumed, straight)]
    assert both[0].cells.keys() == both[1].cells.keys()
    assert all(np.array_equal(both[0].cells[key], both[1].cells[key]) for key in both[0].cells)
    idle = FakeLanes()
    run(tmp_path, idle, resume=True)
    assert idle.loads == idle.blocks == []


def test_blocks_of_other_settings_do_not_go_together(tmp_path: Path) -> None:
    run(tmp_path, FakeLanes())
    with pytest.raises(SpecError, match="--resume, or remove it"):
        run(tmp_path, FakeLanes())
    with pytest.raises(SpecError, match=r"seed: .*had another value \(got 2; allowed: 1\)"):
        run(tmp_path, FakeLanes(), replace(SETTINGS, seed=2), resume=True)


def test_sizes_that_take_too_long_are_left_out_and_said(tmp_path: Path) -> None:
    # 20 repeats of dhe take 40 us at size 1 and 180 us at size 8.
    measured, said = run(tmp_path, FakeLanes(), replace(SETTINGS, cell_limit_ns=100_000))
    assert measured.left_out == {"dhe": (8,)}
    assert "dhe: sizes 8 would take longer each and are left out" in said
    samples = sample_set(measured, SETTINGS, {})
    assert samples.sizes("m", "dhe") == (1,) and samples.sizes("m", "table") == (1, 8)
    assert "fewer repeats" not in samples.about
    with pytest.raises(SpecError, match="no size of dhe can be measured often enough within 30us"):
        run(tmp_path / "none", FakeLanes(), replace(SETTINGS, cell_limit_ns=30_000))


def test_sizes_that_take_too_long_may_have_fewer_repeats(tmp_path: Path) -> None:
    # 100 us are eleven repeats of 9 us: two in each of four blocks.
    settings = replace(SETTINGS, cell_limit_ns=100_000, fewest_repeats=8)
    measured, said = run(tmp_path, FakeLanes(), settings)
    assert measured.left_out == {}
    assert "dhe: fewer repeats, which do not carry p50, of sizes 8 (8)" in said
    samples = sample_set(measured, settings, {})
    assert samples.service_ns("m", "dhe", 8).size == 8 and samples.service_ns("m", "dhe", 1).size == 20
    assert samples.about["repeats"] == "8"
    assert samples.about["fewer repeats"] == "m dhe from size 8 on"
    replace(settings, fewest_repeats=4).check()
    for bad in (3, 21):
        with pytest.raises(SpecError, match="--fewest-repeats"):
            replace(settings, fewest_repeats=bad).check()


def test_what_does_not_fit_together_is_measured_one_after_the_other(tmp_path: Path) -> None:
    lanes = FakeLanes()
    measured, _ = run(tmp_path, lanes, rounds=[["table"], ["dhe"]])
    assert lanes.loads == [("table",), ("dhe",)]
    # A round has room for its blocks and for those in place of them.
    assert lanes.blocks == [PILOT, 0, 1, 2, 3, PILOT, 5, 6, 7, 8]
    samples = sample_set(measured, SETTINGS, {})
    assert samples.blocks("m", "dhe", 1) == (5, 6, 7, 8)


def test_the_expected_duration_is_the_sum_of_the_queries() -> None:
    plan = {Cell("table", 1): CellPlan(5, 1000), Cell("table", 8): CellPlan(30, 4000)}
    # Four blocks; one query more in each of one and of two visits.
    assert duration_of_blocks_ns(plan, SETTINGS) == 4 * (6 * 1000 + 32 * 4000)
    assert duration_of_blocks_ns(plan, replace(SETTINGS, load=0.25)) == 16 * (6 * 1000 + 32 * 4000)
