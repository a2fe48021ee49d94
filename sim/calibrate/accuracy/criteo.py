"""Click logs in the format of Criteo: a label, 13 integers, 26 categories in hexadecimal, between tabs.

So come the Kaggle file (train.txt) and the day files of Terabyte, whose rows are in the order of time. A missing value
is an empty field.
"""

from __future__ import annotations

import re
from array import array
from pathlib import Path

import numpy as np

from sim.calibrate.accuracy.click_log import MOST_PROBLEMS, ClickLog, LogFile, numbered_lines
from sim.spec.problems import Position, Problem, SpecError

__all__ = ["CATEGORIES", "INTEGERS", "read_criteo"]

INTEGERS = 13
CATEGORIES = 26
_FIELDS = 1 + INTEGERS + CATEGORIES
_MISSING_CATEGORY = 0
_INTEGER = re.compile(rb"(-?[0-9]{1,18})?")
_CATEGORY = re.compile(rb"[0-9a-fA-F]{0,8}")
_ROW = re.compile(rb"[01](\t(-?[0-9]{1,18})?){13}(\t[0-9a-fA-F]{0,8}){26}")


def read_criteo(path: Path, most_rows: int | None = None) -> ClickLog:
    """Read a log; an integer x becomes ln(1 + max(x, 0)), as in facebookresearch/dlrm.

    Parameters
    ----------
    path : Path
        Text, or packed as .gz or .xz.
    most_rows : int, optional
        Read no further than this.

    Raises
    ------
    SpecError
        With line and column of every broken row, up to twenty of them.
    """
    labels = array("f")
    integers = array("f")
    categories = array("q")
    problems: list[Problem] = []
    for number, line in numbered_lines(path, most_rows):
        if not _ROW.fullmatch(line):
            problems.append(_problem(path, number, line.split(b"\t")))
            if len(problems) == MOST_PROBLEMS:
                break
            continue
        fields = line.split(b"\t")
        labels.append(float(fields[0]))
        integers.extend(float(field or 0) for field in fields[1 : 1 + INTEGERS])
        categories.extend(int(field, 16) if field else _MISSING_CATEGORY for field in fields[1 + INTEGERS :])
    if not problems and not labels:
        problems.append(Problem(f"{path} has no rows"))
    if problems:
        raise SpecError(problems)
    # In place and without copies: a log of days takes all the memory there is.
    dense = np.frombuffer(integers, dtype=np.float32).reshape(-1, INTEGERS)
    np.maximum(dense, 0.0, out=dense)
    np.log1p(dense, out=dense)
    return ClickLog(
        labels=np.frombuffer(labels, dtype=np.float32),
        dense=dense,
        ids=np.frombuffer(categories, dtype=np.int64).reshape(-1, CATEGORIES),
        files=(LogFile.of(path),),
    )


def _problem(path: Path, number: int, fields: list[bytes]) -> Problem:
    """Say what is wrong with a row, and in which column."""

    def at(field: int) -> Position:
        return Position(str(path), number, 1 + sum(len(text) + 1 for text in fields[:field]))

    if len(fields) != _FIELDS:
        return Problem(
            f"a row has {_FIELDS} fields between tabs (label, {INTEGERS} integers, {CATEGORIES} categories), "
            f"this one has {len(fields)}",
            at(0),
        )
    if fields[0] not in (b"0", b"1"):
        return Problem("not a label", at(0), value=_text(fields[0]), allowed="0, 1")
    for field in range(1, 1 + INTEGERS):
        if not _INTEGER.fullmatch(fields[field]):
            return Problem(
                "not an integer", at(field), value=_text(fields[field]), allowed="up to 18 digits, or nothing"
            )
    bad = next(field for field in range(1 + INTEGERS, _FIELDS) if not _CATEGORY.fullmatch(fields[field]))
    return Problem(
        "not a category", at(bad), value=_text(fields[bad]), allowed="up to eight hexadecimal digits, or nothing"
    )


def _text(field: bytes) -> str:
    return field.decode("utf-8", errors="replace")
