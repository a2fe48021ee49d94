"""CSV of percentiles: one row a query size, one column a percentile. Triton's perf_analyzer writes such a file, too.

perf_analyzer (`-f FILE`) writes `Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,Server
Compute Input,Server Compute Infer,Server Compute Output,Client Recv,p50 latency,p90 latency,p95 latency,p99 latency`,
with `Request Rate` instead of `Concurrency` under open load and more columns with `--verbose-csv`: all times in whole
microseconds, rows sorted by throughput. It does not say the batch size (`-b`); reports that were made from it often do,
as a column `Batch`. Format: github triton-inference-server/perf_analyzer, src/report_writer.cc.
"""

from __future__ import annotations

from sim.calibrate.measured_text import Complaints, column_of
from sim.calibrate.sources.choices import Choices
from sim.calibrate.sources.columns import is_mean, name_in, percentile_level, shared_unit, time_ns, whole_size
from sim.calibrate.sources.percentile_rows import PercentileRow, check_order
from sim.calibrate.sources.sheet import Sheet, read_sheet
from sim.spec.problems import Position

__all__ = ["read_percentile_table", "read_perf_analyzer"]


def read_percentile_table(text: str, file: str, choices: Choices) -> tuple[list[PercentileRow], list[str]]:
    """Read percentiles whose columns are found by their names (p50, p99_ms, 95th percentile, min, max), and remarks.

    Raises
    ------
    SpecError
        With the lines of everything that is wrong: no percentiles or sizes, times that are not positive or not
        sorted, units that are missing or mixed.
    """
    sheet = read_sheet(text, file, choices)
    return _rows(sheet, file, choices.unit), _left_out(sheet, file)


def read_perf_analyzer(text: str, file: str, choices: Choices) -> tuple[list[PercentileRow], list[str]]:
    """Read what perf_analyzer wrote, and remarks on it; times are in microseconds unless their columns say otherwise.

    Only rows of concurrency 1 are service times: with more, or under open load, requests wait for each other at the
    server. Other rows are left out, with a remark, or taken with `choices.with_queueing`.

    Raises
    ------
    SpecError
        As `read_percentile_table`, and if no row has concurrency 1, or another unit is chosen than that of the format.
    """
    sheet = read_sheet(text, file, choices)
    names = [name.lower() for name in sheet.header]
    remarks = []
    if "inferences/second" not in names and not sheet.header_is_bad:
        sheet.missing("Inferences/Second", "a file that perf_analyzer wrote with -f")
    if not choices.with_queueing and not sheet.header_is_bad:
        if "concurrency" not in names:
            sheet.missing(
                "Concurrency", "--with-queueing, to take latencies under open load as if they were service times"
            )
        else:
            at = names.index("concurrency")
            alone = [(line, row) for line, row in sheet.rows if row[at] == "1"]
            if sheet.rows and not alone:
                line, row = sheet.rows[0]
                message = "no row of concurrency 1: requests that are under way together wait for each other"
                sheet.complaints.report(line, column_of(row, at), message, row[at], allowed="1, or --with-queueing")
            elif len(alone) < len(sheet.rows):
                remarks.append(
                    f"{file}: {len(sheet.rows) - len(alone)} of {len(sheet.rows)} rows are left out: their "
                    "concurrency is not 1, and requests under way together wait for each other; --with-queueing "
                    "takes them"
                )
            sheet = Sheet(sheet.about, sheet.line, sheet.header, alone, sheet.complaints, choices)
    unit = choices.unit
    if not any(name.endswith(")") for name in names):
        if unit not in (None, "us") and not sheet.header_is_bad:
            message = "mixed units: the times of perf_analyzer are in us"
            sheet.complaints.report(sheet.line, 1, message, f"--unit {unit}", allowed="--unit us, or none")
        unit = "us"
    return _rows(sheet, file, unit), [*remarks, *_left_out(sheet, file)]


def _left_out(sheet: Sheet, file: str) -> list[str]:
    return [
        f"{file}: the column {name} is left out: a table of percentiles holds no means"
        for name in sheet.header
        if is_mean(name)
    ]


def _rows(sheet: Sheet, file: str, unit: str | None) -> list[PercentileRow]:
    complaints, choices = sheet.complaints, sheet.choices
    levels = {index: level for index, name in enumerate(sheet.header) if (level := percentile_level(name)) is not None}
    if not levels and not sheet.header_is_bad:
        sheet.missing("percentiles", "columns such as p50, p99_ms, max")
    for index, level in levels.items():
        if list(levels.values()).count(level) > 1:
            message = f"two columns hold the {100 * level:g}th percentile"
            complaints.report(sheet.line, column_of(sheet.header, index), message, sheet.header[index])
    size, model, representation = (sheet.column(holds) for holds in ("size", "model", "representation"))
    device, unit_column, queries = (sheet.column(holds) for holds in ("device", "unit", "queries"))
    if size is None and choices.size is None and not sheet.header_is_bad:
        sheet.missing("the query size", "a column called size or batch, --column size=NAME, or --size")
    if model is None and choices.model is None and not sheet.header_is_bad:
        sheet.missing("the model", "a column called model, --column model=NAME, or --model")
    shared = shared_unit(sheet.header, list(levels), unit, sheet.line, complaints)
    sheet.raise_for_header()
    found = []
    for line, row in sheet.rows:
        if complaints.enough:
            break
        if model is not None and choices.model not in (None, row[model]):
            continue
        own_unit = sheet.row_unit(row, line, unit_column, shared)
        before = len(complaints.problems)
        times = {
            level: time_ns(row, index, own_unit, line, complaints, zero=level == 0.0) for index, level in levels.items()
        }
        if len(complaints.problems) == before:
            check_order(times, {level: (line, column_of(row, at)) for at, level in levels.items()}, complaints)
        found.append(
            PercentileRow(
                model=choices.model or "" if model is None else name_in(row, model, line, "model", complaints),
                representation=(
                    choices.representation
                    if representation is None
                    else name_in(row, representation, line, "representation", complaints)
                ),
                size=choices.size or 1 if size is None else whole_size(row, size, line, complaints),
                service_ns=dict(sorted(times.items())),
                queries=_count(row, queries, line, complaints),
                where=Position(file, line, 1),
                device="" if device is None else row[device],
            )
        )
    if not found and not complaints.problems:
        complaints.report(sheet.line, 1, "no rows of the model that was chosen", choices.model)
    complaints.raise_any()
    return found


def _count(row: list[str], index: int | None, line: int, complaints: Complaints) -> int | None:
    if index is None or not row[index]:
        return None
    return whole_size(row, index, line, complaints)
