"""Whether a contender gives the reference engine's answers, from runs of the same queries."""

from __future__ import annotations

from typing import Any

from benchmarks.rounds import Results

__all__ = ["TOLERANCE", "agreement", "disagreements"]

TOLERANCE = 1e-3
"""Relative difference of metrics that an engine may show that keeps latencies in a histogram."""

NOTHING_TO_COMPARE = "-"


def agreement(results: Results, system: str, contender: str) -> tuple[bool, str]:
    """Compare the largest run that both have; return whether they agree, and how far, in words."""
    if contender in ("reference", "drawing"):
        return True, NOTHING_TO_COMPARE
    known = results.rehearsals.get((system, "reference"))
    own = results.rehearsals.get((system, contender))
    both = sorted(set(known.checks) & set(own.checks)) if known and own else []
    if known is None or own is None or not both:
        return True, NOTHING_TO_COMPARE
    expected, found = known.checks[both[-1]], own.checks[both[-1]]
    over = f"{expected['queries']:,} queries"
    if found["queries"] != expected["queries"]:
        return False, f"{found['queries']:,} for {over}"
    if found["finishes"] is not None:
        same = found["finishes"] == expected["finishes"]
        return same, f"{'same' if same else 'OTHER'} nanoseconds, {over}"
    worst, name = _largest_difference(expected, found)
    return worst <= TOLERANCE, f"{'within' if worst <= TOLERANCE else 'OFF by'} {worst:.2%} ({name}), {over}"


def disagreements(results: Results) -> list[str]:
    """Return a line for each contender that gives other answers than the reference engine."""
    lines = []
    for system, contender in results.rehearsals:
        same, words = agreement(results, system, contender)
        if not same:
            lines.append(f"{contender} on {system} does not agree with the reference engine: {words}")
    return lines


def _largest_difference(expected: dict[str, Any], found: dict[str, Any]) -> tuple[float, str]:
    """Return the largest relative difference of a metric, or difference of a path's share, with its name."""
    differences = []
    for name, value in expected["metrics"].items():
        other = found["metrics"].get(name)
        if value is None or other is None:
            differences.append((0.0 if value is other else float("inf"), name))
        else:
            differences.append((abs(other - value) / abs(value) if value else abs(other), name))
    for name, share in expected["path_mix"].items():
        differences.append((abs(found["path_mix"].get(name, 0.0) - share), f"share of {name}"))
    return max(differences)
