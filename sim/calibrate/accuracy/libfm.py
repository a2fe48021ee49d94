"""Click logs in the format of libFM: a label, then one `index:1` a feature, as Frappe and MovieLens tags are published.

Every row has the same features in the same order; there are no dense inputs, so each row gets the constant 1.
"""

from __future__ import annotations

from array import array
from pathlib import Path

import numpy as np

from sim.calibrate.accuracy.click_log import MOST_PROBLEMS, ClickLog, LogFile, numbered_lines
from sim.spec.problems import Position, Problem, SpecError

__all__ = ["read_libfm"]

_LABELS = {b"-1": 0.0, b"0": 0.0, b"1": 1.0, b"-1.0": 0.0, b"0.0": 0.0, b"1.0": 1.0}


def read_libfm(path: Path, most_rows: int | None = None) -> ClickLog:
    """Read a log.

    Parameters
    ----------
    path : Path
        Text, or packed as .gz or .xz. Labels are 1 for a click, -1 or 0 for none.
    most_rows : int, optional
        Read no further than this.

    Raises
    ------
    SpecError
        With line and column of every broken row, up to twenty of them.
    """
    labels = array("f")
    ids = array("q")
    features: int | None = None
    problems: list[Problem] = []
    for number, line in numbered_lines(path, most_rows):
        fields = line.split(b" ")
        if fields[-1] == b"":
            fields.pop()
        row, problem = _row(path, number, fields, features)
        if problem is not None:
            problems.append(problem)
            if len(problems) == MOST_PROBLEMS:
                break
            continue
        features = len(row)
        labels.append(_LABELS[fields[0]])
        ids.extend(row)
    if not problems and not labels:
        problems.append(Problem(f"{path} has no rows"))
    if problems:
        raise SpecError(problems)
    return ClickLog(
        labels=np.array(labels, dtype=np.float32),
        dense=np.ones((len(labels), 1), dtype=np.float32),
        ids=np.array(ids, dtype=np.int64).reshape(len(labels), -1),
        files=(LogFile.of(path),),
    )


def _row(path: Path, number: int, fields: list[bytes], features: int | None) -> tuple[list[int], Problem | None]:
    """Return the IDs of a row, or what is wrong with it."""

    def at(field: int) -> Position:
        return Position(str(path), number, 1 + sum(len(text) + 1 for text in fields[:field]))

    if not fields or fields[0] not in _LABELS:
        found = fields[0].decode("utf-8", errors="replace") if fields else ""
        return [], Problem("not a label", at(0), value=found, allowed="1, -1, 0")
    if features is not None and len(fields) - 1 != features:
        return [], Problem(f"this row has {len(fields) - 1} features, the rows before it have {features}", at(0))
    if len(fields) == 1:
        return [], Problem("a row has at least one feature", at(0))
    row = []
    for field, text in enumerate(fields[1:], start=1):
        index, _, value = text.partition(b":")
        if not index.isdigit() or value not in (b"1", b"1.0"):
            shown = text.decode("utf-8", errors="replace")
            return [], Problem("not a category", at(field), value=shown, allowed="INDEX:1")
        row.append(int(index))
    return row, None
