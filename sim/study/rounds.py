"""Rounds of replications: more of them for the scenarios whose intervals are not as narrow as was asked."""

from __future__ import annotations

from collections.abc import Sequence

from sim.spec.binding import problem_at
from sim.spec.experiment import Experiment
from sim.spec.precision import PrecisionSpec
from sim.spec.problems import Problem
from sim.spec.source import Node
from sim.stats.attempts import ATTEMPT_METRICS, AVAILABILITY_METRICS, SCALING_METRICS
from sim.stats.measurement import METRICS
from sim.stats.precision import PrecisionGoal, next_replications
from sim.stats.summary import ScenarioSummary

__all__ = ["check_precision", "following", "goal_of"]


ALL_METRICS = (*METRICS, *ATTEMPT_METRICS, *AVAILABILITY_METRICS, *SCALING_METRICS)


def check_precision(experiment: Experiment, node: Node, metrics: Sequence[str] = ALL_METRICS) -> list[Problem]:
    """Return what is wrong with `precision`: metrics that are none of these, a half width in another unit."""
    asked = experiment.precision
    if asked is None:
        return []
    problems = []
    for i, name in enumerate(asked.metric):
        listed = node.find(("precision", "metric", i)) is not None
        if name not in metrics:
            path = ("precision", "metric", i) if listed else ("precision", "metric")
            what = "unknown metric" if name not in ALL_METRICS else "the scenario has no such metric"
            problems.append(problem_at(node, path, what, names=metrics))
        elif asked.half_width.of != "share" and (asked.half_width.of == "ms") != _is_time(name):
            unit = "a time, such as 0.5ms" if _is_time(name) else "a plain number"
            message = f"the half width of {name} is a share of it, such as 2%, or {unit}"
            problems.append(problem_at(node, ("precision", "half_width"), message))
    return problems


def _is_time(metric: str) -> bool:
    return metric.startswith("latency_ms_")


def goal_of(asked: PrecisionSpec | None) -> PrecisionGoal | None:
    """Return what is asked; None where nothing is."""
    if asked is None:
        return None
    half_width = asked.half_width
    return PrecisionGoal(asked.metric, half_width.amount, half_width.of == "share", asked.max_replications)


def following(experiments: Sequence[Experiment], summaries: Sequence[ScenarioSummary]) -> list[int]:
    """Return how many replications each scenario should have: those it has, where it has enough."""
    counts = []
    for experiment, summary in zip(experiments, summaries, strict=True):
        goal = goal_of(experiment.precision)
        count = summary.replications
        if goal is not None and summary.precision is not None:
            count = next_replications(goal, summary.precision, count)
        counts.append(count)
    return counts
