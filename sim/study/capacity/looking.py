"""Looks at one value, a load or a count or an SLA, for as long as it takes to decide whether it meets the SLA."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sim.spec.experiment import Experiment
from sim.stats.decision import Decision, Judgement, decide
from sim.stats.summary import ScenarioSummary
from sim.study.capacity.question import Question
from sim.study.evaluation import Evaluator
from sim.study.prepare import PreparedScenario
from sim.workload.sizes import TraceSizes, size_distribution
from sim.workload.sources import sources_of

__all__ = ["Looker", "Point", "Variant", "is_steady"]

LEAST_REPLICATIONS = 16
"""Student's t at a small risk is wide for fewer."""

LEAST_QUERIES = 20_000
"""Of a replication that may be as long as is needed."""

LENGTHENED = 4
"""By what a run that is too short is made longer."""

MOST_AT_ONCE = 16.0
"""Most that the work is multiplied by before the next look."""

PATIENCE = 30.0
"""A point that would need more than this many times the work that it had is left open."""

Variant = Callable[[float, float | None], tuple[str, ...]]
"""``variant(value, queries)`` gives what sets a value, and so many queries a replication; None: as written."""


@dataclass(frozen=True, slots=True)
class Point:
    """A value that was looked at.

    Attributes
    ----------
    value : float
    changes : tuple of str
    queries : float
        Mean number in a replication.
    replications : int
    judgement : Judgement
    summary : ScenarioSummary
    """

    value: float
    changes: tuple[str, ...]
    queries: float
    replications: int
    judgement: Judgement
    summary: ScenarioSummary

    @property
    def work(self) -> float:
        """Queries that were simulated for it."""
        return self.queries * self.replications

    @property
    def decision(self) -> Decision:
        """Whether it meets what is asked."""
        return self.judgement.decision


def is_steady(experiment: Experiment, prepared: PreparedScenario) -> bool:
    """Whether the question is about a steady state, so that a run may be made longer than the file says.

    Where the load, the fleet or the mapping change with time, and where a trace ends, the run as it is written is
    what is asked about.
    """
    if prepared.time_varying or experiment.report.timeline is not None:
        return False
    sources = sources_of(prepared.workload, prepared.classes)
    sizes = [size_distribution(source.workload, prepared.base_dir) for source in sources]
    return not any(isinstance(one, TraceSizes) and not one.repeat for one in sizes)


class Looker:
    """Looks at values of one scenario.

    Parameters
    ----------
    evaluator : Evaluator
    point : int
        The scenario, an index into its points.
    question : Question
    variant : callable
    tell : callable
        ``tell(point)`` is told of every look.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        point: int,
        question: Question,
        variant: Variant,
        tell: Callable[[Point], None],
    ) -> None:
        self.evaluator = evaluator
        self.point = point
        self.question = question
        self.looks = 0
        self.points: dict[float, Point] = {}
        self._variant = variant
        self._tell = tell
        scenario = evaluator.scenario((), point)
        prepared = evaluator.prepared((), point)
        self.experiment = scenario.experiment
        self.steady = is_steady(self.experiment, prepared)
        self.replications = min(max(self.experiment.replications, LEAST_REPLICATIONS), question.most_replications)
        self._queries = max(prepared.expected_queries, LEAST_QUERIES) if self.steady else None

    @property
    def looks_left(self) -> int:
        """Decisions that may still be taken."""
        return self.question.most_looks - self.looks

    def look(self, value: float, patience: float = PATIENCE) -> Point:
        """Return the point at `value`, decided if that takes no more than `patience` times its work."""
        former = self.points.get(value)
        replications = self.replications
        if former is not None:
            if former.decision is not Decision.OPEN:
                return former
            replications = former.replications
        point = former
        while self.looks_left > 0:
            point = self._look(value, replications)
            self.points[value] = point
            self._tell(point)
            if point.decision is not Decision.OPEN:
                break
            more = self._more(point, patience)
            if more is None:
                break
            replications = more
        assert point is not None
        return point

    def summary(self, value: float) -> ScenarioSummary:
        """Return what a few replications at `value` give; nothing is decided by it."""
        changes = self._variant(value, self._queries)
        return self.evaluator.evaluate(changes, self.replications, point=self.point).summary

    def latency_ms(self, value: float, like: Point) -> tuple[tuple[float, ...] | None, bool]:
        """Return the percentile at `value`, replication by replication, and whether it is saturated there.

        The replications and their length are those of another point, so that they can be set against it pair by pair.
        """
        judgement = self._judged(value, like.replications, like.queries if self.steady else None).judgement
        return judgement.latency_ms, judgement.saturated

    def measured(self, value: float, tolerance: float, wider: float) -> Iterator[Point]:
        """Look at `value` with more and more work, at a `wider` one where latencies are not to be had from it."""
        replications = self.replications
        while self.looks_left > 0:
            point = self._look(value, replications)
            self.points[value] = point
            self._tell(point)
            yield point
            latency = point.judgement.latency_ms
            if latency is not None and max(latency) >= wider * value:
                # As long as the clock runs on after the arrivals: what takes longer is not known.
                value *= wider
                continue
            if self._lengthen(LENGTHENED):
                continue
            more = None if point.judgement.unmeasured else self._repeat(point, float(LENGTHENED))
            if more is None:
                return
            replications = more

    def _look(self, value: float, replications: int) -> Point:
        self.looks += 1
        return self._judged(value, replications)

    def _judged(self, value: float, replications: int, queries: float | None = None) -> Point:
        changes = self._variant(value, queries or self._queries)
        evaluated = self.evaluator.evaluate(changes, replications, point=self.point)
        judgement = decide(
            evaluated.summary,
            evaluated.results,
            percentile=self.experiment.report.percentile,
            attainment=self.question.attainment,
            risk=self.question.risk,
            steady=self.steady,
            drain_ms=evaluated.prepared.drain_ns / 1e6,
        )
        return Point(value, changes, evaluated.prepared.expected_queries, replications, judgement, evaluated.summary)

    def _more(self, point: Point, patience: float) -> int | None:
        """Make the runs longer, or return how many replications to look at next; None where it is not worth it."""
        judgement = point.judgement
        if judgement.unmeasured:
            return point.replications if self._lengthen(LENGTHENED) else None
        if judgement.growing:
            return point.replications if self._lengthen(LENGTHENED) else self._repeat(point, float(LENGTHENED))
        factor = _factor(judgement, point.replications)
        if factor > min(patience, self._room(point)):
            return None
        step = min(max(1.5 * factor, 2.0), MOST_AT_ONCE)
        longer = 1
        while longer < step and self._lengthen(2):
            longer *= 2
        return point.replications if longer > 1 else self._repeat(point, step)

    def _room(self, point: Point) -> float:
        """Return how many times the work of a point is allowed."""
        longer = 1 if self._queries is None else self.question.most_queries / self._queries
        return max(longer, 1.0) * self.question.most_replications / point.replications

    def _lengthen(self, factor: int) -> bool:
        if self._queries is None or self._queries * factor > self.question.most_queries:
            return False
        self._queries *= factor
        return True

    def _repeat(self, point: Point, factor: float) -> int | None:
        more = min(round(point.replications * factor), self.question.most_replications)
        return more if more > point.replications else None


def _factor(judgement: Judgement, replications: int) -> float:
    """Return how many times the work would bring the bound that is on the wrong side of the limit up to it.

    What is found is not where it is: half a standard error is allowed for it being further from the limit than it
    looks, so that little work never says that more is in vain.
    """
    assert judgement.excess is not None and judgement.low is not None and judgement.high is not None
    width = judgement.high - judgement.excess if judgement.excess <= 1.0 else judgement.excess - judgement.low
    error = (judgement.spread or 0.0) * judgement.excess / math.sqrt(replications)
    margin = abs(1.0 - judgement.excess) + error / 2
    return (width / margin) ** 2 if margin > 0.0 else math.inf
