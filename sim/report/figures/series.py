"""A run as figures see it: which parameter is the load, and which tell the lines apart."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sim.spec.units import parse_bytes, parse_duration_ns, parse_fraction_or_zero, parse_rate_per_s

__all__ = ["NEEDS", "Entry", "Point", "Run", "file_name", "read_run"]


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
    def verdict(self) -> str:
        """Whether it meets its SLA: as the table has it; empty if the summary does not say."""
        return str(self.data.get("verdict", ""))

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
    load_key : str or None
        The parameter that is on the load axis.
    scenarios : tuple of mapping
        The entries of ``summary.json``.
    """

    name: str
    percentile: str
    load_axis: str | None
    entries: tuple[Entry, ...]
    load_key: str | None = None
    scenarios: tuple[Mapping[str, Any], ...] = ()

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
                entries.append(replace(entry, label=label, data={**entry.data, **data, "classes": {}}))
            if not classes:
                entries.append(entry)
        return replace(self, entries=tuple(entries))

    @property
    def swept(self) -> list[str]:
        """The parameters that differ between scenarios, in the order of the sweep."""
        keys = self.scenarios[0]["parameters"] if self.scenarios else {}
        return [key for key in keys if len({str(one["parameters"].get(key)) for one in self.scenarios}) > 1]

    @property
    def load_is_rate(self) -> bool:
        """Whether the load axis is an arrival rate, and not some other number that is swept."""
        return self.load_axis is not None and self.load_axis.startswith(RATE_TITLE)

    @property
    def slas_ms(self) -> list[float]:
        """The latency limits, each once, in increasing order."""
        return sorted({float(entry.data["sla_ms"]) for entry in self.entries})

    def line(self, label: str) -> list[Entry]:
        """Return the entries of a label in the order of their load."""
        return sorted((entry for entry in self.entries if entry.label == label), key=lambda entry: entry.load or 0.0)

    @property
    def loads(self) -> list[str]:
        """The loads as written, each once, in increasing order."""
        ordered = sorted(self.entries, key=lambda entry: entry.load or 0.0)
        return list(dict.fromkeys(entry.load_label for entry in ordered))

    def at(self, load: str) -> list[Entry]:
        """Return the entries under a load, as written."""
        return [entry for entry in self.entries if entry.load_label == load]

    def along(self, key: str) -> Run | None:
        """Return the run with another parameter on the load axis; None if its values are no numbers of one kind."""
        axis = _axis(key, [one["parameters"] for one in self.scenarios])
        return None if axis is None else replace(self, **_placed(self.scenarios, (key, *axis)))

    @property
    def certainty(self) -> str:
        """What intervals are, in words; empty if there are none."""
        counts = {int(entry.data.get("replications", 1)) for entry in self.entries}
        if max(counts, default=1) < 2:
            return ""
        shares = {float(entry.data["confidence"]) for entry in self.entries if "confidence" in entry.data}
        levels = ", ".join(f"{100 * share:g}%" for share in sorted(shares))
        times = f"{min(counts)} to {max(counts)}" if len(counts) > 1 else f"{max(counts)}"
        return f"{levels} intervals over {times} replications".strip()


NEEDS = ("sla_ms", "path_mix", "utilisation")
"""What figures need of every scenario, besides that which all readers of a summary need."""

RATE_TITLE = "offered load"


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


def _gigabytes(value: Any) -> float | None:
    try:
        return parse_bytes(value) / 1e9 if isinstance(value, str) else None
    except ValueError:
        return None


def _percent(value: Any) -> float | None:
    try:
        return 100 * parse_fraction_or_zero(value) if isinstance(value, str) and value.endswith("%") else None
    except ValueError:
        return None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


SCALES: tuple[tuple[Callable[[Any], float | None], str], ...] = (
    (_rate, "queries/s"),
    (_duration_ms, "ms"),
    (_gigabytes, "GB"),
    (_percent, "%"),
    (_number, ""),
)
"""What the values of a parameter may be, in the order in which one is looked for as the load axis, and its unit."""

NAMES = {"sla": "SLA", "count": "nodes", "cv": "coefficient of variation of the gaps", "d": "choices of the router"}


def _axis(key: str, parameters: Sequence[Mapping[str, Any]]) -> tuple[str, list[float]] | None:
    """Return the title of a parameter's axis, and where every scenario stands on it; None if it has no axis."""
    for convert, unit in SCALES:
        values = [convert(one.get(key)) for one in parameters]
        known = [value for value in values if value is not None]
        if len(known) == len(values) and len(set(known)) > 1:
            return _axis_title(key, convert, unit), known
    return None


def _axis_title(key: str, convert: Callable[[Any], float | None], unit: str) -> str:
    *above, last = key.split(".")
    if convert is _rate:
        of = f" of {above[1]}" if len(above) > 1 and above[0] == "classes" else ""
        return f"{RATE_TITLE}{of}, {unit}"
    name = NAMES.get(last, last.replace("_", " "))
    of = f" of {above[1]}" if len(above) > 1 and above[0] in ("fleet", "classes") else ""
    return f"{name}{of}{', ' if unit else ''}{unit}"


def _load(parameters: Sequence[Mapping[str, Any]]) -> tuple[str, str, list[float]] | None:
    """Return the key of the load axis, its title, and where every scenario stands on it."""
    for convert, _ in SCALES:
        for key in parameters[0]:
            axis = _axis(key, parameters)
            if axis is not None and all(convert(one.get(key)) is not None for one in parameters):
                return (key, *axis)
    return None


def _placed(scenarios: Sequence[Mapping[str, Any]], axis: tuple[str, str, list[float]] | None) -> dict[str, Any]:
    """Return what of a run depends on the parameter that is on its load axis."""
    key, title, loads = axis or (None, None, [])
    entries = []
    for i, scenario in enumerate(scenarios):
        own = scenario["parameters"]
        entries.append(
            Entry(
                ", ".join(str(value) for name, value in own.items() if name != key),
                loads[i] if key is not None else None,
                str(own[key]) if key is not None else "",
                scenario,
            )
        )
    return {"load_key": key, "load_axis": title, "entries": tuple(entries)}


def read_run(summary: Mapping[str, Any]) -> Run:
    """Return the run that ``summary.json`` describes.

    Parameters
    ----------
    summary : mapping
        Its scenarios have what figures need, `NEEDS`.
    """
    scenarios = tuple(summary["scenarios"])
    axis = _load([entry["parameters"] for entry in scenarios])
    return Run(str(summary["name"]), str(summary["percentile"]), scenarios=scenarios, **_placed(scenarios, axis))


def file_name(text: str) -> str:
    """Return `text` as part of a file name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text.replace("/s", " per s")).strip("-").lower()
