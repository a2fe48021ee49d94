"""A run as figures see it: which parameter is the load, and which tell the lines apart."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sim.report.rundir import RunDirectoryError
from sim.spec.units import parse_duration_ns, parse_rate_per_s

__all__ = ["Entry", "Point", "Run", "file_name", "read_run"]


@dataclass(frozen=True, slots=True)
class Point:
    """A metric: its value and interval, None where it is missing."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A scenario.

    Attributes
    ----------
    label : str
        Its parameters but the load, in words.
    load : float or None
        Where it stands on the load axis.
    load_label : str
        The load as it was written.
    data : mapping
        Its entry of ``summary.json``.
    """

    label: str
    load: float | None
    load_label: str
    data: Mapping[str, Any]

    @property
    def saturated(self) -> bool:
        """Whether it has no steady state."""
        return bool(self.data["saturated"])

    @property
    def name(self) -> str:
        """All its parameters in words."""
        return ", ".join(part for part in (self.label, self.load_label) if part)

    def metric(self, name: str) -> Point:
        """Return a metric."""
        entry = self.data["metrics"].get(name, {})
        return Point(entry.get("value"), entry.get("low"), entry.get("high"))


@dataclass(frozen=True, slots=True)
class Run:
    """A run, ready to draw.

    Attributes
    ----------
    name, percentile : str
    load_axis : str or None
        Title of the load axis, with its unit; None where no rate, duration or number is swept.
    entries : tuple of Entry
    """

    name: str
    percentile: str
    load_axis: str | None
    entries: tuple[Entry, ...]

    @property
    def labels(self) -> list[str]:
        """The labels, each once, in order."""
        return list(dict.fromkeys(entry.label for entry in self.entries))

    @property
    def by_class(self) -> Run:
        """The run with every class of queries in the place of the scenario it is part of; itself without classes."""
        entries: list[Entry] = []
        for entry in self.entries:
            classes: Mapping[str, Any] = entry.data.get("classes", {})
            for name, data in classes.items():
                label = ", ".join(part for part in (entry.label, name) if part)
                entries.append(replace(entry, label=label, data={**entry.data, **data}))
            if not classes:
                entries.append(entry)
        return replace(self, entries=tuple(entries))

    def line(self, label: str) -> list[Entry]:
        """Return the entries of a label in the order of their load."""
        return sorted((entry for entry in self.entries if entry.label == label), key=lambda entry: entry.load or 0.0)

    @property
    def loads(self) -> list[str]:
        """The loads as written, each once, in increasing order."""
        ordered = sorted(self.entries, key=lambda entry: entry.load or 0.0)
        return list(dict.fromkeys(entry.load_label for entry in ordered))


def _rate(value: Any) -> float | None:
    try:
        return parse_rate_per_s(value)
    except ValueError:
        return None


def _duration_ms(value: Any) -> float | None:
    try:
        return parse_duration_ns(value) / 1e6 if isinstance(value, str) else None
    except ValueError:
        return None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _load(parameters: Sequence[Mapping[str, Any]]) -> tuple[str | None, str | None, list[float]]:
    """Return the key of the load axis, its title, and where every scenario stands on it."""
    keys = list(parameters[0])
    for convert, title in ((_rate, "offered load, queries/s"), (_duration_ms, "{}, ms"), (_number, "{}")):
        for key in keys:
            values = [convert(one.get(key)) for one in parameters]
            known = [value for value in values if value is not None]
            if len(known) == len(values) and len(set(known)) > 1:
                return key, title.format(key.split(".")[-1]), known
    return None, None, []


def read_run(summary: Mapping[str, Any]) -> Run:
    """Return the run that ``summary.json`` describes.

    Raises
    ------
    RunDirectoryError
        If the summary lacks what figures need.
    """
    try:
        scenarios = summary["scenarios"]
        parameters = [entry["parameters"] for entry in scenarios]
        key, title, loads = _load(parameters)
        entries = tuple(
            Entry(
                ", ".join(str(value) for name, value in one.items() if name != key),
                loads[i] if key is not None else None,
                str(one[key]) if key is not None else "",
                scenarios[i],
            )
            for i, one in enumerate(parameters)
        )
        for entry in entries:
            _ = entry.saturated, entry.metric("latency_ms_p99"), entry.data["sla_ms"]
        return Run(str(summary["name"]), str(summary["percentile"]), title, entries)
    except (KeyError, TypeError, AttributeError) as error:
        raise RunDirectoryError(f"the summary lacks what figures need: {error!r}") from error


def file_name(text: str) -> str:
    """Return `text` as part of a file name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text.replace("/s", " per s")).strip("-").lower()
