"""What a search wants of a design: objectives and constraints, as numbers that a finished design has or lacks."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from sim.report.verdict import probability_of
from sim.spec.binding import problem_at
from sim.spec.optimise import OptimiseSpec
from sim.spec.problems import Problem, SpecError, nearest_name
from sim.spec.source import Node
from sim.spec.units import parse_duration_ns, parse_fraction_or_zero, parse_price_usd_per_h, parse_rate_per_s
from sim.stats.attempts import ATTEMPT_METRICS, AVAILABILITY_METRICS, SCALING_METRICS
from sim.stats.interval import t_interval
from sim.stats.measure import METRICS
from sim.stats.merge import Metric, is_share
from sim.stats.summary import ScenarioSummary
from sim.study.prepare import PreparedScenario

__all__ = ["COST", "Constraint", "Met", "Objective", "Wanted", "all_metrics", "has_price", "wanted"]

COST = "cost_usd_per_h"
"""Price of the fleet, an hour: of the nodes that are on, where nodes come and go."""

KNOWN = (*METRICS, *ATTEMPT_METRICS, *AVAILABILITY_METRICS, *SCALING_METRICS, COST)
CONSTRAINT = re.compile(r"\s*([a-z][a-z0-9_]*)\s*(<=|>=)\s*(.*\S)\s*")
NS_PER_MS = 1e6
S_PER_H = 3600.0


class Met(StrEnum):
    """Whether a design meets a constraint."""

    MEETS = "meets"
    CLOSE = "too close to call"
    MISSES = "misses"


@dataclass(frozen=True, slots=True)
class Objective:
    """A metric, whether more (`max`) or less (`min`) of it is better, and the smallest difference that counts."""

    metric: str
    direction: str
    resolution: float = 0.0

    @property
    def sign(self) -> float:
        """What makes less better: 1 or -1."""
        return 1.0 if self.direction == "min" else -1.0


@dataclass(frozen=True, slots=True)
class Constraint:
    """A limit of a metric.

    Attributes
    ----------
    text : str
        As it is written.
    metric : str
    most : bool
        Whether `limit` is the most, or else the least, that is allowed.
    limit : float or None
        In the metric's unit; None for the scenario's SLA.
    """

    text: str
    metric: str
    most: bool
    limit: float | None

    def limit_of(self, summary: ScenarioSummary) -> float:
        """Return the limit of one design."""
        return summary.sla_ms if self.limit is None else self.limit

    def met(self, metrics: Mapping[str, Metric], summary: ScenarioSummary) -> Met:
        """Return whether a design meets it: its interval does, misses, or holds the limit.

        A percentile is missed, too, where more queries are dropped than it leaves aside: they have no latency.
        """
        metric = metrics.get(self.metric)
        if metric is None or metric.value is None:
            return Met.MISSES
        low = metric.value if metric.low is None else metric.low
        high = metric.value if metric.high is None else metric.high
        limit = self.limit_of(summary)
        percentile = self.metric.removeprefix("latency_ms_")
        if self.most and percentile in ("p50", "p90", "p95", "p99", "p999"):
            dropped = summary.metrics["drop_rate"].value or 0.0
            if dropped > 1.0 - probability_of(percentile):
                return Met.MISSES
        if (high <= limit) if self.most else (low >= limit):
            return Met.MEETS
        return Met.MISSES if ((low > limit) if self.most else (high < limit)) else Met.CLOSE

    def violation(self, metrics: Mapping[str, Metric], summary: ScenarioSummary) -> float:
        """Return how far a design is beyond the limit, as a share of it; zero or less where it is within."""
        metric = metrics.get(self.metric)
        if metric is None or metric.value is None:
            return 1.0
        limit = self.limit_of(summary)
        beyond = (metric.value - limit) if self.most else (limit - metric.value)
        return beyond / abs(limit) if limit else beyond


@dataclass(frozen=True, slots=True)
class Wanted:
    """Objectives and constraints of a search."""

    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...]


def wanted(spec: OptimiseSpec, root: Node, percentile: str, *, priced: bool) -> Wanted:
    """Return what a search wants.

    Parameters
    ----------
    spec : OptimiseSpec
    root : Node
        The experiment, for the places of problems.
    percentile : str
        The latency percentile of the report, such as ``"p99"``.
    priced : bool
        Whether all designs have a price, so that cost is an objective by default.

    Raises
    ------
    SpecError
        With every metric that there is not, and every limit that is none.
    """
    chosen = spec.objectives or {
        "accuracy_served": "max",
        "correct_predictions_within_sla_per_s": "max",
        f"latency_ms_{percentile}": "min",
        **({COST: "min"} if priced else {}),
    }
    problems = [_at_key(root, ("objectives", name), "unknown metric", KNOWN) for name in chosen if name not in KNOWN]
    steps: dict[str, float] = {}
    for name, written in spec.resolution.items():
        if name not in chosen:
            problems.append(_at_key(root, ("resolution", name), "is no objective", tuple(chosen)))
            continue
        try:
            steps[name] = _limit(name, str(written))
            if steps[name] <= 0:
                raise ValueError("a resolution has to be more than zero")
        except ValueError as error:
            problems.append(problem_at(root, ("optimise", "resolution", name), str(error)))
    constraints = []
    for number, text in enumerate(spec.constraints):
        try:
            constraints.append(_constraint(text))
        except ValueError as error:
            problems.append(problem_at(root, ("optimise", "constraints", number), str(error)))
    if problems:
        raise SpecError(problems)
    objectives = tuple(Objective(name, direction, steps.get(name, 0.0)) for name, direction in chosen.items())
    return Wanted(objectives, tuple(constraints))


def _at_key(root: Node, path: tuple[str, ...], message: str, names: Sequence[str]) -> Problem:
    """Return a problem with a name that is a key of the block."""
    where = root.find(("optimise", *path))
    position = root.position if where is None else where.key_position
    key_path = ".".join(("optimise", *path))
    return Problem(message, position, key_path, None, ", ".join(names), nearest_name(path[-1], names))


def _constraint(text: str) -> Constraint:
    match = CONSTRAINT.fullmatch(text)
    if match is None:
        raise ValueError("a constraint is written as METRIC <= LIMIT or METRIC >= LIMIT")
    metric, relation, limit = match.groups()
    if metric not in KNOWN:
        nearest = nearest_name(metric, KNOWN)
        raise ValueError(f"unknown metric {metric!r}{f'; did you mean {nearest!r}?' if nearest else ''}")
    if limit == "sla":
        if not metric.startswith("latency_ms_"):
            raise ValueError(f"{metric} is no latency, so it cannot be held against the SLA")
        return Constraint(text, metric, relation == "<=", None)
    return Constraint(text, metric, relation == "<=", _limit(metric, limit))


def _limit(metric: str, text: str) -> float:
    """Return a limit in the metric's unit, which need not be written."""
    try:
        value = float(text)
    except ValueError:
        if metric.startswith("latency_ms_"):
            return parse_duration_ns(text) / NS_PER_MS
        if is_share(metric):
            return parse_fraction_or_zero(text)
        if metric.endswith("_per_s"):
            return parse_rate_per_s(text)
        if metric == COST:
            return parse_price_usd_per_h(text)
        raise ValueError(f"the limit of {metric} is a number") from None
    if not math.isfinite(value):
        raise ValueError("a limit has to be finite")
    return value


def has_price(prepared: PreparedScenario) -> bool:
    """Return whether every device of a design has a price."""
    return bool(np.all(np.isfinite(prepared.view.device_price_usd_per_h)))


def all_metrics(summary: ScenarioSummary, prepared: PreparedScenario) -> dict[str, Metric]:
    """Return the metrics of a design, and what its fleet costs an hour."""
    return {**summary.metrics, COST: _cost(summary, prepared)}


def _cost(summary: ScenarioSummary, prepared: PreparedScenario) -> Metric:
    if not has_price(prepared):
        return Metric(None, None, None, "a device has no price", ())
    if prepared.system.scaling:
        # Only nodes that are on cost: what the fleet costs is what its correct predictions cost.
        pairs: Sequence[tuple[float | None, float | None]] = list(
            zip(
                summary.metrics["cost_per_million_correct"].values,
                summary.metrics["correct_predictions_per_s"].values,
                strict=True,
            )
        )
        values = tuple(None if a is None or b is None else a * b * S_PER_H / 1e6 for a, b in pairs)
        interval = t_interval(values, summary.confidence)
        return Metric(interval.value, interval.low, interval.high, interval.reason, values)
    price = prepared.cells * math.fsum(np.asarray(prepared.view.device_price_usd_per_h).tolist())
    n = summary.replications
    return Metric(price, price, price, None, (price,) * n)
