"""The run directory: what a run leaves behind, every file written whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sim.stats.summary import ScenarioSummary

__all__ = [
    "RunDirectory",
    "RunDirectoryError",
    "TimelinePoint",
    "check_finished",
    "check_writable",
    "encoded",
    "filled_whole",
    "find_run",
    "is_finished",
    "read_timeline",
    "written_whole",
]


class RunDirectoryError(OSError):
    """A file of the run directory cannot be written or read; the message names it and says why."""


class RunDirectory:
    """A folder with ``experiment.yaml``, ``manifest.json``, ``summary.json``, ``metrics.csv`` and ``figures/``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write_experiment(self, text: str) -> Path:
        """Write the resolved experiment."""
        return self._write("experiment.yaml", encoded(text))

    def write_summary(self, summary: Mapping[str, Any]) -> Path:
        """Write the summary: the same summary gives the same bytes."""
        return self._write("summary.json", _json(summary))

    def write_manifest(self, manifest: Mapping[str, Any]) -> Path:
        """Write what the run was made with, and when."""
        return self._write("manifest.json", _json(manifest))

    def write_metrics(self, summaries: Sequence[ScenarioSummary]) -> Path:
        """Write one row per scenario and metric: the sweep's parameters, the metric, its value and interval.

        Where queries have classes a column says which class a row is about; it is empty for the whole.
        """
        parameters = list(dict.fromkeys(key for summary in summaries for key in summary.parameters))
        classes = ["class"] if any(summary.classes for summary in summaries) else []
        text = io.StringIO(newline="")
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(
            [*parameters, *classes, "metric", "value", "low", "high", "reason", "replications", "saturated", "evidence"]
        )
        for summary in summaries:
            measured = [("", summary.saturated, item) for item in summary.metrics.items()]
            for query_class, one in summary.classes.items():
                measured += [(query_class, one.saturated, item) for item in one.metrics.items()]
            for query_class, saturated, (name, metric) in measured:
                rows.writerow(
                    [
                        *(summary.parameters.get(key, "") for key in parameters),
                        *([query_class] if classes else []),
                        name,
                        *("" if number is None else repr(number) for number in (metric.value, metric.low, metric.high)),
                        metric.reason or "",
                        summary.replications,
                        str(saturated).lower(),
                        summary.evidence,
                    ]
                )
        return self._write("metrics.csv", encoded(text.getvalue()))

    def write_timeline(self, summaries: Sequence[ScenarioSummary]) -> Path:
        """Write one row per scenario, interval of time and metric."""
        parameters = list(dict.fromkeys(key for summary in summaries for key in summary.parameters))
        text = io.StringIO(newline="")
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow([*parameters, "start_s", "end_s", "metric", "value", "low", "high"])
        for summary in summaries:
            assert summary.timeline is not None
            seconds = [repr(edge / 1e9) for edge in summary.timeline.edges_ns]
            own = [summary.parameters.get(key, "") for key in parameters]
            for name, points in summary.timeline.metrics.items():
                for start, end, point in zip(seconds[:-1], seconds[1:], points, strict=True):
                    numbers = ("" if x is None else repr(x) for x in (point.value, point.low, point.high))
                    rows.writerow([*own, start, end, name, *numbers])
        return self._write("timeline.csv", encoded(text.getvalue()))

    def write_trace(self, text: str) -> Path:
        """Write the trace of a window, as from `sim.report.trace`."""
        return self._write("trace.json", encoded(text))

    def write_queries(self, records: Mapping[tuple[int, int, int], Path]) -> Path:
        """Merge the per-query records, by scenario, replication and cell, into ``queries.npz``.

        Where there are several cells a column says which a query was in.
        """
        import numpy as np

        columns: dict[str, list[Any]] = {}
        before = 0
        several = any(cell > 0 for _, _, cell in records)
        for (scenario, replication, cell), file in sorted(records.items()):
            with np.load(file) as arrays:
                count = len(arrays["arrival_ns"])
                columns.setdefault("scenario", []).append(np.full(count, scenario, dtype=np.int32))
                columns.setdefault("replication", []).append(np.full(count, replication, dtype=np.int32))
                if several:
                    columns.setdefault("cell", []).append(np.full(count, cell, dtype=np.int32))
                if "query_class" in columns or "query_class" in arrays.files:
                    # Scenarios of a sweep that have no classes have queries of class 0 only.
                    own = arrays["query_class"] if "query_class" in arrays.files else np.zeros(count, dtype=np.int32)
                    columns.setdefault("query_class", [np.zeros(before, dtype=np.int32)]).append(own)
                for name in arrays.files:
                    if name != "query_class":
                        columns.setdefault(name, []).append(arrays[name])
                before += count
        content = io.BytesIO()
        # As numpy.savez_compressed writes it, but for the level: its 6 takes three times as long as 2 for 3% fewer
        # bytes, which was more than simulating these queries takes.
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=2) as archive:
            for name, parts in columns.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                    np.lib.format.write_array(stream, np.concatenate(parts), allow_pickle=False)
        return self._write("queries.npz", content.getvalue())

    def write_json(self, name: str, content: Mapping[str, Any]) -> Path:
        """Write a file of JSON: the same content gives the same bytes."""
        return self._write(name, _json(content))

    def write_text(self, name: str, text: str) -> Path:
        """Write a file of text."""
        return self._write(name, encoded(text))

    def _write(self, name: str, content: bytes) -> Path:
        file = self.path / name
        with written_whole(file) as stream:
            _write_whole(stream, content)
        return file


@dataclass(frozen=True, slots=True)
class TimelinePoint:
    """A row of `timeline.csv`; `scenario` is the sweep's parameters as they are written there."""

    scenario: tuple[str, ...]
    start_s: float
    end_s: float
    metric: str
    value: float | None
    low: float | None
    high: float | None


def encoded(text: str) -> bytes:
    """Return a text as it is written to files: in UTF-8, and what of a file's name is none as an escape.

    In JSON that is read back as what it was.
    """
    return text.encode("utf-8", "backslashreplace")


def _write_whole(stream: BinaryIO, content: bytes) -> None:
    stream.write(content)
    stream.flush()
    os.fsync(stream.fileno())


@contextmanager
def written_whole(file: Path) -> Iterator[BinaryIO]:
    """Open a file of the run directory for writing; it is there when all of it is written, or not at all.

    Raises
    ------
    RunDirectoryError
        If it cannot be written.
    """
    partial = file.with_name(f".{file.name}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as stream:
            yield stream
        partial.replace(file)
    except OSError as error:
        raise RunDirectoryError(f"{file} could not be written: {error.strerror or error}") from error
    finally:
        # There only if something went wrong, be it Ctrl-C.
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def filled_whole(folder: Path) -> Iterator[Path]:
    """Give a folder to write files into; they are in `folder` when all of them are written, or none is.

    What else is in `folder` stays, and files of the same names are replaced.

    Raises
    ------
    RunDirectoryError
        If it cannot be written.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        # There only if the process was killed before.
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        if folder.exists():
            for file in partial.iterdir():
                file.replace(folder / file.name)
        else:
            partial.replace(folder)
    except RunDirectoryError:
        raise
    except OSError as error:
        raise RunDirectoryError(f"{folder} could not be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _json(content: Mapping[str, Any]) -> bytes:
    return encoded(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def check_writable(folder: Path) -> None:
    """Make sure that files can be written into a folder, or where it will be made; nothing is left there.

    Raises
    ------
    RunDirectoryError
    """
    existing = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise RunDirectoryError(f"{folder} cannot be written to: {error.strerror or error}") from error


def find_run(name: str) -> Path:
    """Return the run directory of that path or, where there is none, of that name under ``runs``."""
    folder = Path(name)
    under_runs = Path("runs") / name
    return under_runs if not folder.exists() and under_runs.is_dir() else folder


def is_finished(path: Path) -> bool:
    """Return whether a run directory has a summary, and holds no run that was interrupted or goes on."""
    return (path / "summary.json").is_file() and not (path / "replications").is_dir()


def check_finished(path: Path) -> None:
    """Make sure that a folder is the directory of a run, and that the run is finished.

    Raises
    ------
    RunDirectoryError
    """
    if is_finished(path):
        return
    if (path / "replications").is_dir():
        raise RunDirectoryError(f"{path} holds a run that is not finished; complete it with mprec run --resume")
    if path.is_dir():
        raise RunDirectoryError(f"{path} has no summary.json: it is not the directory of a run, or is damaged")
    raise RunDirectoryError(f"there is no run {path}, nor one of that name under runs/")


def read_timeline(path: Path) -> list[TimelinePoint] | None:
    """Read ``timeline.csv`` of a run directory; None if the run has no timeline.

    Raises
    ------
    RunDirectoryError
        If it cannot be read, or is damaged.
    """
    file = path / "timeline.csv"
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunDirectoryError(f"{file} cannot be read: {error.strerror or error}") from error
    rows = list(csv.reader(io.StringIO(text)))
    columns = ["start_s", "end_s", "metric", "value", "low", "high"]
    if not rows or rows[0][-len(columns) :] != columns:
        raise RunDirectoryError(f"{file} is not the timeline of a run: its columns should end in {', '.join(columns)}")
    points = []
    for number, row in enumerate(rows[1:], start=2):
        try:
            start, end, metric, *numbers = row[-len(columns) :]
            value, low, high = (float(one) if one else None for one in numbers)
            points.append(
                TimelinePoint(tuple(row[: -len(columns)]), float(start), float(end), metric, value, low, high)
            )
        except ValueError as error:
            raise RunDirectoryError(f"{file}:{number} is damaged: {error}") from error
    return points
