"""CSV of samples: one service time a row, with its query size."""

from __future__ import annotations

import numpy as np

from sim.calibrate.measured_text import LARGEST, column_of
from sim.calibrate.sample_set import STAGES, TOTAL, SampleKey, SampleSet
from sim.calibrate.sources.choices import Choices
from sim.calibrate.sources.columns import (
    name_in,
    shared_unit,
    statistic_column,
    time_columns,
    time_ns,
    whole_size,
)
from sim.calibrate.sources.sheet import Sheet, read_sheet
from sim.profile.stage_times import is_known_stage

__all__ = ["read_sample_table"]

ONCE = "each once; --column block=NAME where another column tells runs apart"


def read_sample_table(text: str, file: str, choices: Choices, default_device: str) -> dict[str, SampleSet]:
    """Read samples from a CSV whose columns are found by their names, or as chosen.

    Parameters
    ----------
    text, file : str
        The text of the file and its name, for messages.
    choices : Choices
        `columns["service"]` names the time column where there are several.
    default_device : str
        Name of the device where neither the file nor the choices say one.

    Returns
    -------
    dict of str to SampleSet
        By device. Repeats stay in the order of the file, or of a column that numbers them.

    Raises
    ------
    SpecError
        With the lines of everything that is wrong, or of a column that says which percentile a row holds.
    """
    sheet = read_sheet(text, file, choices)
    complaints = sheet.complaints
    statistic = statistic_column(sheet.header, [row for _, row in sheet.rows])
    if statistic is not None:
        # What else such a file lacks as samples would only lead astray.
        message = "rows of percentiles or means are no samples: percentiles have to be a column each"
        where = column_of(sheet.header, statistic)
        complaints.report(sheet.line, where, message, sheet.header[statistic], allowed="size,p50_ms,p99_ms")
        complaints.raise_any()
    time = _time_column(sheet)
    size = sheet.column("size")
    if size is None and choices.size is None and not sheet.header_is_bad:
        sheet.missing("the query size", "a column called size or batch, --column size=NAME, or --size")
    columns = {holds: sheet.column(holds) for holds in ("model", "representation", "device", "stage", "block")}
    if columns["model"] is None and choices.model is None and not sheet.header_is_bad:
        sheet.missing("the model", "a column called model, --column model=NAME, or --model")
    repeat, unit_column = sheet.column("repeat"), sheet.column("unit")
    sheet.raise_for_header()
    assert time is not None
    unit = shared_unit(sheet.header, [time], choices.unit, sheet.line, complaints)
    sheet.raise_for_header()
    defaults = {
        "model": choices.model,
        "representation": choices.representation,
        "device": choices.device or default_device,
        "stage": TOTAL,
        "block": "0",
    }
    found: dict[str, dict[SampleKey, list[tuple[int, int]]]] = {}
    first_lines: dict[tuple[str | None, SampleKey, int], int] = {}
    for line, row in sheet.rows:
        if complaints.enough:
            break
        before = len(complaints.problems)
        said = {
            holds: defaults[holds] if at is None else name_in(row, at, line, holds, complaints)
            for holds, at in columns.items()
        }
        if _left_out(said, columns, choices):
            continue
        service_ns = time_ns(row, time, sheet.row_unit(row, line, unit_column, unit), line, complaints)
        samples = choices.size if size is None else whole_size(row, size, line, complaints)
        assert samples is not None
        number = _number(row, repeat, line, sheet)
        block = _number(row, columns["block"], line, sheet)
        stage = said["stage"] or ""
        if stage != TOTAL and not is_known_stage(stage):
            complaints.report(line, column_of(row, columns["stage"] or 0), "unknown stage", stage, allowed=STAGES)
        key = SampleKey(said["model"] or "", said["representation"] or "", stage, samples, block)
        if repeat is not None and len(complaints.problems) == before:
            first = first_lines.setdefault((said["device"], key, number), line)
            if first != line:
                # Rows that were put into the file twice, by mistake, say, would make their times more common.
                what = f"line {first} has this {sheet.header[repeat]} of size {samples}, too"
                complaints.report(line, column_of(row, repeat), what, row[repeat], allowed=ONCE)
        found.setdefault(said["device"] or "", {}).setdefault(key, []).append((number, service_ns))
    if not found and not complaints.problems:
        complaints.report(sheet.line, 1, "no rows of the model and device that were chosen")
    complaints.raise_any()
    return {
        device: SampleSet({key: _in_order(cell) for key, cell in cells.items()}, {**sheet.about, "device": device})
        for device, cells in found.items()
    }


def _time_column(sheet: Sheet) -> int | None:
    if "service" in sheet.choices.columns:
        return sheet.column("service")
    found = time_columns(sheet.header)
    if len(found) != 1 and not sheet.header_is_bad:
        if found:
            names = ", ".join(sheet.header[index] for index in found)
            sheet.complaints.report(
                sheet.line, 1, f"several columns may hold the service time: {names}", allowed="--column service=NAME"
            )
        else:
            sheet.missing("the service time", "a column such as latency_ms or service_ns, or --column service=NAME")
    return found[0] if len(found) == 1 else None


def _left_out(said: dict[str, str | None], columns: dict[str, int | None], choices: Choices) -> bool:
    """Whether a row is of a model or device other than the chosen one."""
    return any(
        columns[holds] is not None and chosen is not None and said[holds] != chosen
        for holds, chosen in (("model", choices.model), ("device", choices.device))
    )


def _number(row: list[str], index: int | None, line: int, sheet: Sheet) -> int:
    """Return a block's or a repeat's number; rows keep their order where there is no such column."""
    if index is None:
        return 0
    written = row[index]
    if not (written.isascii() and written.isdigit() and int(written[:20]) < LARGEST):
        sheet.complaints.report(line, column_of(row, index), f"bad {sheet.header[index]}", written, allowed="0, 1, ...")
        return 0
    return int(written)


def _in_order(cell: list[tuple[int, int]]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array([service_ns for _, service_ns in sorted(cell, key=lambda one: one[0])], dtype=np.int64)
