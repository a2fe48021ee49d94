"""Answers the question for one scenario: how much load, how many nodes, how tight an SLA."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from sim.report.capacity import Answer, Looked, shown
from sim.report.written import percent_text
from sim.spec.experiment import Experiment
from sim.spec.problems import Problem, SpecError
from sim.stats.decision import Decision
from sim.study.capacity.bracket import Bracket, bracketed
from sim.study.capacity.fleet import FleetScale, mean_power_w
from sim.study.capacity.looking import Looker, Point, is_steady
from sim.study.capacity.mix import Mix, MixSearch
from sim.study.capacity.question import By, Find, Question
from sim.study.capacity.rate import LoadScale, with_length
from sim.study.capacity.saturation import saturating_rate
from sim.study.capacity.whole import whole_bracketed
from sim.study.evaluation import Evaluator
from sim.study.planning import plan_scenario

__all__ = ["Found", "Tell", "answer", "more_never_hurts"]

Tell = Callable[[int, Point, dict[str, int]], None]
"""``tell(scenario, point, nodes)`` is told of every look, with the nodes of each group where these are looked for."""

SLA_POLICIES = ("mp-rec", "user")
"""Policies that are told the SLA, or may be."""

WIDER = 8.0
"""By what the SLA is raised where latencies lie beyond what the run could measure."""


class Found:
    """An answer and what is needed to look at the same scenario again.

    Attributes
    ----------
    answer : Answer
    looker : Looker
    best : Point or None
        The point that the answer stands on.
    """

    def __init__(self, answer: Answer, looker: Looker, best: Point | None) -> None:
        self.answer = answer
        self.looker = looker
        self.best = best


def answer(evaluator: Evaluator, point: int, question: Question, tell: Tell) -> Found:
    """Answer the question for a scenario of the sweep.

    Raises
    ------
    SpecError
        If the question does not fit the scenario, or a variant of it is not valid.
    """
    if question.find is Find.RATE:
        return _rate(evaluator, point, question, tell)
    if question.find is Find.NODES:
        return _nodes(evaluator, point, question, tell)
    return _sla(evaluator, point, question, tell)


# -- how much load --------------------------------------------------------------------------------------


def _rate(evaluator: Evaluator, point: int, question: Question, tell: Tell) -> Found:
    prepared = evaluator.prepared((), point)
    scale = LoadScale.of(prepared, steady=is_steady(prepared.experiment, prepared))
    told, looked = _recording(tell, point)
    looker = Looker(evaluator, point, question, scale.changes, told)
    ceiling = None if prepared.offered_load is None else scale.rate_per_s / prepared.offered_load
    bracket = bracketed(
        looker.look, lambda: looker.looks_left, start=scale.rate_per_s, tolerance=question.tolerance, ceiling=ceiling
    )
    saturates, by = ceiling, "offered load"
    if ceiling is None:
        by = "drift"
        known = {value: one.judgement.saturated for value, one in looker.points.items()}
        start = bracket.misses or bracket.meets or scale.rate_per_s
        _, saturates = saturating_rate(lambda rate: looker.summary(rate), known, start)
    return Found(
        Answer(
            **_of_bracket(evaluator, point, bracket),
            saturates=saturates,
            saturates_by=by,
            counts={},
            cost=None,
            notes=_notes(bracket, looker, question),
            looked=tuple(looked),
        ),
        looker,
        None if bracket.meets is None else looker.points[bracket.meets],
    )


# -- how many nodes -------------------------------------------------------------------------------------


def _nodes(evaluator: Evaluator, point: int, question: Question, tell: Tell) -> Found:
    scenario = evaluator.scenario((), point)
    scale = FleetScale.of(scenario, question.groups)
    if len(scale.groups) > 1:
        return _mix(evaluator, point, question, tell, scale)
    (group,) = scale.groups
    start, step = scale.counts()[group], scenario.experiment.cells
    prepared = evaluator.prepared((), point)
    length = _length(evaluator, point)

    def variant(value: float, queries: float | None) -> tuple[str, ...]:
        return (*scale.changes({group: round(value)}), *length(queries))

    told, looked = _recording(tell, point, lambda value: {group: round(value)})
    looker = Looker(evaluator, point, question, variant, told)
    too_few = 0
    if prepared.offered_load is not None:
        # The nodes that the work alone takes; with no more than these it is saturated.
        too_few = math.floor(start * prepared.offered_load / step + 1e-9) * step
    bracket = whole_bracketed(looker.look, lambda: looker.looks_left, start=start, step=step, too_few=too_few)
    best = None if bracket.meets is None else looker.points[bracket.meets]
    return Found(
        Answer(
            **_of_bracket(evaluator, point, bracket),
            saturates=None,
            saturates_by="",
            counts={} if best is None else {group: round(best.value)},
            cost=None,
            notes=_notes(bracket, looker, question),
            looked=tuple(looked),
        ),
        looker,
        best,
    )


def _mix(evaluator: Evaluator, point: int, question: Question, tell: Tell, scale: FleetScale) -> Found:
    scenario = evaluator.scenario((), point)
    plan = plan_scenario(scenario)
    prices = scale.idle_w(plan) if question.by is By.ENERGY else scale.price_usd_per_h(plan)
    length = _length(evaluator, point)
    mixes: list[Mix] = []

    def counts(value: float) -> dict[str, int]:
        return dict(zip(scale.groups, mixes[round(value)], strict=True))

    def variant(value: float, queries: float | None) -> tuple[str, ...]:
        return (*scale.changes(counts(value)), *length(queries))

    told, looked = _recording(tell, point, counts)
    looker = Looker(evaluator, point, question, variant, told)
    kept = _removable(evaluator, point, scale)

    def look(mix: Mix) -> Point:
        mixes.append(mix)
        return looker.look(float(len(mixes) - 1))

    def cost(mix: Mix, at: Point) -> float:
        if question.by is not By.ENERGY:
            return search.at_least(mix)
        power = mean_power_w(at.summary)
        return math.inf if power is None else power

    search = MixSearch(
        look=look,
        cost=cost,
        least={i: prices[name] for i, name in enumerate(scale.groups)},
        start=tuple(scale.counts().values()),
        step=scenario.experiment.cells,
        monotone=more_never_hurts(scenario.experiment),
        looks_left=lambda: looker.looks_left,
        fewest=tuple(0 if name in kept else scenario.experiment.cells for name in scale.groups),
    )
    search.run()
    best = search.best
    notes = []
    if search.unresolved():
        left = " or ".join(_named(scale, mix) for mix in search.unresolved()[:3])
        notes.append(f"too close to call, and may be cheaper: {left}")
    if looker.looks_left <= 0:
        notes.append("the decisions that keep the confidence are used up: a cheaper mix may exist")
    others = sorted((value, mix) for mix, value in search.costs.items() if mix != best)
    if others:
        notes.append(f"next cheapest that was proved: {_named(scale, others[0][1])}, {others[0][0]:.4g}")
    index = None if best is None else mixes.index(best)
    return Found(
        Answer(
            parameters=dict(evaluator.points[point].parameters),
            meets=None if best is None else float(sum(best)),
            misses=None,
            estimate=None,
            reached=best is not None and not search.unresolved() and looker.looks_left > 0,
            saturates=None,
            saturates_by="",
            counts={} if best is None else dict(zip(scale.groups, best, strict=True)),
            cost=None if best is None else search.costs[best],
            notes=tuple(notes),
            looked=tuple(looked),
        ),
        looker,
        None if index is None else looker.points[float(index)],
    )


def more_never_hurts(experiment: Experiment) -> bool:
    """Whether a node more, of whatever group, is taken never to hurt.

    It does hurt where a router sends queries to a slow node while a fast one would be done sooner: a blind router does,
    one that counts what is waiting does, and so does a central queue.
    """
    return experiment.router is not None and experiment.router.kind == "least-expected-completion"


def _named(scale: FleetScale, mix: Mix) -> str:
    return " + ".join(f"{count} {name}" for name, count in zip(scale.groups, mix, strict=True) if count)


def _removable(evaluator: Evaluator, point: int, scale: FleetScale) -> set[str]:
    """Return the groups that the fleet may be without: nothing else in the file names them."""
    found = set()
    for name in scale.groups:
        try:
            evaluator.prepared(scale.changes({**scale.counts(), name: 0}), point)
        except SpecError:
            continue
        found.add(name)
    return found


def _length(evaluator: Evaluator, point: int) -> Callable[[float | None], tuple[str, ...]]:
    """Return what makes the runs of a scenario so many queries long, where they may be."""
    prepared = evaluator.prepared((), point)
    scale = LoadScale.of(prepared, steady=is_steady(prepared.experiment, prepared))
    return lambda queries: tuple(with_length(prepared.experiment, scale.rate_per_s, queries)) if scale.steady else ()


# -- how tight an SLA -----------------------------------------------------------------------------------


def depends_on_sla(experiment: Experiment) -> bool:
    """Whether what happens to a query depends on its SLA, and not only how it is counted."""
    queue = experiment.queue
    return experiment.policy.kind in SLA_POLICIES or (
        queue is not None and (queue.shed != "never" or queue.order == "earliest-deadline")
    )


def _sla(evaluator: Evaluator, point: int, question: Question, tell: Tell) -> Found:
    scenario = evaluator.scenario((), point)
    experiment = scenario.experiment
    own = [i for i, one in enumerate(experiment.classes or ()) if one.sla is not None]
    if own:
        raise SpecError(
            [
                Problem(
                    "the tightest SLA is looked for where there is one for all queries",
                    key_path=f"classes[{own[0]}].sla",
                    allowed="classes without an SLA of their own",
                )
            ]
        )
    length = _length(evaluator, point)

    def variant(value: float, queries: float | None) -> tuple[str, ...]:
        return (f"sla={max(round(value * 1e6), 1)}ns", *length(queries))

    told, looked = _recording(tell, point)
    looker = Looker(evaluator, point, question, variant, told)
    start = experiment.sla / 1e6
    if depends_on_sla(experiment) or question.attainment is not None:
        bracket = bracketed(
            looker.look, lambda: looker.looks_left, start=start, tolerance=question.tolerance, harder=-1
        )
        best = None if bracket.meets is None else looker.points[bracket.meets]
    else:
        bracket, best = _quantile(looker, start, question)
    return Found(
        Answer(
            **_of_bracket(evaluator, point, bracket),
            saturates=None,
            saturates_by="",
            counts={},
            cost=None,
            notes=_notes(bracket, looker, question),
            looked=tuple(looked),
        ),
        looker,
        best,
    )


def _quantile(looker: Looker, start: float, question: Question) -> tuple[Bracket, Point | None]:
    """Return the interval of the percentile: where nothing depends on the SLA, that is the tightest that is met."""
    best = None
    bracket = Bracket(None, None, None, False)
    for point in looker.measured(start, question.tolerance, WIDER):
        judgement = point.judgement
        if judgement.latency_ms is None or judgement.saturated or judgement.growing:
            continue
        latency = math.fsum(judgement.latency_ms) / len(judgement.latency_ms)
        if judgement.excess is None or judgement.low is None or judgement.high is None:
            continue
        if not math.isclose(latency, judgement.excess * point.value):
            # What is worst is not the latency but what is dropped, whatever the SLA.
            continue
        low, high = judgement.low * point.value, judgement.high * point.value
        best = point
        bracket = Bracket(high, low, latency, low > 0.0 and high / low - 1.0 <= question.tolerance)
        if bracket.reached:
            break
    return bracket, best


# -- what all of them say -------------------------------------------------------------------------------


def _of_bracket(evaluator: Evaluator, point: int, bracket: Bracket) -> dict[str, Any]:
    return {
        "parameters": dict(evaluator.points[point].parameters),
        "meets": bracket.meets,
        "misses": bracket.misses,
        "estimate": bracket.estimate,
        "reached": bracket.reached,
    }


def _notes(bracket: Bracket, looker: Looker, question: Question) -> tuple[str, ...]:
    notes = []
    points = list(looker.points.values())
    if bracket.contradictory:
        notes.append("it meets where it is harder and misses where it is easier: there is no single limit")
    elif bracket.meets is None and points:
        unmeasured = [one for one in points if one.judgement.unmeasured]
        if unmeasured:
            where = unmeasured[-1]
            notes.append(
                f"nothing was proved to meet: a replication of {where.queries:,.0f} queries is too short to know "
                f"{looker.experiment.report.percentile} ({where.judgement.why}); make the run longer"
            )
        else:
            excess = points[-1].judgement.excess
            what = f"{excess:.3g} of the limit" if excess is not None else points[-1].judgement.why
            scope = "at no load" if question.find is Find.RATE else "anywhere"
            value = shown(question.find.value, points[-1].value)
            notes.append(f"nothing was proved to meet, {scope}: at {value} it is {what}")
    elif not bracket.reached:
        why = "all decisions are used up" if looker.looks_left <= 0 else "more replications would be needed"
        notes.append(f"the bracket is wider than {percent_text(question.tolerance)}: {why} (--max-replications)")
    return tuple(notes)


def _recording(
    tell: Tell, scenario: int, counts: Callable[[float], dict[str, int]] | None = None
) -> tuple[Callable[[Point], None], list[Looked]]:
    """Return what notes every look, and the list that it goes to."""
    looked: list[Looked] = []

    def told(point: Point) -> None:
        judgement = point.judgement
        latency = judgement.latency_ms
        nodes = {} if counts is None else counts(point.value)
        looked.append(
            Looked(
                value=float(sum(nodes.values())) if nodes else point.value,
                counts=nodes,
                decision=point.decision.value if point.decision is not Decision.OPEN else "open",
                excess=judgement.excess,
                low=judgement.low,
                high=judgement.high,
                latency_ms=None if latency is None else math.fsum(latency) / len(latency),
                replications=point.replications,
                queries=point.queries,
                saturated=judgement.saturated,
                why=judgement.why,
            )
        )
        tell(scenario, point, nodes)

    return told, looked
