"""Summaries and timelines made up for figures, from what a scenario is called and a latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sim.report.rundir import TimelinePoint

__all__ = ["curve", "scenario", "summary_of", "timeline_of"]


def measured(value: float | None, spread: float = 0.1) -> dict[str, float | None]:
    """Return a metric with an interval of that share of it to both sides."""
    if value is None:
        return {"value": None, "low": None, "high": None}
    return {"value": value, "low": value * (1 - spread), "high": value * (1 + spread)}


def curve(p99_ms: float, decades: int = 3) -> list[dict[str, float]]:
    """Return an exponential tail with that p99, over some decades of it."""
    steps = [(k / 10, p99_ms * k / 20) for k in range(1, 10 * decades + 1)]
    return [{"p": 1 - 10**-x, "value": v, "low": 0.8 * v, "high": 1.2 * v} for x, v in steps]


def scenario(
    parameters: Mapping[str, Any],
    p99_ms: float | None,
    *,
    sla_ms: float = 10.0,
    correct: float = 1000.0,
    paths: Mapping[str, float] | None = None,
    accuracy: float = 0.789,
    utilisation: Mapping[str, float] | None = None,
    classes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the entry of a scenario; without a p99 it is saturated."""
    verdict = "saturated" if p99_ms is None else "meets" if 1.1 * p99_ms <= sla_ms else "misses"
    return {
        "parameters": dict(parameters),
        "saturated": p99_ms is None,
        "sla_ms": sla_ms,
        "metrics": {
            "latency_ms_p99": measured(p99_ms),
            "correct_predictions_within_sla_per_s": measured(correct, 0.01),
            "accuracy_served": measured(accuracy, 1e-4),
        },
        "path_mix": dict(paths or {"table@cpu": 1.0}),
        "utilisation": dict(utilisation or {"cpu": 0.4, "gpu": 1.0}),
        "percentile_curve": [] if p99_ms is None else curve(p99_ms),
        "replications": 5,
        "confidence": 0.95,
        "verdict": verdict,
        **({"classes": dict(classes)} if classes else {}),
    }


def summary_of(scenarios: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a summary of these scenarios."""
    return {"name": "A run", "percentile": "p99", "scenarios": list(scenarios)}


def timeline_of(summary: Mapping[str, Any], intervals: int = 4) -> list[TimelinePoint]:
    """Return a timeline of a summary: all metrics grow with time, by as much as the scenario's number."""
    points = []
    for number, one in enumerate(summary["scenarios"], start=1):
        key = tuple(str(value) for value in one["parameters"].values())
        largest = {
            "offered_per_s": 2e6,
            "attempts_per_s": 2e6 * number,
            "nodes_up": 10.0 * number,
            "latency_ms_p50": 0.01,
            "latency_ms_p99": 900.0 * number,
            "sla_attainment": 1.0,
            "queries_in_system": 12345.0 * number,
            "accuracy_served": 0.789 + 2e-5 * number,
            **{f"path_mix:{path}": share for path, share in one["path_mix"].items()},
            **{f"utilisation:{kind}": 1.0 for kind in one["utilisation"]},
        }
        for metric, value in largest.items():
            grows = metric in ("latency_ms_p99", "queries_in_system", "offered_per_s")
            for i in range(intervals):
                drawn = value * (i + 1) / intervals if grows else value
                points.append(TimelinePoint(key, 25.0 * i, 25.0 * (i + 1), metric, drawn, 0.9 * drawn, 1.1 * drawn))
    return points
