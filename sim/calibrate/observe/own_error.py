"""What the chance of the calibration does to a prediction: predicted again and again without a part of the blocks.

All observed blocks are predicted from one calibration, so its error is common to them, and no variation between them
shows it. At a load of 0.85 on one lane, service that is 0.2% slower makes latency more than 1% longer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sim.calibrate.observe.calibration import CalibrationBlock
from sim.calibrate.observe.layout import LaidOut
from sim.calibrate.observe.summary import summarised
from sim.engine.engines import Engine, run_engine, why_not_compiled
from sim.stats.summary import ScenarioSummary

__all__ = ["GROUPS", "OwnError", "jackknife_error", "own_error"]

GROUPS = 8
"""Parts that blocks are left out by, in turns: what drifts slowly they share with the observed blocks between them."""

FEWEST_COMPILED = 300_000
"""Queries from which the compiled engine is done first, even where it has to be compiled for that."""


@dataclass(frozen=True, slots=True)
class OwnError:
    """Standard errors that predictions have from their calibration alone.

    Attributes
    ----------
    groups : int
        Parts that were left out in turn; one more than the degrees of freedom.
    metrics : tuple of dict of str to float
        By scenario: relative standard errors of metrics, by their names in ``summary.json``; of those that every
        prediction has.
    path_mix : tuple of dict of str to float
        By scenario: standard errors of the shares of paths.
    """

    groups: int
    metrics: tuple[Mapping[str, float], ...]
    path_mix: tuple[Mapping[str, float], ...]

    def to_json_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        rows = zip(self.metrics, self.path_mix, strict=True)
        return {"groups": self.groups, "scenarios": [{"metrics": dict(m), "path_mix": dict(p)} for m, p in rows]}


def own_error(
    calibrations: Sequence[CalibrationBlock],
    lay_out: Callable[[Sequence[CalibrationBlock]], Sequence[LaidOut]],
    replications: Sequence[Sequence[int]],
) -> OwnError | None:
    """Return the standard errors of predictions by the jackknife over groups of calibration blocks.

    Every prediction is of the same queries with the same service draws, so that they differ by the calibration alone.

    Parameters
    ----------
    calibrations : sequence of CalibrationBlock
        Those that were kept, in their order.
    lay_out : callable
        The scenarios as such blocks would predict them.
    replications : sequence of sequence of int
        By scenario: those that are predicted.

    Returns
    -------
    OwnError or None
        None with fewer than two blocks a group, or without any replication.

    References
    ----------
    J. Shao, D. Tu, "The Jackknife and Bootstrap", Springer 1995, section 2.3 (leaving out groups).
    """
    if len(calibrations) < 2 * GROUPS or not any(replications):
        return None
    engine: Engine | None = None
    predicted: list[list[ScenarioSummary | None]] = []
    for group in range(GROUPS):
        kept = [block for number, block in enumerate(calibrations) if number % GROUPS != group]
        scenarios = lay_out(kept)
        engine = engine or _engine(scenarios, replications)
        predicted.append([_predict(*one, engine) for one in zip(scenarios, replications, strict=True)])
    metrics, mixes = [], []
    for row in zip(*predicted, strict=True):
        known = [one for one in row if one is not None]
        metrics.append(_relative_errors([{name: one.value for name, one in of.metrics.items()} for of in known]))
        paths = sorted({path for of in known for path in of.path_mix})
        mixes.append({path: jackknife_error([of.path_mix.get(path, 0.0) for of in known]) for path in paths})
    return OwnError(GROUPS, tuple(metrics), tuple(mixes))


def _engine(scenarios: Sequence[LaidOut], replications: Sequence[Sequence[int]]) -> Engine:
    queries = sum(
        sum(len(chunk.size) for chunk in scenario.stream(numbers[0]).chunks()) * len(numbers)
        for scenario, numbers in zip(scenarios, replications, strict=True)
        if numbers
    )
    few = GROUPS * queries < FEWEST_COMPILED
    return Engine.REFERENCE if few or why_not_compiled(scenarios[0].system) else Engine.COMPILED


def _predict(scenario: LaidOut, replications: Sequence[int], engine: Engine) -> ScenarioSummary | None:
    if not replications:
        return None
    records = (
        (number, run_engine(engine, scenario.system, scenario.stream(number), drain_ns=scenario.drain_ns))
        for number in replications
    )
    return summarised(scenario, "measured", records)


def _relative_errors(groups: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """Return relative standard errors of the metrics that every group has."""
    found = {}
    for name in groups[0] if groups else ():
        values = [value for group in groups if (value := group.get(name)) is not None]
        if len(values) == len(groups) and min(values) > 0:
            found[name] = jackknife_error(values) * len(values) / math.fsum(values)
    return found


def jackknife_error(values: Sequence[float]) -> float:
    """Return the standard error of an estimate of which `values` are what comes out without each group in turn."""
    mean = math.fsum(values) / len(values)
    return math.sqrt((len(values) - 1) / len(values) * math.fsum((value - mean) ** 2 for value in values))
