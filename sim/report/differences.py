"""Scenarios against their baselines, metric by metric: which are paired, what differs, and by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sim.report.comparison import Baseline, baselines
from sim.report.replications import Replications, Values
from sim.stats.difference import Difference, difference

__all__ = [
    "Comparison",
    "Pairing",
    "Row",
    "Side",
    "changed_keys",
    "compare_across",
    "compare_within",
    "named_values",
    "unit_of",
]

DRAWN = ("workload", "cells")
"""Keys of an experiment that say which queries are drawn; of a class its name, share and workload do."""


@dataclass(frozen=True, slots=True)
class Side:
    """A scenario of a run, as it is compared.

    Attributes
    ----------
    run : str
        What the run is called.
    parameters : mapping
        What distinguishes the scenario in its run.
    saturated : frozenset of str
        What of it has no steady state: ``""`` for the scenario, and its classes by name.
    seed : int
    confidence : float
        Of the run's own intervals.
    percentile : str
        The latency percentile that has to meet the SLA.
    replications : Replications
    experiment : mapping or None
        The validated scenario as plain values, where it is known.
    chosen : frozenset of str
        Parameters by which it was chosen: it is matched by the others.
    """

    run: str
    parameters: Mapping[str, Any]
    saturated: frozenset[str]
    seed: int
    confidence: float
    percentile: str
    replications: Replications
    experiment: Mapping[str, Any] | None = None
    chosen: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        run: str,
        entry: Mapping[str, Any],
        replications: Replications,
        *,
        seed: int,
        percentile: str,
        experiment: Mapping[str, Any] | None = None,
    ) -> Side:
        """Return the side of a scenario with this entry of `summary.json`."""
        saturated = [name for name, one in entry.get("classes", {}).items() if one["saturated"]]
        return cls(
            run,
            entry["parameters"],
            frozenset([*saturated, *([""] if entry["saturated"] else [])]),
            seed,
            entry["confidence"],
            percentile,
            replications,
            experiment,
        )

    @property
    def label(self) -> str:
        """The parameters in one line; empty without any."""
        return ", ".join(str(value) for value in self.parameters.values())


@dataclass(frozen=True, slots=True)
class Pairing:
    """Which replications are compared.

    Attributes
    ----------
    paired : bool
        Whether replication k of one is held against replication k of the other. Otherwise the two are independent.
    numbers : tuple of int
        Those that both have, where they are paired.
    counts : tuple of int
        How many replications baseline and other have.
    same_queries : bool or None
        Whether both were given the same queries; None where it is not known.
    note : str
        Why they are not paired, or what is left out.
    """

    paired: bool
    numbers: tuple[int, ...]
    counts: tuple[int, int]
    same_queries: bool | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One metric of a comparison.

    Attributes
    ----------
    metric : str
        As in `summary.json`; ``path_mix[PATH]``, ``utilisation[KIND]``, ``waiting_parts[KIND]``, and ``METRIC[CLASS]``
        of a class.
    query_class : str
        Empty for the whole.
    difference : Difference or None
        None where a side has no value.
    reason : str
        Why there is none.
    baseline, values : tuple
        By replication.
    """

    metric: str
    query_class: str
    difference: Difference | None
    reason: str
    baseline: tuple[float | None, ...]
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A scenario against its baseline.

    Attributes
    ----------
    where : str
        The parameters that both share; empty if there are none.
    baseline_name, other_name : str
        What tells the two apart.
    baseline, other : Side
    pairing : Pairing
    confidence : float
    rows : tuple of Row
    changed : tuple of str
        Keys of the experiment that differ, with their values where these are short.
    """

    where: str
    baseline_name: str
    other_name: str
    baseline: Side
    other: Side
    pairing: Pairing
    confidence: float
    rows: tuple[Row, ...]
    changed: tuple[str, ...]

    @property
    def title(self) -> str:
        """What is compared, in words."""
        return f"{self.other_name} against {self.baseline_name}" + (f", {self.where}" if self.where else "")

    def row(self, metric: str) -> Row | None:
        """Return the row of a metric, if it has it."""
        return next((row for row in self.rows if row.metric == metric), None)


def compare_across(
    baseline: Sequence[Side], other: Sequence[Side], confidence: float | None = None
) -> tuple[list[Comparison], list[str]]:
    """Compare the scenarios of two runs that have equal parameters, but for those they were chosen by.

    If there is one scenario each, these are compared whatever their parameters.

    Parameters
    ----------
    baseline, other : sequence of Side
    confidence : float, optional
        Of the intervals, within (0, 1); by default that of the baseline's run.

    Returns
    -------
    list of Comparison
        In the order of the baseline's scenarios.
    list of str
        What only one of the runs has.
    """
    if len(baseline) == len(other) == 1:
        return [_compared(baseline[0], other[0], confidence)], []
    by_parameters = {_key(one): one for one in other}
    found = []
    alone = []
    for one in baseline:
        match = by_parameters.pop(_key(one), None)
        if match is None:
            alone.append(f"{one.label or 'a scenario'} is in {one.run} only")
        else:
            found.append(_compared(one, match, confidence))
    alone += [f"{one.label or 'a scenario'} is in {one.run} only" for one in by_parameters.values()]
    return found, alone


def compare_within(sides: Sequence[Side], baseline: Baseline, confidence: float | None = None) -> list[Comparison]:
    """Compare the scenarios of one run with its baseline: those that differ in nothing that it does not name.

    Parameters
    ----------
    sides : sequence of Side
    baseline : str, mapping or None
        A label of the sweep, or parameters; see `sim.report.comparison.check_baseline`.
    confidence : float, optional
        As in `compare_across`.
    """
    indices = baselines([side.parameters for side in sides], baseline)
    return [
        _compared(sides[index], side, confidence)
        for side, index in zip(sides, indices, strict=True)
        if index is not None
    ]


def unit_of(metric: str) -> str:
    """Return the unit of a metric as it is written after a number; shares have none."""
    name = metric.partition("[")[0]
    if name.startswith("latency_ms_"):
        return "ms"
    if name.endswith("_per_s"):
        return "/s"
    return {"energy_j_per_million_correct": "J", "cost_per_million_correct": "$"}.get(name, "")


def _key(side: Side) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, str(value)) for key, value in side.parameters.items() if key not in side.chosen))


def _compared(baseline: Side, other: Side, confidence: float | None) -> Comparison:
    confidence = baseline.confidence if confidence is None else confidence
    where, *names = _names(baseline, other)
    pairing = _pairing(baseline, other)
    rows = tuple(_rows(baseline, other, pairing, confidence))
    changed = changed_keys(baseline.experiment, other.experiment)
    return Comparison(where, names[0], names[1], baseline, other, pairing, confidence, rows, changed)


def _names(baseline: Side, other: Side) -> tuple[str, str, str]:
    """Return what the two share, and what tells each apart."""
    shared = [str(value) for key, value in baseline.parameters.items() if other.parameters.get(key) == value]
    own = [
        ", ".join(
            [
                *([one.run] if baseline.run != other.run else []),
                *(str(value) for key, value in one.parameters.items() if another.parameters.get(key) != value),
            ]
        )
        for one, another in ((baseline, other), (other, baseline))
    ]
    return ", ".join(shared), own[0] or baseline.run, own[1] or other.run


def _pairing(baseline: Side, other: Side) -> Pairing:
    """Pair replications of one number where the seed is the same.

    They share their random numbers then, whatever else differs, so pairs are independent of each other and the two of
    a pair are not. Different seeds share nothing.
    """
    ours, theirs = baseline.replications.numbers, other.replications.numbers
    counts = len(ours), len(theirs)
    if baseline.seed != other.seed:
        return Pairing(False, (), counts, False, f"their seeds are {baseline.seed} and {other.seed}")
    numbers = tuple(number for number in ours if number in theirs)
    if not numbers:
        return Pairing(False, (), counts, False, "they have no replication in common")
    left = [f"{len(have) - len(numbers)} of {one.run}" for have, one in ((ours, baseline), (theirs, other))]
    note = " and ".join(text for text in left if not text.startswith("0 "))
    same = None
    if baseline.experiment is not None and other.experiment is not None:
        same = _drawn(baseline.experiment) == _drawn(other.experiment)
    return Pairing(True, numbers, counts, same, f"{note} left out, which the other lacks" if note else "")


def _drawn(experiment: Mapping[str, Any]) -> list[Any]:
    classes = experiment.get("classes") or ()
    return [
        *(_plain(experiment.get(key)) for key in DRAWN),
        [[one.get(key) for key in ("name", "share", "workload")] for one in classes],
    ]


def _plain(value: Any) -> Any:
    """Leave out of a workload what decides only about measuring."""
    return {key: one for key, one in value.items() if key != "warmup"} if isinstance(value, Mapping) else value


def _rows(baseline: Side, other: Side, pairing: Pairing, confidence: float) -> list[Row]:
    rows = []
    groups = [("", baseline.replications, other.replications)]
    for name in dict.fromkeys((*baseline.replications.classes, *other.replications.classes)):
        mine, theirs = (one.replications.classes.get(name) for one in (baseline, other))
        if mine is not None and theirs is not None:
            groups.append((name, mine, theirs))
    for query_class, mine, theirs in groups:
        ours, others = named_values(mine), named_values(theirs)
        for name in dict.fromkeys((*ours, *others)):
            metric = f"{name}[{query_class}]" if query_class else name
            values = [
                _values(one, found, name, pairing)
                for one, found in ((mine, ours.get(name)), (theirs, others.get(name)))
            ]
            reason = _why_not(name, query_class, baseline, other, *values)
            found = None
            if not reason:
                found = difference(*values, paired=pairing.paired, confidence=confidence)
            rows.append(Row(metric, query_class, found, reason, tuple(values[0]), tuple(values[1])))
    return rows


def named_values(one: Replications) -> Values:
    """Return everything that was measured, by the names that limits use."""
    groups = {"path_mix": one.path_mix, "utilisation": one.utilisation, "waiting_parts": one.waiting_parts}
    return one.metrics | {f"{group}[{name}]": found[name] for group, found in groups.items() for name in found}


def _values(one: Replications, found: list[float | None] | None, name: str, pairing: Pairing) -> list[float | None]:
    """Return the values of the replications that are compared; none where the scenario lacks the metric."""
    if not found:
        # A path that a scenario has not got serves nothing.
        found = [0.0 if name.startswith("path_mix[") else None] * len(one.numbers)
    if not pairing.paired:
        return found
    by_number = dict(zip(one.numbers, found, strict=True))
    return [by_number[number] for number in pairing.numbers]


def _why_not(
    metric: str,
    query_class: str,
    baseline: Side,
    other: Side,
    mine: Sequence[float | None],
    theirs: Sequence[float | None],
) -> str:
    """Return why a metric cannot be compared; nothing where it can."""
    names = _names(baseline, other)[1:]
    lacking = [name for name, values in zip(names, (mine, theirs), strict=True) if None in values]
    if not lacking:
        return ""
    saturated = [name for name, one in zip(names, (baseline, other), strict=True) if {"", query_class} & one.saturated]
    if saturated and metric.startswith(("latency_ms_", "waiting_parts[")):
        return f"saturated: {' and '.join(saturated)}"
    return f"a replication lacks it: {' and '.join(lacking)}"


def changed_keys(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return the keys in which two experiments differ, with their values where these are short."""
    if one is None or other is None:
        return ()
    mine, theirs = _leaves(one), _leaves(other)
    keys = [key for key in dict.fromkeys((*mine, *theirs)) if mine.get(key) != theirs.get(key)]
    shown = []
    for key in keys:
        texts = ["none" if values.get(key) is None else str(values[key]) for values in (mine, theirs)]
        shown.append(f"{key}: {texts[0]} -> {texts[1]}" if max(map(len, texts)) <= 24 else key)
    return tuple(shown)


NO_DIFFERENCE = ("name", "report", "seed", "replications")
"""Keys that do not change what happens in a replication of a given number and seed."""


def _leaves(experiment: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def visit(path: str, value: Any) -> None:
        if isinstance(value, Mapping) and value:
            for key, one in value.items():
                visit(f"{path}.{key}" if path else str(key), one)
        elif isinstance(value, list | tuple) and value and all(isinstance(one, Mapping) for one in value):
            for number, one in enumerate(value):
                visit(f"{path}.{one.get('name', number)}", one)
        else:
            found[path] = value

    visit("", {key: value for key, value in experiment.items() if key not in NO_DIFFERENCE})
    return found
