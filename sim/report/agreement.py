"""A simulated run held against a measured one of the same scenarios: signed errors, their intervals, and limits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.report.rundir import RunDirectoryError, read_summary

__all__ = ["LIMITED", "Agreement", "Comparison", "Row", "compare_runs", "find_run", "markdown", "render", "unfit"]

PERCENTILES = tuple(f"latency_ms_{name}" for name in ("p50", "p90", "p95", "p99", "p999"))
RATES = ("correct_predictions_per_s", "correct_predictions_within_sla_per_s")
NAMES = {
    "correct_predictions_per_s": "correct/s",
    "correct_predictions_within_sla_per_s": "correct/s in time",
}
MIX = "path mix: "

LIMITED = (*(name.removeprefix("latency_ms_") for name in PERCENTILES), *NAMES.values(), "path mix")
"""Metrics that a limit can be set for."""


@dataclass(frozen=True, slots=True)
class Row:
    """One metric of one scenario.

    Attributes
    ----------
    metric : str
        ``p99``, ``correct/s``, or a path of the mix.
    unit : str
        ``ms``, ``/s``, or ``%`` of the samples.
    predicted, measured : float or None
        None where a run lacks it.
    error : float or None
        Relative, (predicted - measured) / measured; of the path mix the difference of the two shares.
    half_width : float or None
        Of the error's interval; None where a run has none.
    limit : float or None
        What the error was asked to stay within.
    """

    metric: str
    unit: str
    predicted: float | None
    measured: float | None
    error: float | None
    half_width: float | None = None
    limit: float | None = None

    @property
    def kept(self) -> bool | None:
        """Whether the error is within the limit; None without a limit."""
        if self.limit is None:
            return None
        return self.error is not None and abs(self.error) <= self.limit


@dataclass(frozen=True, slots=True)
class Comparison:
    """One scenario of both runs."""

    label: str
    rows: tuple[Row, ...]
    predicted_curve: tuple[tuple[float, float], ...]
    measured_curve: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Every scenario that both runs have.

    Attributes
    ----------
    name : str
        The measured run's experiment.
    comparisons : tuple of Comparison
    unmatched : tuple of str
        Scenarios that only one of the runs has.
    unfit : tuple of str
        Why the measured run is not fit to judge by; empty if it is.
    """

    name: str
    comparisons: tuple[Comparison, ...]
    unmatched: tuple[str, ...]
    unfit: tuple[str, ...]

    @property
    def missed(self) -> bool:
        """Whether any error is beyond its limit."""
        return any(row.kept is False for one in self.comparisons for row in one.rows)


def find_run(reference: str) -> Path:
    """Return a run directory, named by its path or by its name under runs/.

    Raises
    ------
    RunDirectoryError
        If there is none.
    """
    for path in (Path(reference), Path("runs") / reference):
        if (path / "summary.json").is_file():
            return path
    raise RunDirectoryError(f"{reference} is no run: neither it nor {Path('runs') / reference} holds a summary.json")


def unfit(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """Return why a measured run was marked unfit; nothing for one that is fit, or simulated."""
    observation = summary.get("observation")
    if not isinstance(observation, Mapping) or observation.get("fit", True):
        return ()
    return tuple(str(reason) for reason in observation.get("reasons", ())) or ("it was marked unfit",)


def compare_runs(predicted: Path, measured: Path, limits: Mapping[str, float] | None = None) -> Agreement:
    """Hold a simulated run against a measured one, scenario by scenario.

    Intervals take the two runs as independent. Where both were given the same arrivals and sizes that is wider than
    it need be.

    Parameters
    ----------
    predicted, measured : Path
        Run directories.
    limits : mapping of str to float, optional
        Largest absolute relative error of a metric, by the names of `Row.metric`.

    Raises
    ------
    RunDirectoryError
        If one cannot be read, or they have no scenario in common.
    """
    ours, theirs = read_summary(predicted), read_summary(measured)
    by_parameters = {_key(one): one for one in ours["scenarios"]}
    pairs = [(by_parameters.pop(_key(one), None), one) for one in theirs["scenarios"]]
    if len(pairs) == 1 and pairs[0][0] is None and len(by_parameters) == 1:
        # One scenario each: what they were called does not matter.
        pairs = [(by_parameters.popitem()[1], pairs[0][1])]
    unmatched = [f"{_label(one)} was measured only" for ours_one, one in pairs if ours_one is None]
    unmatched += [f"{_label(one)} was predicted only" for one in by_parameters.values()]
    comparisons = tuple(_compare(ours_one, one, limits or {}) for ours_one, one in pairs if ours_one is not None)
    if not comparisons:
        raise RunDirectoryError(f"{predicted} and {measured} have no scenario in common: {'; '.join(unmatched)}")
    return Agreement(str(theirs.get("name", measured.name)), comparisons, tuple(unmatched), unfit(theirs))


def _key(scenario: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, str(value)) for key, value in scenario["parameters"].items()))


def _label(scenario: Mapping[str, Any]) -> str:
    return ", ".join(str(value) for value in scenario["parameters"].values()) or "the scenario"


def _compare(ours: Mapping[str, Any], theirs: Mapping[str, Any], limits: Mapping[str, float]) -> Comparison:
    rows = []
    for name in (*PERCENTILES, *RATES):
        shown = NAMES.get(name, name.removeprefix("latency_ms_"))
        rows.append(
            _row(
                shown,
                "ms" if name in PERCENTILES else "/s",
                ours["metrics"].get(name, {}),
                theirs["metrics"].get(name, {}),
                limits.get(shown),
            )
        )
    for path in dict.fromkeys((*theirs["path_mix"], *ours["path_mix"])):
        mine, other = (float(one["path_mix"].get(path, 0.0)) for one in (ours, theirs))
        rows.append(Row(f"{MIX}{path}", "%", mine, other, mine - other, None, limits.get("path mix")))
    return Comparison(_label(theirs), tuple(rows), _curve(ours), _curve(theirs))


def _row(
    name: str, unit: str, ours: Mapping[str, float | None], theirs: Mapping[str, float | None], limit: float | None
) -> Row:
    mine, other = ours.get("value"), theirs.get("value")
    if mine is None or other is None or other == 0:
        return Row(name, unit, mine, other, None, None, limit)
    ratio = mine / other
    widths = [_relative_half_width(one) for one in (ours, theirs)]
    half = None
    if widths[0] is not None and widths[1] is not None:
        half = abs(ratio) * math.hypot(widths[0], widths[1])
    return Row(name, unit, mine, other, ratio - 1.0, half, limit)


def _relative_half_width(metric: Mapping[str, float | None]) -> float | None:
    value, low, high = metric.get("value"), metric.get("low"), metric.get("high")
    if not value or low is None or high is None:
        return None
    return (high - low) / 2.0 / value


def _curve(scenario: Mapping[str, Any]) -> tuple[tuple[float, float], ...]:
    return tuple((float(point["p"]), float(point["value"])) for point in scenario.get("percentile_curve", ()))


# -- as text ----------------------------------------------------------------------------------------------


def render(agreement: Agreement) -> str:
    """Return the comparison as text, one block a scenario."""
    lines = [f"Predicted against measured: {agreement.name}", ""]
    lines += [f"UNFIT, not to be judged by: {reason}" for reason in agreement.unfit]
    if agreement.unfit:
        lines.append("")
    header = ("metric", "predicted", "measured", "error", "95%", "limit")
    table = [list(_cells(row)) for one in agreement.comparisons for row in one.rows]
    widths = [max(len(cell) for cell in column) for column in zip(header, *table, strict=True)]
    for one in agreement.comparisons:
        lines.append(one.label)
        lines.append(_line(header, widths))
        lines += [_line(list(_cells(row)), widths) for row in one.rows]
        lines.append("")
    lines += [f"{line}: not compared" for line in agreement.unmatched]
    limited = [row for one in agreement.comparisons for row in one.rows if row.limit is not None]
    if limited:
        kept = sum(row.kept is True for row in limited)
        lines.append(f"{kept} of {len(limited)} errors are within their limits")
    return "\n".join(lines).rstrip()


def markdown(agreement: Agreement) -> str:
    """Return the comparison as a Markdown table, one row a scenario and metric."""
    lines = ["| scenario | metric | predicted | measured | error | 95% | limit |", "|---|---|---|---|---|---|---|"]
    for one in agreement.comparisons:
        for row in one.rows:
            lines.append("| " + " | ".join((one.label, *_cells(row))) + " |")
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (
        cell.ljust(width) if i == 0 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join(("  " + first, *rest)).rstrip()


def _cells(row: Row) -> Iterator[str]:
    """Yield the cells of a row: metric, predicted, measured, error, half width, limit."""
    yield row.metric
    for value in (row.predicted, row.measured):
        yield "-" if value is None else f"{value:.1%}" if row.unit == "%" else f"{_digits(value)} {row.unit}"
    # Shares differ by points, everything else by a fraction of what was measured.
    unit = " points" if row.unit == "%" else "%"
    yield "-" if row.error is None else f"{100 * row.error:+.1f}{unit}"
    yield "" if row.half_width is None else f"±{100 * row.half_width:.1f}{unit}"
    yield "" if row.limit is None else f"{100 * row.limit:g}{unit} {'kept' if row.kept else 'MISSED'}"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
