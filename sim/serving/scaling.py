"""Autoscaling: how many nodes a rule asks for, as plain numbers and functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from sim.spec.binding import problem_at
from sim.spec.experiment import Experiment
from sim.spec.problems import Problem
from sim.spec.scaling import AttainmentScalingSpec, BacklogScalingSpec, UtilisationScalingSpec
from sim.spec.source import Node
from sim.spec.units import format_duration_ns

__all__ = [
    "Measure",
    "Scaling",
    "build_scaling",
    "check_scaling",
    "mean_load",
    "nodes_for_attainment",
    "nodes_for_load",
]


class Measure(IntEnum):
    """What a rule looks at."""

    UTILISATION = 0
    BACKLOG = 1
    ATTAINMENT = 2


@dataclass(frozen=True, slots=True)
class Scaling:
    """The rule of one group of nodes.

    Attributes
    ----------
    first_node, nodes : int
        The group's nodes: so many from this number on.
    fewest, most, initial : int
        Limits of the nodes that are up or coming, and how many are up at first.
    every_ns, ready_ns, cooldown_ns : int
        Time between decisions, from a decision until a new node takes queries, and after a change in which no node is
        taken away.
    measure : int
        A `Measure`.
    target, tolerance, scale_in_above, step : float
        See `sim.spec.scaling`; 0 where the measure has none.
    """

    first_node: int
    nodes: int
    fewest: int
    most: int
    initial: int
    every_ns: int
    ready_ns: int
    cooldown_ns: int
    measure: int
    target: float
    tolerance: float
    scale_in_above: float
    step: float


def mean_load(integral: int, interval_ns: int, lanes: int) -> float:
    """Return the mean over an interval of what was integrated over it, in `lanes` at a time."""
    return float(integral) / float(interval_ns * lanes)


MOST_NODES = 1e9
"""More than any group has, and few enough to be counted on every engine."""


def nodes_for_load(load: float, target: float, tolerance: float, current: int) -> int:
    """Return the nodes that bring `load` to `target` a node; `current` ones if these are within the tolerance.

    Parameters
    ----------
    load : float
        Average over the last interval: busy lanes, in nodes' worth, or unfinished queries.
    """
    asked = min(load / target, MOST_NODES)
    if abs(asked - current) <= tolerance * current:
        return current
    return max(1, math.ceil(asked - 1e-9))


def nodes_for_attainment(share: float, target: float, scale_in_above: float, step: float, current: int) -> int:
    """Return the nodes that a share of queries in time asks for."""
    if share < target:
        return current + max(1, math.ceil(step * current - 1e-9))
    return current - 1 if share >= scale_in_above else current


def build_scaling(experiment: Experiment, load_bytes: Sequence[int]) -> tuple[Scaling, ...]:
    """Return the rules of the scaled groups.

    Parameters
    ----------
    experiment : Experiment
    load_bytes : sequence of int
        By group: what a new node has to load.
    """
    names = [group.name for group in experiment.fleet]
    counts = [group.count for group in experiment.fleet]
    rules = []
    for spec in experiment.autoscaling or ():
        g = names.index(spec.group)
        load_ns = 0 if spec.load_bandwidth is None else math.ceil(load_bytes[g] / spec.load_bandwidth * 1e9)
        attainment = isinstance(spec, AttainmentScalingSpec)
        rules.append(
            Scaling(
                first_node=sum(counts[:g]),
                nodes=counts[g],
                fewest=spec.min or 1,
                most=counts[g] if spec.max is None else spec.max,
                initial=(spec.min or 1) if spec.initial is None else spec.initial,
                every_ns=spec.every,
                ready_ns=spec.provisioning + load_ns,
                cooldown_ns=spec.cooldown,
                measure={"utilisation": Measure.UTILISATION, "backlog": Measure.BACKLOG}.get(
                    spec.measure, Measure.ATTAINMENT
                ),
                target=spec.target,
                tolerance=spec.tolerance if isinstance(spec, UtilisationScalingSpec | BacklogScalingSpec) else 0.0,
                scale_in_above=spec.scale_in_above if isinstance(spec, AttainmentScalingSpec) else 0.0,
                step=spec.step if attainment and isinstance(spec, AttainmentScalingSpec) else 0.0,
            )
        )
    return tuple(rules)


def check_scaling(experiment: Experiment, node: Node, *, end_ns: int | None) -> list[Problem]:
    """Return what contradicts itself in the autoscaling of an experiment.

    Parameters
    ----------
    experiment : Experiment
    node : Node
        The YAML it was read from, for the positions of problems.
    end_ns : int or None
        When a run is over, arrivals and drain; None where it ends with a number of queries.
    """
    problems = []
    counts = {group.name: group.count for group in experiment.fleet}
    seen: set[str] = set()
    for i, spec in enumerate(experiment.autoscaling or ()):
        path = ("autoscaling", i)
        if spec.group not in counts:
            problems.append(
                problem_at(node, (*path, "group"), "no group of the fleet is called that", names=list(counts))
            )
            continue
        if spec.group in seen:
            problems.append(problem_at(node, (*path, "group"), "two rules scale the same group"))
        seen.add(spec.group)
        for key, value in (("min", spec.min), ("max", spec.max), ("initial", spec.initial)):
            if value is not None and value > counts[spec.group]:
                problems.append(
                    problem_at(
                        node,
                        (*path, key),
                        f"{spec.group} has fewer nodes",
                        allowed=f"at most its count, {counts[spec.group]}",
                    )
                )
        if (spec.min or experiment.cells) == min(counts[spec.group], spec.max or counts[spec.group]):
            problems.append(problem_at(node, (*path, "min"), "min and max are the same, so there is nothing to scale"))
        duration = experiment.workload.duration
        if duration is not None and spec.every > duration:
            problems.append(problem_at(node, (*path, "every"), "the first decision is after the last arrival"))
        if end_ns is not None and spec.provisioning > end_ns:
            problems.append(
                problem_at(
                    node,
                    (*path, "provisioning"),
                    "is longer than the run, arrivals and drain, so no new node is ever up",
                    allowed=f"up to {format_duration_ns(end_ns)}",
                )
            )
    return problems
