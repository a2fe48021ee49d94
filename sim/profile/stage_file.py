"""Stage times as CSV: `stage,size,mean_ns`, one row for each stage and size of one model under one representation."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from sim.profile.stage_times import KNOWN_STAGES, StageTimes, decoder_cache_stage, is_known_stage
from sim.spec.problems import Problem, SpecError, nearest_name
from sim.spec.source import Position

__all__ = ["format_stage_csv", "parse_stage_csv"]

HEADER = "stage,size,mean_ns"
_MAX_PROBLEMS = 20


def parse_stage_csv(content: bytes, file: str) -> StageTimes:
    """Read the times of stages.

    Parameters
    ----------
    content : bytes
        UTF-8 text of the file. Lines that start with # and empty lines are skipped. The sizes of a stage increase;
        stages may come in any order and have sizes of their own.
    file : str
        Its name, for messages.

    Raises
    ------
    SpecError
        With every problem found (the first 20) and its line and column.
    """
    problems: list[Problem] = []

    def report(
        line: int, column: int, message: str, value: str | None, allowed: str | None = None, nearest: str | None = None
    ) -> None:
        problems.append(
            Problem(
                message=message,
                position=Position(file=file, line=line, column=column),
                value=value,
                allowed=allowed,
                nearest=nearest,
            )
        )

    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        report(1, 1, f"not UTF-8 text: {error.reason}", None)
        raise SpecError(problems) from None
    lines = [
        (number, line)
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.startswith("#")
    ]
    if not lines or lines[0][1].replace(" ", "") != HEADER:
        report(lines[0][0] if lines else 1, 1, "the header is not that of stage times", None, allowed=HEADER)
        raise SpecError(problems)
    if len(lines) == 1:
        report(lines[0][0], 1, "the file has a header but no rows", None)
    found: dict[str, list[tuple[int, float]]] = {}
    for number, line in lines[1:]:
        if len(problems) >= _MAX_PROBLEMS:
            break
        cells = line.split(",")
        if len(cells) != 3:
            report(number, 1, f"{len(cells)} columns, the header has 3", line)
            continue
        columns = (1, len(cells[0]) + 2, len(cells[0]) + len(cells[1]) + 3)
        stage, size_text, mean_text = (cell.strip() for cell in cells)
        if not is_known_stage(stage):
            allowed = ", ".join((*KNOWN_STAGES, "decoder cache N"))
            report(number, columns[0], "unknown stage", stage, allowed, nearest_name(stage, KNOWN_STAGES))
            continue
        size = _whole(size_text)
        rows = found.setdefault(stage, [])
        if size is None or size < 1:
            report(number, columns[1], "not a query size", size_text, allowed="a whole number of at least 1")
            continue
        if rows and size <= rows[-1][0]:
            report(number, columns[1], f"sizes of {stage} must increase, {size} follows {rows[-1][0]}", size_text)
            continue
        mean_ns = _number(mean_text)
        if mean_ns is None or mean_ns < 0:
            report(number, columns[2], "not a mean time", mean_text, allowed="a number of ns, at least 0")
            continue
        rows.append((size, mean_ns))
    if problems:
        raise SpecError(problems)
    return StageTimes(
        {
            stage: (
                np.array([size for size, _ in rows], dtype=np.int64),
                np.array([mean_ns for _, mean_ns in rows], dtype=np.float64),
            )
            for stage, rows in found.items()
        }
    )


def format_stage_csv(rows: Iterable[tuple[str, int, float]]) -> str:
    """Text of a stage file.

    Parameters
    ----------
    rows : iterable of (stage, size, mean_ns)
        In any order; a stage and size at most once.

    Returns
    -------
    str
        Stages in the order of `KNOWN_STAGES`, then the searches among centroids; times to the nearest 0.1 ns.

    Raises
    ------
    ValueError
        If a stage has no known name, a stage and size come twice, or a size or time is out of range.
    """
    chosen: dict[tuple[str, int], float] = {}
    for stage, size, mean_ns in rows:
        if not is_known_stage(stage):
            raise ValueError(
                f"unknown stage {stage!r} (known: {', '.join(KNOWN_STAGES)}, {decoder_cache_stage(256)} and so on)"
            )
        if (stage, size) in chosen:
            raise ValueError(f"{stage} of size {size} comes twice")
        if size < 1 or not (math.isfinite(mean_ns) and mean_ns >= 0):
            raise ValueError(f"{stage} of size {size} takes {mean_ns} ns: sizes start at 1, times are not negative")
        chosen[stage, int(size)] = float(mean_ns)

    def order(key: tuple[str, int]) -> tuple[int, int, str, int]:
        stage, size = key
        known = KNOWN_STAGES.index(stage) if stage in KNOWN_STAGES else len(KNOWN_STAGES)
        return known, len(stage), stage, size

    lines = [HEADER, *(f"{stage},{size},{chosen[stage, size]:.1f}" for stage, size in sorted(chosen, key=order))]
    return "\n".join(lines) + "\n"


def _whole(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
