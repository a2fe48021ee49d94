"""Files of measured IDs: counted, or as a stream; one law for every feature, or one for each."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sim.spec.files import find_file
from sim.spec.popularity import CountsPopularitySpec, PopularitySpec, UniformPopularitySpec, ZipfPopularitySpec
from sim.spec.problems import Position, Problem, SpecError
from sim.workload.popularity import (
    MeasuredPopularity,
    Popularity,
    UniformPopularity,
    ZipfPopularity,
    measured_counts,
    measured_stream,
)

__all__ = ["FeatureLaws", "popularity_laws", "read_counts", "read_stream"]

_MOST_SHOWN = 20
_Row = tuple[int | None, list[float]]


@dataclass(frozen=True)
class FeatureLaws:
    """Popularity laws of the features of a model.

    Attributes
    ----------
    described : str
        What the law is, in words.
    every : Popularity or None
        The law of every feature, where they are the same.
    by_feature : mapping of int to Popularity
        Otherwise: by the feature's place in the model file, from 0.
    content_hash : str or None
        SHA-256 of the file, hexadecimal; None without one.
    """

    described: str
    every: Popularity | None
    by_feature: Mapping[int, Popularity]
    content_hash: str | None = None

    def of(self, feature: int) -> Popularity | None:
        """Return the law of a feature; None where the file has none."""
        return self.by_feature.get(feature, self.every)


def popularity_laws(spec: PopularitySpec, base_dir: Path) -> FeatureLaws:
    """Make the laws that are written, reading the file that is named.

    Parameters
    ----------
    spec : PopularitySpec
    base_dir : Path
        Folder of the experiment file; files are looked for there, then in the working directory.

    Raises
    ------
    SpecError
        With every bad line of the file (the first 20), or without a position where there is none.
    """
    if isinstance(spec, UniformPopularitySpec):
        return FeatureLaws("as if every ID were looked up equally often", UniformPopularity(), {})
    if isinstance(spec, ZipfPopularitySpec):
        return FeatureLaws(
            f"as if IDs were looked up by a Zipf law of exponent {spec.exponent:g}", ZipfPopularity(spec.exponent), {}
        )
    file = find_file(spec.file, base_dir)
    if file is None:
        message = "no such file of IDs beside the experiment file or in the working directory"
        raise SpecError([Problem(message, value=spec.file)])
    content = file.read_bytes()
    laws = read_counts(file) if isinstance(spec, CountsPopularitySpec) else read_stream(file)
    words = "counted in" if isinstance(spec, CountsPopularitySpec) else "looked up in the stream"
    every = laws.pop(None, None)
    by_feature = {feature: law for feature, law in laws.items() if feature is not None}
    return FeatureLaws(f"as IDs were {words} {file.name}", every, by_feature, hashlib.sha256(content).hexdigest())


def read_counts(file: Path) -> dict[int | None, MeasuredPopularity]:
    """Read counts of IDs: columns id and count, or ids and count (so many IDs have that count each), maybe feature.

    Returns
    -------
    dict
        Law by feature; None is the law of all, where there is no column of features.

    Raises
    ------
    SpecError
        With every bad line (the first 20).
    """
    reader = _Reader(file, (("id", "count"), ("ids", "count")))
    grouped = "ids" in reader.columns
    counted: dict[int | None, tuple[list[float], list[int]]] = {}
    seen: set[tuple[int | None, float]] = set()
    for feature, (first, count) in reader.rows():
        if grouped and first < 1:
            reader.report("has to be at least 1", "ids", first)
        elif not grouped and (feature, first) in seen:
            reader.report("was counted in a row above", "id", first)
        else:
            counts, ids = counted.setdefault(feature, ([], []))
            counts.append(count)
            ids.append(int(first) if grouped else 1)
            seen.add((feature, first))
    for feature, (counts, _) in counted.items():
        if not sum(counts) > 0:
            of = "" if feature is None else f" of feature {feature}"
            reader.problems.append(Problem(f"no look-up{of} was counted", Position(str(file), 1, 1)))
    reader.stop_if_broken()
    return {feature: measured_counts(counts, ids) for feature, (counts, ids) in counted.items()}


def read_stream(file: Path) -> dict[int | None, MeasuredPopularity]:
    """Read IDs in the order in which they were looked up: a column id, and maybe feature.

    Returns
    -------
    dict
        Law by feature; None is the law of all, where there is no column of features.

    Raises
    ------
    SpecError
        With every bad line (the first 20), or where a feature has fewer than two look-ups.
    """
    reader = _Reader(file, (("id",),))
    streams: dict[int | None, list[int]] = {}
    for feature, (one,) in reader.rows():
        streams.setdefault(feature, []).append(int(one))
    for feature, stream in streams.items():
        if len(stream) < 2:
            of = "" if feature is None else f" of feature {feature}"
            message = f"a stream needs at least two look-ups{of}, for its two halves"
            reader.problems.append(Problem(message, Position(str(file), 1, 1)))
    reader.stop_if_broken()
    return {feature: measured_stream(stream) for feature, stream in streams.items()}


class _Reader:
    """Reads rows of numbers under a header and gathers what is wrong with them."""

    def __init__(self, file: Path, shapes: tuple[tuple[str, ...], ...]) -> None:
        self.name = str(file)
        self.problems: list[Problem] = []
        self.line = 1
        try:
            with file.open(newline="", encoding="utf-8-sig") as stream:
                lines = ((number, line) for number, line in enumerate(stream, start=1) if not line.startswith("#"))
                self.lines = [(number, line) for number, line in lines if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError([Problem(f"{self.name} cannot be read: {error}")]) from error
        header = [cell.strip() for cell in next(csv.reader([self.lines[0][1]]))] if self.lines else []
        self.shape = next((shape for shape in shapes if set(shape) == set(header) - {"feature"}), ())
        if not self.shape or len(set(header)) != len(header):
            allowed = ", or ".join(",".join(shape) for shape in shapes) + "; with a column feature or without"
            line = self.lines[0][0] if self.lines else 1
            raise SpecError(
                [Problem("the header is not that of IDs", Position(self.name, line, 1), "", ",".join(header), allowed)]
            )
        self.columns = header

    def report(self, message: str, column: str, value: object) -> None:
        if len(self.problems) < _MOST_SHOWN:
            self.problems.append(Problem(message, Position(self.name, self.line, 1), column, value))

    def stop_if_broken(self) -> None:
        if not self.problems and len(self.lines) == 1:
            self.problems.append(Problem("the file has a header but no rows", Position(self.name, 1, 1)))
        if self.problems:
            raise SpecError(self.problems)

    def rows(self) -> Iterator[_Row]:
        """Yield feature and numbers of every good row, in the order of the shape; `line` is that of the row in hand."""
        for number, line in self.lines[1:]:
            self.line = number
            cells = line.split(",")
            if len(cells) != len(self.columns):
                self.report(f"{len(cells)} columns, the header has {len(self.columns)}", "", line.strip())
                continue
            numbers: dict[str, float] = {}
            for column, cell in zip(self.columns, cells, strict=True):
                value = _number(cell.strip(), whole=column != "count")
                if value is None:
                    what = "a number of look-ups" if column == "count" else "a whole number"
                    self.report(f"not {what} of at least 0", column, cell.strip())
                else:
                    numbers[column] = value
            if len(numbers) == len(self.columns):
                feature = int(numbers["feature"]) if "feature" in numbers else None
                yield feature, [numbers[column] for column in self.shape]


def _number(text: str, *, whole: bool) -> float | None:
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        return None
    return value if 0 <= value < 2**62 else None
