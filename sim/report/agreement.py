"""A simulated run held against a measured one of the same scenarios: signed errors, their intervals, and limits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sim.report.calibration_error import CalibrationError, are_predictions_of, calibration_errors
from sim.report.json_files import read_summary
from sim.report.replications import Replications, read_replications
from sim.report.rundir import RunDirectoryError
from sim.stats.interval import Interval, paired_difference, paired_ratio, t_interval
from sim.stats.measure import CURVE_TAILS

__all__ = ["LIMITED", "Agreement", "Comparison", "Row", "compare_runs", "markdown", "render", "unfit"]

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
    low, high : float or None
        Of the error's interval; None where a run has none.
    limit : float or None
        What the error was asked to stay within.
    """

    metric: str
    unit: str
    predicted: float | None
    measured: float | None
    error: float | None
    low: float | None = None
    high: float | None = None
    limit: float | None = None

    @property
    def kept(self) -> bool | None:
        """Whether the error is within the limit; None without a limit."""
        if self.limit is None:
            return None
        return self.error is not None and abs(self.error) <= self.limit


@dataclass(frozen=True, slots=True)
class Comparison:
    """One scenario of both runs.

    Attributes
    ----------
    label : str
    rows : tuple of Row
    predicted_curve, measured_curve : tuple of (float, float)
        Latency in ms over its percentiles.
    paired : tuple of int
        Numbers of the replications that both have, which all of the above is about; empty where they could not be
        paired, and it is about all that each run has.
    unpaired : str
        Why they could not be paired.
    """

    label: str
    rows: tuple[Row, ...]
    predicted_curve: tuple[tuple[float, float], ...]
    measured_curve: tuple[tuple[float, float], ...]
    paired: tuple[int, ...] = ()
    unpaired: str = ""


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
    simulations : int
        Runs whose mean is what is predicted.
    calibration : bool or None
        Whether intervals hold what the error of the calibration adds, which all replications share; None where what is
        predicted does not stand on the calibration of the measured run.
    """

    name: str
    comparisons: tuple[Comparison, ...]
    unmatched: tuple[str, ...]
    unfit: tuple[str, ...]
    simulations: int = 1
    calibration: bool | None = None

    @property
    def about(self) -> tuple[str, ...]:
        """What is predicted, where that is a mean, and what intervals are of."""
        averaged = (f"Predicted is the mean of {self.simulations} simulations",) if self.simulations > 1 else ()
        if self.calibration is None:
            return averaged
        return (*averaged, f"Intervals are {'with' if self.calibration else 'without'} the calibration's own error")

    @property
    def missed(self) -> bool:
        """Whether any error is beyond its limit."""
        return any(row.kept is False for one in self.comparisons for row in one.rows)


def unfit(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """Return why a measured run was marked unfit; nothing for one that is fit, or simulated."""
    observation = summary.get("observation")
    if not isinstance(observation, Mapping) or observation.get("fit", True):
        return ()
    return tuple(str(reason) for reason in observation.get("reasons", ())) or ("it was marked unfit",)


def compare_runs(
    predicted: Path | Sequence[Path], measured: Path, limits: Mapping[str, float] | None = None
) -> Agreement:
    """Hold a simulated run against a measured one, scenario by scenario.

    Where the runs share their seed, the replications that both have are compared, pair by pair: a measured run has
    only those that were not disturbed, and at high load replications differ more than predictions err. Otherwise all
    that each run has is compared, and intervals take the two as independent.

    Parameters
    ----------
    predicted, measured : Path
        Run directories. Of several simulated ones, of the same queries with different service draws, what is predicted
        for a replication is the mean over them, which is less a matter of chance.
    limits : mapping of str to float, optional
        Largest absolute relative error of a metric, by the names of `Row.metric`.

    Raises
    ------
    RunDirectoryError
        If one cannot be read, or they have no scenario in common; if several simulated ones have different scenarios
        or seeds, or no replication in common with the measured one.
    """
    runs = [predicted] if isinstance(predicted, Path) else [*predicted]
    ours, theirs = _averaged(runs), _read(measured)
    calibrated = are_predictions_of(runs, measured)
    if not calibrated:
        theirs = [replace(one, own_error=None) for one in theirs]
    by_parameters = {_key(one.summary): one for one in ours}
    pairs = [(by_parameters.pop(_key(one.summary), None), one) for one in theirs]
    if len(pairs) == 1 and pairs[0][0] is None and len(by_parameters) == 1:
        # One scenario each: what they were called does not matter.
        pairs = [(by_parameters.popitem()[1], pairs[0][1])]
    unmatched = [f"{_label(one.summary)} was measured only" for ours_one, one in pairs if ours_one is None]
    unmatched += [f"{_label(one.summary)} was predicted only" for one in by_parameters.values()]
    comparisons = tuple(_compare(ours_one, one, limits or {}) for ours_one, one in pairs if ours_one is not None)
    if not comparisons:
        raise RunDirectoryError(f"{runs[0]} and {measured} have no scenario in common: {'; '.join(unmatched)}")
    alone = next((one for one in comparisons if one.unpaired), None)
    if len(runs) > 1 and alone is not None:
        message = f"several predictions go against the same replications only; of {alone.label}, {alone.unpaired}"
        raise RunDirectoryError(message)
    summary = read_summary(measured)
    name = str(summary.get("name", measured.name))
    known = any(one.own_error is not None for one in theirs) if calibrated else None
    return Agreement(name, comparisons, tuple(unmatched), unfit(summary), len(runs), known)


@dataclass(frozen=True, slots=True)
class _Side:
    """A scenario of one run: its entry of the summary, and its replications where these were kept."""

    summary: Mapping[str, Any]
    seed: int | None
    replications: Replications | None
    own_error: CalibrationError | None = None
    """What a prediction from its calibration is off by; None of a run that is no such session, or does not know."""

    def values(self, name: str, numbers: Sequence[int], *, of_path: bool = False) -> list[float | None]:
        """Return a metric, or the share of a path, of the replications with these numbers."""
        assert self.replications is not None
        group = self.replications.path_mix if of_path else self.replications.metrics
        values = group.get(name) or [0.0 if of_path else None] * len(self.replications.numbers)
        by_number = dict(zip(self.replications.numbers, values, strict=True))
        return [by_number[number] for number in numbers]

    def curve(self, numbers: Sequence[int]) -> tuple[tuple[float, float], ...]:
        """Return latency over its percentiles as the mean over these replications, as far as all of them have it."""
        assert self.replications is not None
        by_number = dict(zip(self.replications.numbers, self.replications.curve_ms, strict=False))
        curves = [by_number.get(number, ()) for number in numbers]
        points = zip(CURVE_TAILS, zip(*curves, strict=False), strict=False)
        return tuple((1.0 - tail, math.fsum(values) / len(values)) for tail, values in points)


def _read(run: Path) -> list[_Side]:
    summary = read_summary(run)
    scenarios = summary["scenarios"]
    kept = read_replications(run)
    if kept is not None and len(kept.scenarios) != len(scenarios):
        raise RunDirectoryError(f"{run}: summary.json and replications.json are not of the same run")
    if kept is None:
        return [_Side(one, None, None) for one in scenarios]
    rows = zip(scenarios, kept.scenarios, calibration_errors(summary), strict=True)
    return [_Side(one, kept.seed, own, error) for one, own, error in rows]


def _averaged(runs: Sequence[Path]) -> list[_Side]:
    """Return the scenarios of a run; of several, with the means over the runs for each replication that all have."""
    sides = [_read(run) for run in runs]
    first = sides[0]
    for run, others in zip(runs[1:], sides[1:], strict=True):
        if [_key(one.summary) for one in others] != [_key(one.summary) for one in first]:
            raise RunDirectoryError(f"{runs[0]} and {run} are not of the same scenarios")
        if any(one.replications is None or one.seed != first[0].seed for one in (*first, *others)):
            raise RunDirectoryError(f"{runs[0]} and {run} are not of the same queries: they need one seed")
    return first if len(runs) == 1 else [_mean_of(of_runs) for of_runs in zip(*sides, strict=True)]


def _mean_of(sides: Sequence[_Side]) -> _Side:
    """Return the mean of one scenario over several runs, replication by replication; None where a run lacks a value."""
    kept = [side.replications.numbers for side in sides if side.replications is not None]
    numbers = tuple(number for number in kept[0] if all(number in other for other in kept))

    def means(names: Iterable[str], *, of_path: bool) -> dict[str, list[float | None]]:
        of_runs = ((name, [side.values(name, numbers, of_path=of_path) for side in sides]) for name in names)
        return {name: [_mean(row) for row in zip(*values, strict=True)] for name, values in of_runs}

    paths = {path: 0.0 for side in sides for path in side.summary["path_mix"]}
    curves = [[[value for _, value in side.curve((number,))] for side in sides] for number in numbers]
    averaged = Replications(
        numbers=numbers,
        metrics=means((*PERCENTILES, *RATES), of_path=False),
        path_mix=means(paths, of_path=True),
        curve_ms=tuple(tuple(math.fsum(row) / len(row) for row in zip(*one, strict=False)) for one in curves),
    )
    # What the runs say as a whole is asked of pairs only for the names of their paths.
    return _Side({**sides[0].summary, "path_mix": paths}, sides[0].seed, averaged)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if len(known) == len(values) else None


def _key(scenario: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, str(value)) for key, value in scenario["parameters"].items()))


def _label(scenario: Mapping[str, Any]) -> str:
    return ", ".join(str(value) for value in scenario["parameters"].values()) or "the scenario"


def _compare(ours: _Side, theirs: _Side, limits: Mapping[str, float]) -> Comparison:
    numbers, unpaired = _shared(ours, theirs)
    rows = []
    for name in (*PERCENTILES, *RATES):
        shown = NAMES.get(name, name.removeprefix("latency_ms_"))
        unit = "ms" if name in PERCENTILES else "/s"
        if numbers:
            predicted, measured = (t_interval(one.values(name, numbers)).value for one in (ours, theirs))
            ratio = paired_ratio(ours.values(name, numbers), theirs.values(name, numbers), _confidence(theirs))
        else:
            predicted, measured, ratio = _unpaired_ratio(
                *(one.summary["metrics"].get(name, {}) for one in (ours, theirs))
            )
        if theirs.own_error is not None:
            ratio = theirs.own_error.of_ratio(ratio, name, _confidence(theirs))
        error, low, high = (None if end is None else end - 1.0 for end in (ratio.value, ratio.low, ratio.high))
        rows.append(Row(shown, unit, predicted, measured, error, low, high, limits.get(shown)))
    for path in dict.fromkeys((*theirs.summary["path_mix"], *ours.summary["path_mix"])):
        if numbers:
            mine, other = (one.values(path, numbers, of_path=True) for one in (ours, theirs))
            predicted, measured = t_interval(mine).value, t_interval(other).value
            points = paired_difference(mine, other, _confidence(theirs))
        else:
            mean, other_mean = (float(one.summary["path_mix"].get(path, 0.0)) for one in (ours, theirs))
            predicted, measured, points = mean, other_mean, Interval(mean - other_mean, None, None)
        if theirs.own_error is not None:
            points = theirs.own_error.of_share(points, path, _confidence(theirs))
        limit = limits.get("path mix")
        rows.append(Row(f"{MIX}{path}", "%", predicted, measured, points.value, points.low, points.high, limit))
    predicted_curve, measured_curve = (one.curve(numbers) if numbers else _curve(one.summary) for one in (ours, theirs))
    return Comparison(_label(theirs.summary), tuple(rows), predicted_curve, measured_curve, numbers, unpaired)


def _shared(ours: _Side, theirs: _Side) -> tuple[tuple[int, ...], str]:
    """Return the numbers of the replications that both sides have; if there are none, also why."""
    if ours.replications is None or theirs.replications is None:
        return (), "a run of an older version keeps nothing of its replications"
    if ours.seed != theirs.seed:
        return (), f"their seeds are {ours.seed} and {theirs.seed}"
    numbers = tuple(number for number in theirs.replications.numbers if number in ours.replications.numbers)
    return numbers, "" if numbers else "they have no replication in common"


def _confidence(side: _Side) -> float:
    return float(side.summary.get("confidence", 0.95))


def _unpaired_ratio(
    ours: Mapping[str, float | None], theirs: Mapping[str, float | None]
) -> tuple[float | None, float | None, Interval]:
    """Return predicted, measured and their ratio, with an interval that takes the two as independent."""
    mine, other = ours.get("value"), theirs.get("value")
    if mine is None or other is None or other == 0:
        return mine, other, Interval(None, None, None)
    ratio = mine / other
    widths = [_relative_half_width(one) for one in (ours, theirs)]
    if widths[0] is None or widths[1] is None:
        return mine, other, Interval(ratio, None, None)
    half = abs(ratio) * math.hypot(widths[0], widths[1])
    return mine, other, Interval(ratio, ratio - half, ratio + half)


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
    lines = [f"Predicted against measured: {agreement.name}", *agreement.about, ""]
    lines += [f"UNFIT, not to be judged by: {reason}" for reason in agreement.unfit]
    if agreement.unfit:
        lines.append("")
    header = ("metric", "predicted", "measured", "error", "interval", "limit")
    table = [list(_cells(row)) for one in agreement.comparisons for row in one.rows]
    widths = [max(len(cell) for cell in column) for column in zip(header, *table, strict=True)]
    for one in agreement.comparisons:
        lines.append(f"{one.label}: {_pairing(one)}")
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
    """Return the comparison as a Markdown table, one row a scenario and metric, and what was compared below it."""
    lines = ["| scenario | metric | predicted | measured | error | interval | limit |", "|---|---|---|---|---|---|---|"]
    for one in agreement.comparisons:
        for row in one.rows:
            lines.append("| " + " | ".join((one.label, *_cells(row))) + " |")
    below = [*agreement.about, *(f"{one.label}: {_pairing(one)}" for one in agreement.comparisons)]
    return "\n".join([*lines, "", *(f"{line}.  " for line in below)]).rstrip()


def _pairing(one: Comparison) -> str:
    """Return which replications a comparison is about."""
    if not one.paired:
        return f"not paired, {one.unpaired}"
    return f"replication{'s' if len(one.paired) > 1 else ''} {', '.join(map(str, one.paired))} of both"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (
        cell.ljust(width) if i == 0 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join(("  " + first, *rest)).rstrip()


def _cells(row: Row) -> Iterator[str]:
    """Yield the cells of a row: metric, predicted, measured, error, its interval, limit."""
    yield row.metric
    for value in (row.predicted, row.measured):
        yield "-" if value is None else f"{value:.1%}" if row.unit == "%" else f"{_digits(value)} {row.unit}"
    # Shares differ by points, everything else by a fraction of what was measured.
    unit = " points" if row.unit == "%" else "%"
    yield "-" if row.error is None else f"{100 * row.error:+.1f}{unit}"
    yield "" if row.low is None or row.high is None else f"[{100 * row.low:+.1f}, {100 * row.high:+.1f}]{unit}"
    yield "" if row.limit is None else f"{100 * row.limit:g}{unit} {'kept' if row.kept else 'MISSED'}"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
