"""What a search over designs found: the front as a table, all points as JSON and CSV."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sim.stats.dominance import Standing, in_steps
from sim.stats.merge import Metric, is_share, metric_json

__all__ = ["DesignPoint", "DesignReport", "cell_text", "metric_title", "render_designs"]

LACKING = ("impossible", "failed")
"""What becomes of designs that have no results."""

MOST_UNDECIDED = 10
"""Undecided points that the table lists after the front."""

COST_LIKE = ("cost_usd_per_h", "cost_per_million_correct", "energy_j_per_million_correct", "nodes_on")
"""What one pays: designs are listed and drawn in this order, if it is wanted."""

TITLES = {
    "accuracy_served": ("accuracy served", "%"),
    "sla_attainment": ("served in time", "%"),
    "drop_rate": ("dropped", "%"),
    "correct_predictions_within_sla_per_s": ("correct predictions in time", "1/s"),
    "correct_predictions_per_s": ("correct predictions", "1/s"),
    "queries_per_s": ("queries", "1/s"),
    "samples_per_s": ("samples", "1/s"),
    "energy_j_per_million_correct": ("energy per million correct", "J"),
    "cost_per_million_correct": ("cost per million correct", "US$"),
    "cost_usd_per_h": ("cost", "US$/h"),
    "latency_ms_mean": ("mean latency", "ms"),
    "availability": ("availability", "%"),
    "wasted_work": ("wasted work", "%"),
    "attempts_per_query": ("attempts", "per query"),
    "hedges_per_query": ("hedges", "per query"),
    "retries_per_query": ("retries", "per query"),
    "nodes_on": ("nodes on", ""),
}


@dataclass(frozen=True, slots=True)
class DesignPoint:
    """A design that was tried.

    Attributes
    ----------
    number : int
        From 1 on, in the order tried.
    labels : dict
        What was chosen, by key.
    status : str
        ``"feasible"``, ``"close"`` (feasible, but a constraint is too close to call), ``"infeasible"``,
        ``"impossible"`` (the choices do not go together) or ``"failed"``.
    why : str
        Why it is not feasible; empty if it is.
    replications : int
        0 where it was not run.
    metrics : dict of Metric
        Of the objectives and constraints.
    standing : str
        A `Standing`; empty for what is not feasible.
    by : int or None
        Number of the point that speaks against it.
    run : str or None
        Its run directory, below that of the search.
    """

    number: int
    labels: dict[str, Any]
    status: str
    why: str = ""
    replications: int = 0
    metrics: dict[str, Metric] = field(default_factory=dict)
    standing: str = ""
    by: int | None = None
    run: str | None = None

    @property
    def feasible(self) -> bool:
        """Whether it meets the constraints, for all that is known."""
        return self.status in ("feasible", "close")


@dataclass(frozen=True, slots=True)
class DesignReport:
    """A finished search.

    Attributes
    ----------
    name, model : str
    objectives : tuple of (metric, "max" or "min")
    resolution : dict of float
        The smallest difference that counts, of objectives that have one.
    constraints : tuple of str
    choices : dict of str to list
        Labels of the values, by key.
    points : tuple of DesignPoint
    designs : int
        In the space.
    search : str
        How it was searched.
    seed, search_seed : int
    confidence : float
    assumptions : tuple of str
    evidence : str
        The weakest kind that any point stands on.
    out_dir : Path
    """

    name: str
    model: str
    objectives: tuple[tuple[str, str], ...]
    resolution: dict[str, float]
    constraints: tuple[str, ...]
    choices: dict[str, list[Any]]
    points: tuple[DesignPoint, ...]
    designs: int
    search: str
    seed: int
    search_seed: int
    confidence: float
    assumptions: tuple[str, ...]
    evidence: str
    out_dir: Path

    @property
    def differing(self) -> list[str]:
        """The objectives in which feasible points differ, to the resolution."""
        feasible = [point for point in self.points if point.feasible]
        return [
            name
            for name, _ in self.objectives
            if len({in_steps(p.metrics[name].value or 0.0, self.resolution.get(name, 0.0)) for p in feasible}) > 1
        ]

    @property
    def across(self) -> str:
        """The objective that points are listed and drawn over: what one pays, or else the last that differs."""
        differing = self.differing or [name for name, _ in self.objectives]
        return next((name for name in COST_LIKE if name in differing), differing[-1])

    @property
    def front(self) -> list[DesignPoint]:
        """Points on the front, the best in `across` first."""
        return self._standing(Standing.FRONT)

    @property
    def undecided(self) -> list[DesignPoint]:
        """Points that others seem to beat, but not beyond noise."""
        return self._standing(Standing.UNDECIDED)

    def _standing(self, standing: Standing) -> list[DesignPoint]:
        found = [point for point in self.points if point.standing == standing]
        metric = self.across
        sign = 1.0 if dict(self.objectives)[metric] == "min" else -1.0
        return sorted(found, key=lambda point: (sign * (point.metrics[metric].value or 0.0), point.number))

    def to_json_dict(self) -> dict[str, Any]:
        """Return the content of ``optimise.json``."""
        return {
            "name": self.name,
            "model": self.model,
            "seed": self.seed,
            "search": self.search,
            "search_seed": self.search_seed,
            "designs": self.designs,
            "tried": len(self.points),
            "confidence": self.confidence,
            "objectives": [{"metric": metric, "direction": direction} for metric, direction in self.objectives],
            "resolution": self.resolution,
            "constraints": list(self.constraints),
            "choices": self.choices,
            "front": [point.number for point in self.front],
            "undecided": [point.number for point in self.undecided],
            "evidence": self.evidence,
            "assumptions": list(self.assumptions),
            "points": [_point_json(point) for point in self.points],
        }

    def to_csv(self) -> str:
        """Return the content of ``points.csv``: one row a point, with the interval of every metric."""
        metrics = list(dict.fromkeys(name for point in self.points for name in point.metrics))
        text = io.StringIO(newline="")
        rows = csv.writer(text, lineterminator="\n")
        columns = [column for name in metrics for column in (name, f"{name}_low", f"{name}_high")]
        rows.writerow(["point", *self.choices, "status", "standing", "by", "replications", *columns, "why", "run"])
        for point in self.points:
            numbers: list[str] = []
            for name in metrics:
                metric = point.metrics.get(name)
                ends = (None, None, None) if metric is None else (metric.value, metric.low, metric.high)
                numbers += ["" if one is None else repr(one) for one in ends]
            rows.writerow(
                [
                    point.number,
                    *(point.labels[key] for key in self.choices),
                    point.status,
                    point.standing,
                    "" if point.by is None else point.by,
                    point.replications,
                    *numbers,
                    point.why,
                    point.run or "",
                ]
            )
        return text.getvalue()


def _point_json(point: DesignPoint) -> dict[str, Any]:
    return {
        "number": point.number,
        "choices": point.labels,
        "status": point.status,
        "why": point.why,
        "standing": point.standing,
        "by": point.by,
        "replications": point.replications,
        "metrics": {name: metric_json(metric) for name, metric in point.metrics.items()},
        "run": point.run,
    }


def metric_title(metric: str) -> tuple[str, str]:
    """Return what a metric is called in figures and tables, and its unit."""
    if metric in TITLES:
        return TITLES[metric]
    if metric.startswith("latency_ms_"):
        return f"{metric.removeprefix('latency_ms_')} latency", "ms"
    return metric.replace("_", " "), ""


def cell_text(metric: str, value: float | None) -> str:
    """Return a value of a metric as it stands in a table."""
    if value is None:
        return "-"
    if is_share(metric):
        return f"{100 * value:.2f}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.4g}".removesuffix(".")


def render_designs(report: DesignReport, width: int, *, unicode: bool = True) -> str:
    """Return the front as a table, what may belong to it, and what became of the rest, at most `width` columns wide."""
    width = max(width, 40)
    lines = _wrapped(report.name, width)
    wanted = ", ".join(
        f"{'most' if way == 'max' else 'least'} {metric_title(name)[0]}" for name, way in report.objectives
    )
    lines += _wrapped(f"{report.model}; {wanted}", width)
    if report.constraints:
        lines += _wrapped(f"subject to {'; '.join(report.constraints)}", width)
    tried = len(report.points)
    share = "all" if tried == report.designs else f"{tried:,} of"
    lines += _wrapped(f"{share} {report.designs:,} designs tried ({report.search})", width)
    lines.append("")
    listed = [*report.front, *report.undecided[:MOST_UNDECIDED]]
    if listed:
        lines += _table(report, listed, width, unicode)
        lines.append("")
    lines += [part for line in _conclusions(report) for part in _wrapped(line, width, "  ")]
    lines += ["", "Assumptions"]
    bullet = "·" if unicode else "-"
    for assumption in report.assumptions or ("none beyond what the experiment file says",):
        lines += _wrapped(f"{bullet} {assumption}", width, "    ", "  ")
    lines += [f"Evidence: {report.evidence}", f"Files: {report.out_dir}"]
    text = "\n".join(line.rstrip() for line in lines)
    return text if unicode else text.encode("ascii", "replace").decode("ascii")


def _wrapped(text: str, width: int, later: str = "", first: str = "") -> list[str]:
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=later, break_on_hyphens=False) or [""]


def _mark(point: DesignPoint) -> str:
    return ("?" if point.standing == Standing.UNDECIDED else "") + ("~" if point.status == "close" else "")


@dataclass(frozen=True, slots=True)
class _Column:
    """A choice or an objective, with its cell for each point that is listed.

    `same` says it of all points at once; empty where it tells them apart.
    """

    head: str
    cells: tuple[str, ...]
    left: bool
    same: str


def _columns(report: DesignReport, points: Sequence[DesignPoint]) -> list[_Column]:
    """Return every choice and every objective, whether or not it differs."""
    columns = []
    for key, head in zip(report.choices, _short_keys(list(report.choices)), strict=True):
        cells = tuple(str(point.labels[key]) for point in points)
        columns.append(_Column(head, cells, True, f"{head} {cells[0]}" if len(set(cells)) == 1 else ""))
    for name, _ in report.objectives:
        title, unit = metric_title(name)
        values = [point.metrics[name].value for point in points]
        cells = tuple(cell_text(name, value) for value in values)
        same = ""
        if name not in report.differing or len(set(cells)) == 1:
            known = sorted(value for value in values if value is not None)
            ends = dict.fromkeys(cell_text(name, value) for value in (known[:1] + known[-1:]))
            same = f"{title} {' to '.join(ends) or '-'}{'' if unit == '%' else ' '}{unit}".rstrip()
        columns.append(_Column(f"{_short(name)} {unit}".strip(), cells, False, same))
    return columns


def _table(report: DesignReport, points: Sequence[DesignPoint], width: int, unicode: bool) -> list[str]:
    """Return the table of all choices and objectives.

    Where it is too wide, what is the same for all points is said below it in words; where that does not do either,
    there is one block a point.
    """
    every = _columns(report, points)
    telling = [column for column in every if not column.same]
    numbers = _Column("point", tuple(f"{point.number}{_mark(point)}" for point in points), True, "")
    same = "; ".join(column.same for column in every if column.same)
    words = _wrapped(f"the same for all of these: {same}", width, "  ") if same and len(points) > 1 else []
    lines = _grid([numbers, *every], width, unicode)
    if lines:
        return lines
    lines = _grid([numbers, *telling], width, unicode) if words else []
    if lines:
        return [*lines, "", *words]
    for row, number in enumerate(numbers.cells):
        lines.append(f"point {number}")
        for column in telling if words else every:
            lines += _wrapped(f"{column.head}: {column.cells[row]}", width, "      ", "  ")
    return [*lines, *words]


def _grid(columns: Sequence[_Column], width: int, unicode: bool) -> list[str]:
    """Return columns side by side; nothing where they are too wide."""
    widths = [max(map(len, [*column.head.split(), *column.cells])) for column in columns]
    whole = sum(widths) + 2 * (len(widths) - 1)
    if whole > width:
        return []

    def line(texts: Sequence[str]) -> str:
        pairs = zip(columns, texts, widths, strict=True)
        return "  ".join(text.ljust(w) if column.left else text.rjust(w) for column, text, w in pairs).rstrip()

    stacked = [textwrap.wrap(one.head, w, break_on_hyphens=False) for one, w in zip(columns, widths, strict=True)]
    depth = max(map(len, stacked))
    tops = [line([("", *[""] * (depth - len(one)), *one)[1 + i] for one in stacked]) for i in range(depth)]
    rows = zip(*(column.cells for column in columns), strict=True)
    return [*tops, ("─" if unicode else "-") * whole, *(line(row) for row in rows)]


def _short_keys(keys: Sequence[str]) -> list[str]:
    """Return the last part of each key, or as many as tell it from the others."""
    parts = [key.replace('"', "").split(".") for key in keys]
    found = []
    for own in parts:
        count = 1
        while count < len(own) and sum(other[-count:] == own[-count:] for other in parts) > 1:
            count += 1
        found.append(".".join(own[-count:]))
    return found


def _short(metric: str) -> str:
    return {
        "correct_predictions_within_sla_per_s": "correct in time",
        "correct_predictions_per_s": "correct",
        "accuracy_served": "accuracy",
        "sla_attainment": "in time",
    }.get(metric) or metric_title(metric)[0].removesuffix(" latency")


def _conclusions(report: DesignReport) -> list[str]:
    """Return in words what the table does not say."""
    points = report.points
    front, undecided = report.front, report.undecided
    lines = []
    if not front:
        lines.append("no design that was tried is feasible:")
        lines += [f"- {why} ({count})" for why, count in _counted([point.why for point in points])]
        return lines
    fixed = [metric_title(name)[0] for name, _ in report.objectives if name not in report.differing]
    if fixed and sum(point.feasible for point in points) > 1:
        how = ", to the resolution" if report.resolution else ""
        lines.append(f"the same for every feasible design{how}: {', '.join(fixed)}")
    feasible = [point for point in points if point.feasible]
    beaten = sum(point.standing == Standing.DOMINATED for point in feasible)
    lines.append(
        f"{len(front)} on the front, {len(undecided)} undecided, {beaten} dominated beyond noise "
        f"(paired {report.confidence:.0%} intervals)"
    )
    if undecided:
        more = f"; {len(undecided) - MOST_UNDECIDED} more are in points.csv" if len(undecided) > MOST_UNDECIDED else ""
        lines.append(f"?: the means of another design are better, but not beyond noise{more}")
    if any(point.status == "close" for point in [*front, *undecided]):
        lines.append("~: whether it meets a constraint is too close to call")
    same = [point for point in points if point.standing == Standing.SAME]
    if same:
        shown = ", ".join(f"{point.number} as {point.by}" for point in same[:8])
        how = ", to the resolution" if report.resolution else " exactly"
        lines.append(f"{len(same)} gave what another did{how}: {shown}{', ...' if len(same) > 8 else ''}")
    for status, words in (
        ("infeasible", "infeasible"),
        ("impossible", "impossible: the choices do not go together"),
        ("failed", "failed"),
    ):
        found = [point for point in points if point.status == status]
        if found:
            reasons = "; ".join(f"{why} ({count})" for why, count in _counted([point.why for point in found])[:3])
            lines.append(f"{len(found)} {words}: {reasons}")
    if feasible and max(point.replications for point in feasible) == 1:
        lines.append("one replication: nothing is known of noise, and the values decide")
    return lines


def _counted(texts: Sequence[str]) -> list[tuple[str, int]]:
    counts: dict[str, int] = {}
    for text in texts:
        counts[text] = counts.get(text, 0) + 1
    return sorted(counts.items(), key=lambda item: -item[1])
