"""Gains over a baseline, replication by replication under common random numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sim.stats.interval import Interval, paired_ratio
from sim.stats.summary import ScenarioSummary

__all__ = ["Gain", "baselines", "check_baseline", "gains"]

Baseline = str | Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Gain:
    """A scenario over its baseline: ratios of means with their intervals.

    Attributes
    ----------
    correct : Interval
        Ratio of correct predictions per second.
    correct_within_sla : Interval
        The same, counting only those that were served in time.
    """

    correct: Interval
    correct_within_sla: Interval


def check_baseline(parameters: Sequence[Mapping[str, Any]], baseline: Baseline) -> None:
    """Raise ValueError unless `baseline` is a label of a sweep axis, or names such parameters.

    Parameters
    ----------
    parameters : sequence of mapping
        The sweep parameters of every scenario.
    baseline : str, mapping or None
        A label, or parameters that a baseline has.
    """
    if baseline is None or any(_is_baseline(one, baseline) for one in parameters):
        return
    labels = dict.fromkeys(str(value) for one in parameters for value in one.values())
    shown = ", ".join(labels) or "none, as there is no sweep (report.baseline: null asks for no gains)"
    raise ValueError(f"no scenario of the sweep is called that; its labels are: {shown}")


def _is_baseline(parameters: Mapping[str, Any], baseline: str | Mapping[str, Any]) -> bool:
    if isinstance(baseline, str):
        return baseline in parameters.values()
    return bool(baseline) and all(parameters.get(key) == value for key, value in baseline.items())


def baselines(parameters: Sequence[Mapping[str, Any]], baseline: Baseline) -> list[int | None]:
    """Return the index of each scenario's baseline: the same in all that the baseline does not name.

    None for scenarios without one, and for the baselines themselves.
    """
    if baseline is None:
        return [None] * len(parameters)
    candidates = {i: one for i, one in enumerate(parameters) if _is_baseline(one, baseline)}
    found: list[int | None] = []
    for i, one in enumerate(parameters):
        matching = [j for j, other in candidates.items() if j != i and _differ_only_as_named(one, other, baseline)]
        found.append(matching[0] if matching and i not in candidates else None)
    return found


def _differ_only_as_named(one: Mapping[str, Any], other: Mapping[str, Any], baseline: str | Mapping[str, Any]) -> bool:
    named = {key for key, value in other.items() if value == baseline} if isinstance(baseline, str) else set(baseline)
    return all(one[key] == other[key] for key in one if key not in named)


def gains(summaries: Sequence[ScenarioSummary], baseline: Baseline) -> list[Gain | None]:
    """Return the gain of every scenario over its baseline; None where it has none or is one.

    Saturated scenarios count too: what they serve per second is their capacity.
    """
    result: list[Gain | None] = []
    for summary, other in zip(summaries, baselines([s.parameters for s in summaries], baseline), strict=True):
        if other is None:
            result.append(None)
            continue
        ratios = [
            _ratio(summary, summaries[other], name)
            for name in ("correct_predictions_per_s", "correct_predictions_within_sla_per_s")
        ]
        result.append(Gain(*ratios))
    return result


def _ratio(summary: ScenarioSummary, baseline: ScenarioSummary, name: str) -> Interval:
    ours, theirs = summary.metrics[name].values, baseline.metrics[name].values
    paired = min(len(ours), len(theirs))
    ratio = paired_ratio(ours[:paired], theirs[:paired], summary.confidence)
    # Rates are not negative: cutting the interval there costs no coverage.
    return replace(ratio, low=None if ratio.low is None else max(ratio.low, 0.0))
