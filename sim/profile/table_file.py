"""Quantile tables as CSV: `size,LEVEL,LEVEL,...`, then one row per size of service times in whole ns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.spec.problems import Problem, SpecError
from sim.spec.source import Position

__all__ = ["TableData", "format_service_csv", "parse_service_csv"]

_MAX_PROBLEMS = 20


@dataclass(frozen=True, eq=False, slots=True)
class TableData:
    """The numbers of a table file: sizes int64 (S,), levels float64 (Q,), service_ns int64 (S, Q)."""

    sizes: NDArray[np.int64]
    levels: NDArray[np.float64]
    service_ns: NDArray[np.int64]


def parse_service_csv(content: bytes, file: str) -> TableData:
    """Read a quantile table.

    Parameters
    ----------
    content : bytes
        UTF-8 text of the file. Lines that start with # and empty lines are skipped.
    file : str
        Its name, for messages.

    Returns
    -------
    TableData
        Checked: sizes and levels increase, rows do not decrease, times are positive.

    Raises
    ------
    SpecError
        With every problem found (the first 20) and its line and column.
    """
    reader = _Reader(file)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        reader.report(1, 1, f"not UTF-8 text: {error.reason}", None)
        raise SpecError(reader.problems) from None
    lines = [
        (number, line)
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.startswith("#")
    ]
    if not lines:
        reader.report(1, 1, "the table is empty", None, allowed="a header line `size,LEVEL,...` and rows")
        raise SpecError(reader.problems)
    levels = reader.levels(*lines[0])
    sizes: list[int] = []
    rows: list[list[int]] = []
    for number, line in lines[1:]:
        if len(reader.problems) >= _MAX_PROBLEMS:
            break
        parsed = reader.row(number, line, columns=len(levels) + 1, after=sizes[-1] if sizes else 0)
        if parsed is not None:
            sizes.append(parsed[0])
            rows.append(parsed[1])
    if len(lines) == 1:
        reader.report(lines[0][0], 1, "the table has a header but no rows", None)
    if reader.problems:
        raise SpecError(reader.problems)
    return TableData(
        sizes=np.array(sizes, dtype=np.int64),
        levels=np.array(levels, dtype=np.float64),
        service_ns=np.array(rows, dtype=np.int64),
    )


def format_service_csv(
    sizes: Sequence[int], levels: Sequence[float], rows: Sequence[Sequence[int]] | NDArray[np.int64]
) -> str:
    """Text of a table file with these numbers; parsing it gives them back exactly."""
    lines = ["size," + ",".join(repr(float(level)) for level in levels)]
    lines += [
        f"{int(size)}," + ",".join(str(int(value)) for value in row) for size, row in zip(sizes, rows, strict=True)
    ]
    return "\n".join(lines) + "\n"


class _Reader:
    """Parses lines and gathers problems with their place."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []

    def report(self, line: int, column: int, message: str, value: object, allowed: str | None = None) -> None:
        self.problems.append(
            Problem(
                message=message,
                position=Position(file=self.file, line=line, column=column),
                key_path="",
                value=value,
                allowed=allowed,
                nearest=None,
            )
        )

    def levels(self, number: int, line: str) -> list[float]:
        """Quantile levels of the header; reported problems leave placeholders so that rows can be checked."""
        cells = _cells(line)
        if cells[0][1] != "size":
            self.report(number, 1, "the first column must be called size", cells[0][1], allowed="size,LEVEL,...")
        if len(cells) < 2:
            self.report(number, 1, "no quantile levels in the header", line, allowed="size,LEVEL,...")
        found: list[float] = []
        for column, cell in cells[1:]:
            try:
                level = float(cell)
            except ValueError:
                level = math.nan
            if not 0 <= level <= 1:
                self.report(number, column, "not a quantile level", cell, allowed="a number from 0 to 1")
            elif found and not math.isnan(found[-1]) and level <= found[-1]:
                self.report(number, column, f"quantile levels must increase, {level:g} follows {found[-1]:g}", cell)
            found.append(level)
        return found

    def row(self, number: int, line: str, columns: int, after: int) -> tuple[int, list[int]] | None:
        """Size and service times of a row, or None after reporting what is wrong with it."""
        cells = _cells(line)
        before = len(self.problems)
        if len(cells) != columns:
            self.report(number, 1, f"{len(cells)} columns, the header has {columns}", line)
            return None
        values: list[int] = []
        for column, cell in cells:
            try:
                values.append(int(cell))
            except ValueError:
                self.report(number, column, "not a whole number", cell, allowed="a whole number of ns")
                values.append(0)
                continue
            what = "size" if column == cells[0][0] else "service time"
            if values[-1] <= 0:
                self.report(number, column, f"the {what} must be positive", cell)
            elif what == "size" and values[0] <= after:
                self.report(number, column, f"sizes must increase, {values[0]} follows {after}", cell)
            elif len(values) > 2 and values[-1] < values[-2] and values[-2] > 0:
                self.report(number, column, f"quantiles cross: {values[-1]} ns follows {values[-2]} ns", cell)
        return None if len(self.problems) > before else (values[0], values[1:])


def _cells(line: str) -> list[tuple[int, str]]:
    """Cells of a line with the column where each starts (1-based)."""
    cells = []
    column = 1
    for part in line.split(","):
        cells.append((column + len(part) - len(part.lstrip()), part.strip()))
        column += len(part) + 1
    return cells
