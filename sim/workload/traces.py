"""Columns of trace files: time stamps and sizes, with bad rows named by line."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sim.spec.files import find_file
from sim.spec.problems import Position, Problem, SpecError
from sim.spec.units import LARGEST

__all__ = ["find_trace", "read_sizes", "read_time_stamps"]

UNITS_NS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
STAMP = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?\s*(?:Z|UTC|\+00:?00)?")
MOST_SHOWN = 20


def find_trace(file: str, base_dir: Path, key_path: str) -> Path:
    """Return the trace named `file`: relative to the experiment file's folder, else to the working directory.

    `key_path` is the key that names it, for the message.

    Raises
    ------
    SpecError
        If there is none.
    """
    found = find_file(file, base_dir)
    if found is not None:
        return found
    raise SpecError(
        [
            Problem(
                "no such trace file beside the experiment file or in the working directory; "
                f"name yours with --set {key_path}=FILE",
                key_path=key_path,
                value=file,
            )
        ]
    )


def read_time_stamps(file: Path, column: str | None, unit: str) -> NDArray[np.int64]:
    """Return the time stamps of a trace in ns since its first one.

    Date and time (with up to nine digits of a second) or numbers in `unit`; in order of time.

    Returns
    -------
    int64, shape (arrivals,)

    Raises
    ------
    SpecError
        Naming the lines that are wrong.
    """
    scale = UNITS_NS[unit]

    def parse(text: str) -> int:
        match = STAMP.fullmatch(text)
        if match:
            day, clock, fraction = match.groups()
            seconds = int(datetime.fromisoformat(f"{day} {clock}").replace(tzinfo=UTC).timestamp())
            return seconds * 10**9 + int((fraction or "").ljust(9, "0"))
        return int((Decimal(text) * scale).to_integral_value())

    def parse_bounded(text: str) -> int:
        stamp = parse(text)
        if abs(stamp) > LARGEST // 2:
            raise ValueError
        return stamp

    what = (
        f"a time stamp: a date and time, or a number within {LARGEST / 2 / scale:.3g} {unit} of 0; is the unit right?"
    )
    stamps, lines = _read_column(file, column, parse_bounded, what)
    back = np.flatnonzero(np.diff(stamps) < 0)
    if len(back):
        raise SpecError(
            [
                Problem(
                    "earlier than the row above it: sort the trace by time",
                    Position(str(file), lines[i + 1], 1),
                )
                for i in back[:MOST_SHOWN].tolist()
            ]
        )
    return np.asarray(stamps - stamps[0], dtype=np.int64)


def read_sizes(file: Path, column: str | None) -> NDArray[np.int64]:
    """Return the query sizes of a trace.

    Returns
    -------
    int64, shape (queries,)

    Raises
    ------
    SpecError
        Naming the lines that are wrong.
    """

    def parse(text: str) -> int:
        size = int(text)
        if not 1 <= size < 2**53:
            raise ValueError
        return size

    sizes, _ = _read_column(file, column, parse, "a size: a whole number from 1 on")
    return sizes


def _read_column(
    file: Path, column: str | None, parse: Callable[[str], int], what: str
) -> tuple[NDArray[np.int64], list[int]]:
    """Return the parsed values of one column and the line of each."""
    name = str(file)
    values: list[int] = []
    lines: list[int] = []
    problems: list[Problem] = []
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            rows = csv.reader(stream)
            header = [cell.strip() for cell in next(rows, [])]
            index = _column_index(header, column, name)
            if column is None and _is_value(header[index], parse):
                message = "the first line is the header, and this is a value: name the column"
                raise SpecError([Problem(message, Position(name, 1, 1), value=header[index])])
            for row in rows:
                if not row:
                    continue
                try:
                    values.append(parse(row[index].strip()))
                    lines.append(rows.line_num)
                except (ValueError, ArithmeticError, IndexError):
                    if len(problems) < MOST_SHOWN:
                        shown = row[index] if index < len(row) else "nothing"
                        problems.append(Problem(f"not {what}", Position(name, rows.line_num, 1), header[index], shown))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SpecError([Problem(f"{name} cannot be read: {error}")]) from error
    if not problems and not values:
        problems.append(Problem("the trace has no rows", Position(name, 1, 1)))
    if problems:
        raise SpecError(problems)
    return np.array(values, dtype=np.int64), lines


def _is_value(text: str, parse: Callable[[str], int]) -> bool:
    try:
        parse(text)
    except (ValueError, ArithmeticError):
        return False
    return True


def _column_index(header: list[str], column: str | None, file: str) -> int:
    if column is not None:
        if column in header:
            return header.index(column)
        raise SpecError(
            [Problem(f"no column {column!r}", Position(file, 1, 1), allowed=f"the columns: {', '.join(header)}")]
        )
    if len(header) == 1:
        return 0
    known = [i for i, cell in enumerate(header) if cell.lower() in ("timestamp", "time", "arrival", "size")]
    if len(known) == 1:
        return known[0]
    raise SpecError(
        [
            Problem(
                "several columns: name one with column",
                Position(file, 1, 1),
                allowed=", ".join(header) or "none",
            )
        ]
    )
