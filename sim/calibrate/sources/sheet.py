"""A CSV with a header: its rows with their lines, those that were chosen, and what its columns hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sim.calibrate.measured_text import Complaints, about_and_body, column_of, numbered_rows
from sim.calibrate.sources.choices import Choices
from sim.calibrate.sources.columns import UNITS_NS, column_unit, find_column

__all__ = ["Sheet", "read_sheet"]


@dataclass(frozen=True)
class Sheet:
    """A CSV that was split into rows.

    Attributes
    ----------
    about : dict
        What the lines `# KEY: VALUE` before the header say.
    line : int
        Line of the header.
    header : list of str
    rows : list of (line, cells)
        The rows that were chosen; all have as many cells as the header.
    complaints : Complaints
        What is wrong so far; nothing was raised yet.
    """

    about: dict[str, str]
    line: int
    header: list[str]
    rows: list[tuple[int, list[str]]]
    complaints: Complaints
    choices: Choices

    @property
    def header_is_bad(self) -> bool:
        """Whether something was wrong with the header, so that rows make no sense."""
        return not self.header or any(
            p.position is not None and p.position.line <= self.line for p in self.complaints.problems
        )

    def raise_for_header(self) -> None:
        """Raise a `SpecError` with everything so far if something is wrong with the header."""
        if self.header_is_bad:
            self.complaints.raise_any()

    def column(self, holds: str) -> int | None:
        """Return the index of the column that holds something, None if there is none."""
        return find_column(
            self.header, holds, self.choices.columns, self.complaints, self.line, alike=self.choices.where
        )

    def missing(self, what: str, remedy: str) -> None:
        """Report that a column is missing."""
        self.complaints.report(self.line, 1, f"missing column: {what}", ",".join(self.header), allowed=remedy)

    def row_unit(self, row: Sequence[str], line: int, index: int | None, shared: str | None) -> str | None:
        """Return the unit of a row's times: what the row says, else the one that all rows share.

        What is none, or contradicts the one that all share, is reported.
        """
        if index is None:
            return shared
        unit = column_unit(row[index])
        if unit is None or unit not in UNITS_NS:
            self.complaints.report(line, column_of(row, index), "unknown unit", row[index], allowed=tuple(UNITS_NS))
            return "ns"
        if shared is not None and unit != shared:
            message = f"mixed units: the row says {unit}, the columns or --unit say {shared}"
            self.complaints.report(line, column_of(row, index), message, row[index])
        return unit


def read_sheet(text: str, file: str, choices: Choices) -> Sheet:
    """Split a CSV into its rows, and report rows that are short or long."""
    complaints = Complaints(file)
    about, skipped, body = about_and_body(text)
    lines = numbered_rows(body, complaints, skipped)
    line, header = next(lines, (skipped + 1, []))
    if not header and not complaints.problems:
        complaints.report(line, 1, "the file is empty", allowed="a header and rows")
    twice = {name for name in header if header.count(name) > 1 and name}
    if twice:
        complaints.report(line, 1, f"two columns are called {', '.join(sorted(twice))}")
    chosen: list[tuple[int, str]] = []
    for name, value in choices.where.items():
        index = find_column(header, "rows", {"rows": name}, complaints, line)
        if index is not None:
            chosen.append((index, value))
    rows = []
    for number, row in lines:
        if complaints.enough:
            break
        if len(row) != len(header):
            complaints.report(number, 1, f"{len(row)} columns, the header has {len(header)}", ",".join(row))
        elif all(row[index] == value for index, value in chosen):
            rows.append((number, row))
    if header and not rows and not complaints.problems:
        complaints.report(line, 1, "no rows" if not chosen else "no rows are as --where says")
    return Sheet(about, line, header, rows, complaints, choices)
