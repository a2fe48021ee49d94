"""What is said of intervals: whether they are as narrow as was asked, and whether they are to be relied on."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sim.stats.independence import ShortRun
from sim.stats.precision import PrecisionOutcome
from sim.stats.summary import ScenarioSummary

__all__ = ["is_too_short", "precision_lines", "short_run_line"]

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
    for summary in reached:
        # More replications narrow an interval; they do not move it to where it belongs.
        short = [one for one in summary.warnings if summary.precision and one.metric == summary.precision.metric]
        lines += [f"but {one.metric} stands on replications that are too short" for one in short[:1]]
    lines = list(dict.fromkeys(lines))
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


def is_too_short(summary: ScenarioSummary, percentile: str, query_class: str = "") -> bool:
    """Return whether replications are too short for the interval of a percentile of a scenario, or of one class."""
    return bool(_short(summary, percentile, query_class))


def _short(summary: ScenarioSummary, percentile: str, query_class: str | None = None) -> list[ShortRun]:
    """Return the warnings about a percentile; of the whole and of every class, unless one is named."""
    name = f"latency_ms_{percentile}"
    if query_class is None:
        return [one for one in summary.warnings if one.metric.split(": ")[-1] == name]
    return [one for one in summary.warnings if one.metric == (f"{query_class}: {name}" if query_class else name)]


def short_run_line(summaries: Sequence[ScenarioSummary], percentile: str, mark: str) -> str | None:
    """Return the footnote to percentiles that replications are too short for; None where there are none."""
    found = [one for summary in summaries for one in _short(summary, percentile)]
    if not found:
        return None
    worst = min(found, key=lambda one: one.independent_latencies / one.needed)
    worth, needed = (max(1, math.floor(amount)) for amount in (worst.independent_latencies, worst.needed))
    return (
        f"{mark} {percentile} may be too low and its interval too narrow: who waits together is late together, so "
        f"a replication is worth {worth:,} independent latencies, and it takes {needed:,}; make the workload at "
        f"least {worst.times} times as long"
    )


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
