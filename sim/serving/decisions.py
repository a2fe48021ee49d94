"""How often a run decides at intervals: by the rules of autoscaling, and by re-mapping."""

from __future__ import annotations

import math

from sim.spec.binding import problem_at
from sim.spec.experiment import Experiment
from sim.spec.problems import Problem
from sim.spec.source import KeyPath, Node
from sim.spec.units import format_duration_ns

__all__ = ["check_decisions"]

MOST_DECISIONS = 10_000_000
"""More decisions of a rule than this are a slip in a unit; so many take minutes, and one a ns would go on for ever."""


def check_decisions(experiment: Experiment, node: Node, *, expected_end_ns: float) -> list[Problem]:
    """Return the intervals that a run would have too many of.

    Parameters
    ----------
    experiment : Experiment
        The validated scenario.
    node : Node
        The YAML it was read from, for the positions of problems.
    expected_end_ns : float
        When a run is over, arrivals and drain; about then where it ends with a number of queries.
    """
    intervals: list[tuple[KeyPath, int | None]] = [
        (("autoscaling", i, "every"), rule.every) for i, rule in enumerate(experiment.autoscaling or ())
    ]
    if experiment.remapping is not None:
        intervals.append((("remapping", "every"), experiment.remapping.every))
    least_ns = math.ceil(expected_end_ns / MOST_DECISIONS)
    return [
        problem_at(
            node,
            path,
            f"it would be decided about {expected_end_ns / every_ns:,.0f} times in a run, arrivals and drain",
            allowed=f"at least {format_duration_ns(least_ns)}, which is {MOST_DECISIONS:,} times",
        )
        for path, every_ns in intervals
        if every_ns is not None and every_ns < least_ns
    ]
