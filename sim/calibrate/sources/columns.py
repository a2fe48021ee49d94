"""What the columns of a CSV hold, by their names: sizes, times and their units, percentiles."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence

from sim.calibrate.measured_text import LARGEST, Complaints, column_of

__all__ = [
    "ALIASES",
    "UNITS_NS",
    "column_unit",
    "find_column",
    "is_mean",
    "name_in",
    "percentile_level",
    "shared_unit",
    "statistic_column",
    "time_columns",
    "time_ns",
    "whole_size",
]

UNITS_NS: dict[str, float] = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}

_SPELLED = {"µs": "us", "μs": "us", "usec": "us", "msec": "ms", "nsec": "ns", "sec": "s", "secs": "s", "seconds": "s"}
_UNIT = re.compile(r"(?:^|[\s_\-.(\[/,])(ns|nsec|us|µs|μs|usec|ms|msec|s|secs?|seconds)[)\]]?$", re.IGNORECASE)
_TIME_WORDS = re.compile(r"latency|service|time|duration|response", re.IGNORECASE)
_PERCENTILE = re.compile(
    r"(?:(p|q)\s*_?(\d+(?:\.\d+)?)|(\d+(?:\.\d+)?)\s*(?:th)?\s*_?(?:%|percentile|pct|th))", re.IGNORECASE
)
_CELL = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([a-zA-Zµμ]*)")

_LEVEL_NAMES = frozenset({"percentile", "percentiles", "quantile", "quantiles"})
_STATISTIC_NAMES = frozenset({"metric", "stat", "stats", "statistic", "statistics", "measure", "aggregate", "summary"})
_MEANS = frozenset({"mean", "avg", "average"})
_STATISTICS = _MEANS | {"median", "std", "stddev", "stdev", "var", "variance", "sd"}
_FIRST_ROWS = 100

ALIASES: dict[str, tuple[str, ...]] = {
    "size": ("batch", "batch_size", "batch size", "batchsize", "query_size", "samples_per_query", "candidates", "size"),
    "model": ("model", "model_name"),
    "representation": ("representation", "embedding"),
    "device": ("device", "instance", "gpu", "hardware"),
    "stage": ("stage",),
    "block": ("block",),
    "repeat": ("sample", "repeat", "iteration"),
    "unit": ("unit", "time_unit"),
    "queries": ("request_count", "queries", "count"),
}
"""By what a column holds: names that are recognised, whatever their case."""


def find_column(
    header: Sequence[str],
    holds: str,
    choices: Mapping[str, str],
    complaints: Complaints,
    line: int,
    alike: Collection[str] = (),
) -> int | None:
    """Return the index of a column by the name that was chosen, else by the names that are recognised.

    A chosen name that is not there is reported, and so are several that are recognised, but for those that are chosen
    to hold something else, and those that are `alike` in all rows that were chosen, where there is another one.
    """
    names = [name.lower() for name in header]
    chosen = choices.get(holds)
    if chosen is not None:
        if chosen.lower() in names:
            return header.index(chosen) if chosen in header else names.index(chosen.lower())
        complaints.report(line, 1, f"no column for the {holds} of that name", chosen, allowed=header)
        return None
    others = {name.lower() for name in choices.values()}
    recognised = [name for name in ALIASES.get(holds, ()) if name not in others]
    found = [index for index, name in enumerate(names) if name in recognised]
    found = [index for index in found if header[index] not in alike] or found
    if len({header[index] for index in found}) > 1:
        message = f"several columns may hold the {holds}: {', '.join(header[index] for index in found)}"
        complaints.report(line, 1, message, allowed=f"--column {holds}=NAME")
    return found[0] if found else None


def column_unit(name: str) -> str | None:
    """Unit that the name of a column ends in: "ns", "us", "ms", "s"; None if it ends in none."""
    match = _UNIT.search(name.strip())
    if match is None:
        return None
    unit = match[1].lower()
    return _SPELLED.get(unit, unit)


def percentile_level(name: str) -> float | None:
    """Quantile level that a column holds by its name: p99, p99.9, p999_ns, 95th percentile, median, min, max latency.

    Returns
    -------
    float or None
        In [0, 1]; None if the name is not that of a percentile.
    """
    text = name.strip().lower()
    bare = _words(_UNIT.sub("", text))
    if bare in (["min"], ["minimum"]):
        return 0.0
    if bare in (["max"], ["maximum"]):
        return 1.0
    if bare == ["median"]:
        return 0.5
    match = _PERCENTILE.search(text)
    if match is None or (match.start() > 0 and text[match.start() - 1].isalnum()):
        return None
    digits = match[2] or match[3]
    if "." not in digits and len(digits) > 2 and digits != "100":
        # p999 is a way to write p99.9.
        digits = f"{digits[:2]}.{digits[2:]}"
    percent = float(digits) * (100 if match[1] == "q" else 1)
    return round(percent / 100, 9) if percent <= 100 else None


def statistic_column(header: Sequence[str], rows: Sequence[Sequence[str]]) -> int | None:
    """Return the column that says which percentile or mean the time of a row is; None if no column does.

    It is called percentile or quantile; or metric, statistic or the like, with such names in the first rows.
    """
    for index, name in enumerate(header):
        words = _words(name)
        if len(words) != 1:
            continue
        if words[0] in _LEVEL_NAMES:
            return index
        # A metric may also be something else, of which a row's time is a sample.
        cells = {row[index] for row in rows[:_FIRST_ROWS]} if words[0] in _STATISTIC_NAMES else set()
        if any(percentile_level(cell) is not None or _STATISTICS.intersection(_words(cell)) for cell in cells):
            return index
    return None


def is_mean(name: str) -> bool:
    """Whether a column holds means by its name: mean_ms, avg latency, average."""
    words = _words(_UNIT.sub("", name.strip()))
    return len(words) == 1 and words[0] in _MEANS


def _words(name: str) -> list[str]:
    """Words of a name in small letters, without those that any time has in its name."""
    return [word for word in re.sub(r"[^a-z]+", " ", name.lower()).split() if not _TIME_WORDS.fullmatch(word)]


def time_columns(header: Sequence[str]) -> list[int]:
    """Return the columns that hold times by their names: those with a word for it or a unit, and no percentiles."""
    return [
        index
        for index, name in enumerate(header)
        if percentile_level(name) is None
        and (_TIME_WORDS.search(name) or column_unit(name))
        and name.lower() not in ALIASES["unit"]
    ]


def shared_unit(
    header: Sequence[str], columns: Sequence[int], chosen: str | None, line: int, complaints: Complaints
) -> str | None:
    """Return the unit that the names of some columns agree on, else the chosen one; None is for want of both.

    Names that disagree, with each other or with the choice, are reported.
    """
    found: dict[str, int] = {}
    for index in columns:
        unit = column_unit(header[index])
        if unit is not None:
            found.setdefault(unit, index)
    if chosen is not None:
        found.setdefault(chosen, -1)
    if len(found) > 1:
        where = column_of(header, max(found.values()))
        complaints.report(line, where, f"mixed units: {' and '.join(sorted(found))}", allowed="one unit in all columns")
        return None
    return next(iter(found), None)


def time_ns(
    row: Sequence[str], index: int, unit: str | None, line: int, complaints: Complaints, *, zero: bool = False
) -> int:
    """Return a time in whole ns; what is no positive time is reported, and 1 stands for it.

    A cell may give its unit itself ("3.2 ms"); one that is not the column's is reported.
    """
    written = row[index]
    match = _CELL.fullmatch(written)
    column = column_of(row, index)
    if match is None:
        complaints.report(line, column, "not a time", written, allowed="a positive number")
        return 1
    own = _SPELLED.get(match[2].lower(), match[2].lower()) or None
    if own is not None and own not in UNITS_NS:
        complaints.report(line, column, "unknown unit", written, allowed=tuple(UNITS_NS))
        return 1
    if own is not None and unit is not None and own != unit:
        complaints.report(line, column, f"mixed units: this time is in {own}, the column in {unit}", written)
        return 1
    value = float(match[1]) * UNITS_NS[own or unit or "ns"]
    if own is None and unit is None:
        complaints.report(line, column, "a time without a unit", written, allowed="--unit ns, us, ms or s")
        return 1
    if not value < LARGEST or value < 0 or (value == 0 and not zero):
        what = "negative" if value < 0 else "not positive" if value == 0 else "longer than 146 years"
        complaints.report(line, column, f"the time is {what}", written)
        return 1
    return max(round(value), 1)


def name_in(row: Sequence[str], index: int, line: int, what: str, complaints: Complaints) -> str:
    """Return the name in a cell; an empty cell is reported."""
    if not row[index]:
        complaints.report(line, column_of(row, index), f"the {what} has no name")
    return row[index]


def whole_size(row: Sequence[str], index: int, line: int, complaints: Complaints) -> int:
    """Return a query size; what is none is reported, and 1 stands for it."""
    written = row[index]
    try:
        value = float(written)
    except ValueError:
        value = math.nan
    if not (1 <= value < LARGEST and value == math.floor(value)):
        complaints.report(
            line, column_of(row, index), "not a query size", written, allowed="a whole number of at least 1"
        )
        return 1
    return int(value)
