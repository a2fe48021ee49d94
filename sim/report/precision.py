"""What is said of intervals: whether they are as narrow as was asked."""

from __future__ import annotations

from collections.abc import Sequence

from sim.stats.precision import PrecisionOutcome
from sim.stats.summary import ScenarioSummary

__all__ = ["precision_lines"]

NAMED = 4
"""Scenarios that are named one by one; of more, only how many."""


def precision_lines(summaries: Sequence[ScenarioSummary], plus_minus: str) -> list[str]:
    """Return a line for the scenarios that are precise enough and lines for those that are not; none if not asked."""
    judged = [(summary, summary.precision) for summary in summaries if summary.precision is not None]
    lines = []
    reached = [summary for summary, outcome in judged if outcome.reached]
    if reached:
        least, most = (pick(summary.replications for summary in reached) for pick in (min, max))
        many = "" if len(judged) == 1 else f"{_of(reached, summaries)}: "
        after = f"{least} to {most}" if least < most else str(most)
        lines.append(f"{many}precise enough after {after} replications ({plus_minus}{_asked(judged[0][1])})")
    missed = [(summary, outcome) for summary, outcome in judged if not outcome.reached]
    for summary, outcome in missed[:NAMED]:
        name = f"{_name(summary)}: " if len(judged) > 1 else ""
        if outcome.half_width is None:
            lines.append(f"{name}not precise: {outcome.metric} has no interval to narrow ({outcome.reason})")
        else:
            lines.append(
                f"{name}not precise enough: {outcome.metric} {plus_minus}{_width(outcome.half_width, outcome)} after "
                f"{summary.replications} replications, asked for {plus_minus}{_asked(outcome)}"
            )
    if len(missed) > NAMED:
        lines.append(f"{len(missed) - NAMED} more scenarios are not precise enough")
    return lines


def _of(some: Sequence[ScenarioSummary], summaries: Sequence[ScenarioSummary]) -> str:
    return "every scenario" if len(some) == len(summaries) else f"{len(some)} of {len(summaries)} scenarios"


def _name(summary: ScenarioSummary) -> str:
    return ", ".join(str(value) for value in summary.parameters.values())


def _asked(outcome: PrecisionOutcome) -> str:
    return _width(outcome.asked, outcome)


def _width(half_width: float, outcome: PrecisionOutcome) -> str:
    if outcome.relative:
        return f"{100 * half_width:.2g}%"
    unit = " ms" if outcome.metric.split(": ")[-1].startswith("latency_ms_") else ""
    return f"{half_width:.3g}{unit}"
