"""From click log files to training rows, test rows and the shape that fits them, and back to a source in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from sim.calibrate.accuracy.click_log import ClickLog, LogFile, joined, numbered_lines, with_dense_ids
from sim.calibrate.accuracy.criteo import read_criteo
from sim.calibrate.accuracy.libfm import read_libfm
from sim.profile.dlrm import DlrmShape
from sim.spec.problems import Problem, SpecError

__all__ = ["LogFormat", "Prepared", "prepare", "read_log", "source_text"]

LogFormat: TypeAlias = Literal["auto", "criteo", "libfm"]


@dataclass(frozen=True)
class Prepared:
    """What a campaign is run on.

    Attributes
    ----------
    training, test : ClickLog
        With IDs numbered from 0 in each feature.
    table_rows : tuple of int
        Rows that each feature needs.
    """

    training: ClickLog
    test: ClickLog
    table_rows: tuple[int, ...]


def read_log(path: Path, log_format: LogFormat = "auto", most_rows: int | None = None) -> ClickLog:
    """Read a click log; "auto" takes one with tabs in its first line for Criteo's.

    Raises
    ------
    SpecError
        If it cannot be read, with every broken row up to twenty of them.
    """
    if log_format == "auto":
        first = next(iter(numbered_lines(path, 1)), (1, b""))[1]
        log_format = "criteo" if b"\t" in first else "libfm"
    return read_criteo(path, most_rows) if log_format == "criteo" else read_libfm(path, most_rows)


def prepare(
    shape: DlrmShape, logs: Sequence[ClickLog], tests: Sequence[ClickLog], test_share: float, id_range: int | None
) -> Prepared:
    """Split logs in time and number their IDs.

    Parameters
    ----------
    shape : DlrmShape
        Of the model to train.
    logs : sequence of ClickLog
        In the order of time.
    tests : sequence of ClickLog
        Test rows; where there are none, the last `test_share` of `logs` are.
    test_share : float
        In (0, 1).
    id_range : int or None
        IDs are taken modulo this.

    Raises
    ------
    SpecError
        If a test log is a training log, the log does not fit the model, or one side of the split lacks clicks or
        non-clicks.
    """
    _check_apart(logs, tests)
    whole, table_rows = with_dense_ids(joined([*logs, *tests]), id_range)
    problems = []
    for what, of_log, of_model in (
        ("sparse features", whole.ids.shape[1], len(shape.table_rows)),
        ("dense inputs", whole.dense.shape[1], shape.bottom_mlp[0]),
    ):
        if of_log != of_model:
            problems.append(Problem(f"the log has {of_log} {what}, the model {of_model}"))
    if problems:
        raise SpecError(problems)
    if tests:
        cut = sum(len(log) for log in logs)
        training, test = whole.rows(slice(0, cut)), whole.rows(slice(cut, None))
    else:
        try:
            training, test = whole.split(test_share)
        except ValueError as error:
            raise SpecError([Problem(str(error))]) from error
    for name, rows in (("training", training), ("test", test)):
        clicks = float(rows.labels.sum())
        if not 0 < clicks < len(rows):
            raise SpecError([Problem(f"the {len(rows)} {name} rows need both clicks and non-clicks")])
    return Prepared(training, test, table_rows)


def _check_apart(logs: Sequence[ClickLog], tests: Sequence[ClickLog]) -> None:
    problems = [
        Problem(f"{_named(test)} has the rows of {_named(log)}: what was trained on is no test", key_path="--test")
        for test in tests
        for log in logs
        if _same_rows(test, log)
    ]
    if problems:
        raise SpecError(problems)


def _named(log: ClickLog) -> str:
    return ", ".join(file.name for file in log.files)


def _same_rows(one: ClickLog, other: ClickLog) -> bool:
    """Whether two logs are one, packed in another way, say."""
    pairs = ((one.labels, other.labels), (one.ids, other.ids), (one.dense, other.dense))
    return all(np.array_equal(mine, its) for mine, its in pairs)


def source_text(prepared: Prepared, files: Sequence[LogFile], settings: str, date: str) -> str:
    """Say in one line what scores stand on.

    Parameters
    ----------
    prepared : Prepared
    files : sequence of LogFile
    settings : str
        How it was trained.
    date : str
        ISO 8601.
    """
    named = "; ".join(f"{file.name}, {file.size_bytes} bytes, sha256 {file.sha256}" for file in files)
    return (
        f"mprec calibrate accuracy, {date}: {named}; {len(prepared.training)} rows to train, "
        f"the last {len(prepared.test)} to test; {settings}"
    )
