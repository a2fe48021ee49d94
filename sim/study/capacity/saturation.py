"""Finds the load from which a fleet is saturated: from the offered load where that is known, else from the drift."""

from __future__ import annotations

from collections.abc import Callable

from sim.stats.summary import ScenarioSummary

__all__ = ["saturating_rate"]

GROWTH = 1.5
"""By what the load is raised until the backlog drifts."""

MOST_STEPS = 16

WITHIN = 0.05
"""How far the loads that drift and that do not may lie apart in the end."""


def saturating_rate(
    run: Callable[[float], ScenarioSummary], known: dict[float, bool], start: float
) -> tuple[float | None, float | None]:
    """Return the highest load without and the lowest with a growing backlog, close together.

    Parameters
    ----------
    run : callable
        ``run(rate_per_s)`` gives a summary with its verdict.
    known : dict
        Loads that are known to be saturated, or not.
    start : float
        Where to begin if nothing is known.
    """
    found = dict(known)
    for _ in range(MOST_STEPS):
        full = min((rate for rate, saturated in found.items() if saturated), default=None)
        free = max(
            (rate for rate, saturated in found.items() if not saturated and (full is None or rate < full)), default=None
        )
        if full is not None and free is not None and full / free <= 1.0 + WITHIN:
            break
        if full is None:
            rate = start if free is None else max(free, start) * GROWTH
        else:
            rate = full / GROWTH if free is None else (free + full) / 2
        rate = float(f"{rate:.4g}")
        if rate in found:
            break
        found[rate] = run(rate).saturated
    full = min((rate for rate, saturated in found.items() if saturated), default=None)
    free = max(
        (rate for rate, saturated in found.items() if not saturated and (full is None or rate < full)), default=None
    )
    return free, full
