"""A measurement from beginning to end: rounds of representations, a pilot, blocks, and the verdict on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.measure.block_store import BlockStore, Pilot
from sim.calibrate.measure.blocks import MeasuredBlock
from sim.calibrate.measure.interference import BlockReading, Rule, Verdict, block_disagreement, judge
from sim.calibrate.measure.settings import MeasureSettings, least_repeats
from sim.calibrate.measure.subject import Cell
from sim.calibrate.measure.visits import PILOT, CellPlan, Visit, visits_of_block, visits_of_pilot
from sim.spec.problems import Problem, SpecError
from sim.spec.units import format_duration_ns

__all__ = ["Campaign", "LaneGroup", "Measured", "Progress", "duration_of_blocks_ns", "in_turn"]

Progress: TypeAlias = Callable[[int, int, str], None]
"""progress(done, total, what): blocks."""


class LaneGroup(Protocol):
    """What `sim.calibrate.measure.lanes.Lanes` does."""

    def load(self, representations: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Let every lane load these; return the stages of each."""

    def measure(self, block: int, visits: Sequence[Visit]) -> list[MeasuredBlock]:
        """Let every lane measure a block."""


@dataclass(frozen=True, eq=False)
class Measured:
    """A finished measurement.

    Attributes
    ----------
    blocks : dict
        What every lane measured, by the number of the block; those that are set aside too.
    verdict : Verdict
        In the order of `blocks`.
    readings : tuple of BlockReading
        The worst of the lanes, in the order of `blocks`.
    disagreement : tuple of float
        In the order of `blocks`, see `block_disagreement`.
    stages : dict
        Stages by representation.
    left_out : dict
        Sizes that would have taken too long, by representation.
    per_block : dict
        Repeats in a block, by cell: fewer where all would have taken too long.
    rule : Rule
        That the verdict is by.
    """

    blocks: dict[int, list[MeasuredBlock]]
    verdict: Verdict
    readings: tuple[BlockReading, ...]
    disagreement: tuple[float, ...]
    stages: dict[str, tuple[str, ...]]
    left_out: dict[str, tuple[int, ...]]
    per_block: dict[Cell, int]
    rule: Rule

    def kept_blocks(self) -> list[int]:
        """Numbers of the blocks that were not set aside."""
        return [number for number, kept in zip(self.blocks, self.verdict.kept, strict=True) if kept]

    def saved_blocks(self) -> list[int]:
        """Numbers of the blocks whose samples are saved: those that were kept, where the measurement is fit.

        Of an unfit one those whose service times agree with the others': what a clock or steal time says is only that
        a block may have been disturbed. All, where fewer agree than must be left.
        """
        if not self.verdict.unfit:
            return self.kept_blocks()
        offs = zip(self.blocks, self.disagreement, strict=True)
        agreeing = [number for number, off in offs if abs(off) <= self.rule.most_disagreement]
        left = Counter(
            name for number in agreeing for name in {cell.representation for cell in self.blocks[number][0].times}
        )
        return agreeing if all(left[name] >= self.rule.fewest_kept for name in self.stages) else list(self.blocks)


def duration_of_blocks_ns(plan: Mapping[Cell, CellPlan], settings: MeasureSettings) -> int:
    """How long the blocks of a round will take, without what is between them and without extra blocks."""
    visits = visits_of_block(plan, settings.seed, 0, behind_cache=settings.behind_cache)
    each = sum((visit.dropped + visit.repeats) * visit.usual_ns for visit in visits)
    return round(each * settings.blocks / settings.load)


class Campaign:
    """Measures what the settings ask and keeps each block as it is done.

    Parameters
    ----------
    settings : MeasureSettings
    rounds : sequence of sequence of str
        Representations that are loaded together.
    store : BlockStore
        Blocks that are there already are not measured again.
    open_lanes : callable
        Starts the lanes; not called where everything is there.
    progress : Progress
    say : callable
        Takes a line for people.
    rule : Rule, optional
    """

    def __init__(
        self,
        settings: MeasureSettings,
        rounds: Sequence[Sequence[str]],
        store: BlockStore,
        open_lanes: Callable[[], AbstractContextManager[LaneGroup]],
        progress: Progress,
        say: Callable[[str], None],
        rule: Rule | None = None,
    ) -> None:
        self._settings = settings
        self._rounds = rounds
        self._store = store
        self._open_lanes = open_lanes
        self._progress = progress
        self._say = say
        self._rule = rule or Rule()
        self._blocks: dict[int, list[MeasuredBlock]] = {}
        self._stages: dict[str, tuple[str, ...]] = {}
        self._left_out: dict[str, tuple[int, ...]] = {}
        self._per_block: dict[Cell, int] = {}

    def run(self) -> Measured:
        """Measure what is missing and judge all of it.

        Raises
        ------
        SpecError
            If no size of a representation can be measured within the limit.
        LaneFailed
        RunDirectoryError
        """
        return in_turn([self])[0]

    def turns(self) -> Generator[None, None, Measured]:
        """Do as `run` does, with a pause after each pilot and each block."""
        with _Lazily(self._open_lanes) as lanes:
            for number, representations in enumerate(self._rounds):
                yield from self._run_round(number, representations, lanes)
        readings, disagreement, verdict = self._judge(list(self._blocks))
        verdict = self._with_enough_repeats(verdict)
        return Measured(
            self._blocks,
            verdict,
            readings,
            disagreement,
            self._stages,
            self._left_out,
            self._per_block,
            self._rule,
        )

    def _run_round(self, number: int, representations: Sequence[str], lanes: _Lazily) -> Iterator[None]:
        settings = self._settings
        lanes.wanted = representations
        pilot = self._store.pilot(number)
        if pilot is None:
            self._progress(self._done(), self._total(), "loading " + ", ".join(representations))
            stages = lanes.loaded().stages
            visits = visits_of_pilot(settings.cells(representations), behind_cache=settings.behind_cache)
            measured = lanes.loaded().lanes.measure(PILOT, visits)
            pilot = Pilot(_usual_ns(measured), stages)
            self._store.keep_pilot(number, pilot)
            yield
        plan = self._within_limit(pilot)
        self._per_block.update({cell: own.repeats for cell, own in plan.items()})
        expected = duration_of_blocks_ns(plan, settings)
        more = ", without what is timed apart" if settings.cache_stages else ""
        self._say(f"{', '.join(representations)}: about {_rounded(expected)} for {settings.blocks} blocks{more}")
        self._stages.update(pilot.stages)
        first = number * (settings.blocks + settings.most_extra_blocks)
        own: list[int] = []
        while len(own) < settings.blocks or (
            len(own) < settings.blocks + settings.most_extra_blocks
            and len(own) - self._judge(own)[2].set_aside < settings.blocks
        ):
            block = first + len(own)
            found = self._store.block(block)
            if found is None:
                self._progress(self._done(), self._total(), "measuring")
                visits = visits_of_block(plan, settings.seed, block, behind_cache=settings.behind_cache)
                found = lanes.loaded().lanes.measure(block, visits)
                self._store.keep_block(block, found)
            self._blocks[block] = found
            own.append(block)
            self._progress(self._done(), self._total(), "measuring")
            yield

    def _with_enough_repeats(self, verdict: Verdict) -> Verdict:
        """Call the measurement unfit where the blocks that are left do not carry the quantile."""
        settings = self._settings
        per_round = settings.blocks + settings.most_extra_blocks
        for number, representations in enumerate(self._rounds):
            numbers = zip(self._blocks, verdict.kept, strict=True)
            left = sum(kept for block, kept in numbers if block // per_round == number) * settings.repeats_per_block
            if not verdict.unfit and left < least_repeats(settings.level):
                unfit = (
                    f"{left} undisturbed repeats of {', '.join(representations)} do not carry p{settings.level * 100:g}"
                )
                return Verdict(verdict.reasons, unfit)
        return verdict

    def _within_limit(self, pilot: Pilot) -> dict[Cell, CellPlan]:
        settings = self._settings
        plan = {cell: CellPlan(settings.repeats_within_limit(usual), usual) for cell, usual in pilot.usual_ns.items()}
        for name in dict.fromkeys(cell.representation for cell in plan):
            own = {cell.size: one.repeats for cell, one in sorted(plan.items()) if cell.representation == name}
            gone = tuple(size for size, repeats in own.items() if not repeats)
            fewer = {size: repeats for size, repeats in own.items() if 0 < repeats < settings.repeats_per_block}
            if len(gone) == len(own):
                limit = format_duration_ns(settings.cell_limit_ns or 0)
                message = f"no size of {name} can be measured often enough within {limit}"
                raise SpecError([Problem(message, key_path="--cell-limit")])
            if gone:
                self._left_out[name] = gone
                self._say(f"{name}: sizes {', '.join(map(str, gone))} would take longer each and are left out")
            if fewer:
                listed = ", ".join(f"{size} ({repeats * settings.blocks})" for size, repeats in fewer.items())
                self._say(f"{name}: fewer repeats, which do not carry p{settings.level * 100:g}, of sizes {listed}")
        return {cell: one for cell, one in plan.items() if one.repeats}

    def _judge(self, numbers: Sequence[int]) -> tuple[tuple[BlockReading, ...], tuple[float, ...], Verdict]:
        chosen = [self._blocks[number] for number in numbers]
        readings = tuple(_worst_reading([one.reading for one in lanes]) for lanes in chosen)
        disagreement = tuple(block_disagreement([_totals(lanes) for lanes in chosen]))
        return readings, disagreement, judge(readings, disagreement, self._rule)

    def _done(self) -> int:
        return len(self._blocks)

    def _total(self) -> int:
        return max(self._settings.blocks * len(self._rounds), self._done())


def in_turn(campaigns: Sequence[Campaign]) -> list[Measured]:
    """Run campaigns block by block in turn: a machine that drifts does so under all of them.

    Raises
    ------
    SpecError, LaneFailed, RunDirectoryError
        As `Campaign.run`; blocks that are finished are kept.
    """
    found: dict[int, Measured] = {}
    with ExitStack() as stack:
        turns = [stack.enter_context(closing(campaign.turns())) for campaign in campaigns]
        while len(found) < len(turns):
            for place, turn in enumerate(turns):
                try:
                    if place not in found:
                        next(turn)
                except StopIteration as over:
                    found[place] = over.value
    return [found[place] for place in range(len(turns))]


@dataclass(frozen=True)
class _Loaded:
    lanes: LaneGroup
    stages: dict[str, tuple[str, ...]]


class _Lazily:
    """Lanes that are started, and representations that are loaded, when the first block is to be measured."""

    def __init__(self, open_lanes: Callable[[], AbstractContextManager[LaneGroup]]) -> None:
        self.wanted: Sequence[str] = ()
        self._open_lanes = open_lanes
        self._manager: AbstractContextManager[LaneGroup] | None = None
        self._lanes: LaneGroup | None = None
        self._now: tuple[Sequence[str], _Loaded] | None = None

    def __enter__(self) -> _Lazily:
        return self

    def __exit__(self, *error: object) -> None:
        if self._manager is not None:
            self._manager.__exit__(None, None, None)

    def loaded(self) -> _Loaded:
        if self._lanes is None:
            self._manager = self._open_lanes()
            self._lanes = self._manager.__enter__()
        if self._now is None or self._now[0] is not self.wanted:
            self._now = (self.wanted, _Loaded(self._lanes, self._lanes.load(self.wanted)))
        return self._now[1]


def _totals(lanes: Sequence[MeasuredBlock]) -> dict[Cell, NDArray[np.int64]]:
    """Service times of whole queries over all lanes of a block."""
    return {cell: np.concatenate([one.times[cell][:, 0] for one in lanes]) for cell in lanes[0].times}


def _usual_ns(lanes: Sequence[MeasuredBlock]) -> dict[Cell, int]:
    return {cell: int(np.median(times)) for cell, times in _totals(lanes).items()}


def _worst_reading(readings: Sequence[BlockReading]) -> BlockReading:
    """Return the worst of several lanes, count by count: a block is set aside for all lanes or for none."""
    duration = max(reading.duration_ns for reading in readings)

    def worst(counts: Sequence[int | None]) -> int | None:
        known = [count for count in counts if count is not None]
        return max(known) if known else None

    return BlockReading(
        duration_ns=duration,
        spin_ns=max(reading.spin_ns for reading in readings),
        steal_ns=worst([reading.steal_ns for reading in readings]),
        waiting_ns=worst([reading.waiting_ns for reading in readings]),
        involuntary_switches=worst([reading.involuntary_switches for reading in readings]),
    )


def _rounded(duration_ns: int) -> str:
    seconds = duration_ns / 1e9
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{max(seconds, 1):.0f} s"
