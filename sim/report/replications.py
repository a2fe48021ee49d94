"""``replications.json``: what each replication of a run measured, so that runs can be compared pair by pair."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sim.report.json_files import ReplicationsFile, read_json
from sim.report.rundir import encoded, written_whole
from sim.stats.classes import ClassSummary
from sim.stats.measure import Measurement
from sim.stats.summary import ScenarioSummary

__all__ = ["Replications", "ReplicationsOfRun", "Values", "read_replications", "replications_of", "write_replications"]

FILE = "replications.json"

Values = dict[str, list[float | None]]
"""By name, one value a replication; an empty list where the scenario is saturated and has no steady value."""


@dataclass(frozen=True, slots=True)
class Replications:
    """The replications of a scenario, or of a class of its queries, after the warm-up cut.

    Attributes
    ----------
    numbers : tuple of int
        With the seeds, a number determines every draw of a replication. Lists of values are in this order.
    metrics : dict of list
        The metrics of `summary.json`.
    path_mix, utilisation, waiting_parts : dict of list
        The same of each path and kind of device.
    curve_ms : tuple of tuple of float
        By replication, latency in ms at the percentiles beyond which `sim.stats.measure.CURVE_TAILS` of the queries
        lie; as many as it has. None of a class.
    classes : dict of Replications
    """

    numbers: tuple[int, ...]
    metrics: Values
    path_mix: Values
    utilisation: Values = field(default_factory=dict)
    waiting_parts: Values = field(default_factory=dict)
    curve_ms: tuple[tuple[float, ...], ...] = ()
    classes: dict[str, Replications] = field(default_factory=dict)

    def to_json_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "numbers": list(self.numbers),
            "metrics": self.metrics,
            "path_mix": self.path_mix,
            "utilisation": self.utilisation,
            "waiting_parts": self.waiting_parts,
            "curve_ms": [list(one) for one in self.curve_ms],
            "classes": {name: one.to_json_dict() for name, one in self.classes.items()},
        }

    @classmethod
    def from_json_dict(cls, data: Mapping[str, Any]) -> Replications:
        """Rebuild from `to_json_dict`."""
        return cls(
            numbers=tuple(data["numbers"]),
            metrics=data["metrics"],
            path_mix=data["path_mix"],
            utilisation=data["utilisation"],
            waiting_parts=data["waiting_parts"],
            curve_ms=tuple(tuple(one) for one in data["curve_ms"]),
            classes={name: cls.from_json_dict(one) for name, one in data["classes"].items()},
        )


@dataclass(frozen=True, slots=True)
class ReplicationsOfRun:
    """The replications of every scenario of a run, in their order, and the seed that they share."""

    seed: int
    scenarios: tuple[Replications, ...]


def replications_of(summary: ScenarioSummary) -> Replications:
    """Return what each replication of a scenario measured."""
    classes = {name: _of(one, summary.numbers, summary.saturated) for name, one in summary.classes.items()}
    return _of(summary, summary.numbers, summary.saturated, classes, curve=True)


def _of(
    summary: ScenarioSummary | ClassSummary,
    numbers: tuple[int, ...],
    saturated: bool,
    classes: dict[str, Replications] | None = None,
    *,
    curve: bool = False,
) -> Replications:
    chosen = summary.chosen
    steady = not (saturated or summary.saturated)
    return Replications(
        numbers=numbers,
        metrics={name: list(metric.values) for name, metric in summary.metrics.items()},
        path_mix=_by_name(chosen, "path_mix", 0.0),
        utilisation=_by_name(chosen, "utilisation", None),
        waiting_parts=_by_name(chosen, "waiting_parts", None) if steady else {},
        curve_ms=tuple(one.curve_ms for one in chosen) if curve and steady else (),
        classes=classes or {},
    )


def _by_name(chosen: Sequence[Measurement], what: str, missing: float | None) -> Values:
    found: list[dict[str, float | None]] = [getattr(one, what) for one in chosen]
    return {name: [one.get(name, missing) for one in found] for name in dict.fromkeys(n for one in found for n in one)}


def write_replications(folder: Path, summaries: Sequence[ScenarioSummary], seed: int) -> Path:
    """Write ``replications.json`` into a run directory, one scenario a line: the same run gives the same bytes.

    Raises
    ------
    RunDirectoryError
        If it cannot be written.
    """
    scenarios = ",\n".join(
        json.dumps(replications_of(summary).to_json_dict(), ensure_ascii=False, allow_nan=False)
        for summary in summaries
    )
    file = folder / FILE
    with written_whole(file) as stream:
        stream.write(encoded(f'{{"seed": {seed}, "scenarios": [\n{scenarios}\n]}}\n'))
    return file


def read_replications(folder: Path) -> ReplicationsOfRun | None:
    """Read ``replications.json`` of a run directory; None if the run has none, as those of older versions.

    Raises
    ------
    RunDirectoryError
        If it cannot be read, or is damaged.
    """
    try:
        content = read_json(folder / FILE, ReplicationsFile)
    except FileNotFoundError:
        return None
    return ReplicationsOfRun(content["seed"], tuple(Replications.from_json_dict(one) for one in content["scenarios"]))
