"""Text files of measurements: unpacked, in rows that know their line, with everything that is wrong told at once."""

from __future__ import annotations

import csv
import hashlib
import io
import lzma
from collections.abc import Iterator, Sequence
from pathlib import Path

from sim.spec.problems import Position, Problem, SpecError, nearest_name

__all__ = ["LARGEST", "Complaints", "about_and_body", "column_of", "decoded_text", "numbered_rows"]

MOST_SHOWN = 20

LARGEST = 2**62
"""Times and sizes are 64-bit integers, with room to add a few up."""


def decoded_text(path: Path) -> tuple[str, str]:
    """Return the text of a file, unpacked where its name ends in .xz, and the SHA-256 of its bytes.

    Raises
    ------
    SpecError
        If it cannot be read, is cut off within the compressed data, or is not UTF-8 text, with the place of that.
    """
    try:
        raw = path.read_bytes()
        content = lzma.decompress(raw) if path.suffix == ".xz" else raw
    except lzma.LZMAError as error:
        raise SpecError([Problem(f"{path} cannot be unpacked, it is damaged or cut off: {error}")]) from error
    except OSError as error:
        raise SpecError([Problem(f"{path} cannot be read: {error.strerror or error}")]) from error
    bad = content.find(b"\0")
    message = "a byte that is 0: the file is damaged, or no text"
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Where there is a mark at the beginning, bytes are counted from its end.
        bad = error.start + len(content) - len(error.object)
        message = f"not UTF-8 text: {error.reason}"
    if bad >= 0:
        start = content.rfind(b"\n", 0, bad) + 1
        column = len(content[start:bad].decode("utf-8-sig", errors="replace")) + 1
        where = Position(str(path), content.count(b"\n", 0, bad) + 1, column)
        raise SpecError([Problem(message, where, value=content[bad : bad + 1], allowed="UTF-8 text")])
    return text, hashlib.sha256(raw).hexdigest()


class Complaints:
    """Gathers what is wrong with a file, each with its place."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []

    @property
    def enough(self) -> bool:
        """Whether there are so many that reading on helps nobody."""
        return len(self.problems) >= MOST_SHOWN

    def report(
        self, line: int, column: int, message: str, value: object = None, *, allowed: str | Sequence[str] | None = None
    ) -> None:
        """Add a problem; `allowed` is said in words, or is a list of names of which the nearest is offered."""
        nearest = None
        if allowed is not None and not isinstance(allowed, str):
            nearest = nearest_name(str(value), allowed)
            allowed = ", ".join(allowed)
        where = Position(self.file, line, column)
        self.problems.append(Problem(message, where, value=value, allowed=allowed, nearest=nearest))

    def raise_any(self) -> None:
        """Raise a `SpecError` if there is any problem."""
        if self.problems:
            raise SpecError(self.problems, more=self.enough)


def about_and_body(text: str) -> tuple[dict[str, str], int, str]:
    """Split off the lines `# KEY: VALUE` before the first row.

    Returns
    -------
    about : dict
    lines : int
        How many lines were split off.
    body : str
        The rest.
    """
    about: dict[str, str] = {}
    lines = start = 0
    for line in io.StringIO(text, newline=""):
        if not line.startswith("#"):
            break
        key, found, value = line[1:].partition(":")
        if found:
            about[key.strip()] = value.strip()
        lines += 1
        start += len(line)
    return about, lines, text[start:]


def numbered_rows(body: str, complaints: Complaints, skipped: int = 0) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV that are not empty, each with the line where it starts; cells have no blanks around them.

    What is no CSV is reported and ends the rows.
    """
    lines: list[str] = []

    def remembered() -> Iterator[str]:
        for line in io.StringIO(body, newline=""):
            lines.append(line)
            yield line

    reader = csv.reader(remembered())
    start = skipped + 1
    try:
        for row in reader:
            quote = _unclosed_quote(lines)
            if quote is not None:
                _report_quote(quote, start, complaints)
                return
            if any(row):
                yield start, [cell.strip() for cell in row]
            start = skipped + reader.line_num + 1
            lines.clear()
    except csv.Error as error:
        quote = _unclosed_quote(lines)
        if quote is None:
            complaints.report(start, 1, f"not a CSV: {error}")
        else:
            _report_quote(quote, start, complaints)


def _report_quote(quote: tuple[int, int], start: int, complaints: Complaints) -> None:
    after, column = quote
    message = "a quote that opens here is not closed"
    complaints.report(start + after, column, message, allowed='a cell in quotes as "...", or none')


def _unclosed_quote(lines: Sequence[str]) -> tuple[int, int] | None:
    """Return where a quote opens that a row never closes, as lines after its first and the column; None if none does.

    A quote that was left out lets the cell go on to the next one that opens. So text behind a closing quote on a later
    line means the same; on one line it is only taken to be part of the cell.
    """
    opened: tuple[int, int] | None = None
    before = ","
    for after, line in enumerate(lines):
        if '"' not in line and opened is None:
            continue
        for column, sign in enumerate(line.rstrip("\r\n"), start=1):
            if opened is None:
                if sign == '"' and before == ",":
                    opened, before = (after, column), ""
                else:
                    before = sign
            elif before == '"':
                # Twice it stands for itself, once it is the end of the cell.
                if sign == '"':
                    before = ""
                elif sign != "," and opened[0] < after:
                    return opened
                else:
                    opened, before = None, sign
            else:
                before = sign
        if opened is not None and before == '"':
            opened = None
    return opened


def column_of(row: Sequence[str], index: int) -> int:
    """Column of the line where a cell starts, from 1, for cells that are written without quotes and blanks."""
    return 1 + sum(len(cell) + 1 for cell in row[:index])
