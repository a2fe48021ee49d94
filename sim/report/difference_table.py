"""Comparisons as text and as a Markdown table, and what became of limits."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sim.report.differences import Comparison, Pairing, Row, unit_of
from sim.report.guard import Answer, Judgement
from sim.stats.interval import Interval
from sim.stats.merge import is_share

__all__ = ["headline_metrics", "markdown", "render", "render_judgements"]

HEADLINE = ("latency_ms_mean", "sla_attainment", "drop_rate", "correct_predictions_within_sla_per_s", "accuracy_served")

MOST_CHANGES = 8

LEAST_NAME = len("latency_ms_mean")
"""Room for the names of metrics where the values of both sides would not fit otherwise."""

DIFFERENCE = 4
"""Rank of the column of differences: it goes before any name is cut."""


@dataclass(frozen=True, slots=True)
class _Column:
    """A column: of those that do not fit, the ones of the highest rank go first."""

    header: str
    cells: tuple[str, ...]
    rank: int
    right: bool = True


def headline_metrics(comparison: Comparison) -> list[str]:
    """Return the metrics that are shown where there are many scenarios."""
    percentile = f"latency_ms_{comparison.other.percentile}"
    return [row.metric for row in comparison.rows if row.metric in (*HEADLINE, percentile)]


def render(comparisons: Sequence[Comparison], alone: Sequence[str], metrics: Sequence[str], width: int) -> str:
    """Return comparisons as text of at most `width` columns.

    Parameters
    ----------
    comparisons : sequence of Comparison
    alone : sequence of str
        What is not compared.
    metrics : sequence of str
        Which to show; all of them where it is empty.
    width : int
        Under 40 counts as 40.
    """
    width = max(width, 40)
    lines: list[str] = []
    said: tuple[str, ...] = ()
    for one in comparisons:
        lines += textwrap.wrap(one.title, width, subsequent_indent="  ")
        about = tuple(_about(one))
        if about != said:
            lines += [part for line in about for part in textwrap.wrap(line, width, subsequent_indent="  ")]
            said = about
        shown = _shown(one, metrics)
        lines += ["", *_table(one, shown, width), ""] if shown else ["", "no metric that both have", ""]
    for line in (*_footnotes(comparisons, metrics), *(f"Not compared: {line}" for line in alone)):
        lines += textwrap.wrap(line, width, subsequent_indent="  ")
    return "\n".join(lines).rstrip()


def _about(one: Comparison) -> Iterator[str]:
    """Yield which replications are compared, and what differs."""
    yield f"{_pairing(one.pairing)}; {_percent(one.confidence)} intervals"
    if one.changed:
        more = len(one.changed) - MOST_CHANGES
        yield "Changed: " + "; ".join((*one.changed[:MOST_CHANGES], *([f"{more} more keys"] if more > 0 else [])))


def _pairing(pairing: Pairing) -> str:
    if not pairing.paired:
        first, second = pairing.counts
        return f"Not paired ({pairing.note}): {first} and {second} replications, taken as independent"
    count = len(pairing.numbers)
    what = {
        True: "the same queries on both sides",
        False: "the same random numbers, other queries",
        None: "the same random numbers",
    }[pairing.same_queries]
    note = f"; {pairing.note}" if pairing.note else ""
    return f"{count} pair{'s' if count > 1 else ''} of replications: {what}{note}"


def _shown(one: Comparison, metrics: Sequence[str]) -> list[Row]:
    """Return the rows to show: as asked, else all that at least one side has a value of."""
    if metrics:
        return [row for row in one.rows if row.metric in metrics]
    return [row for row in one.rows if row.difference is not None or _has_values(row)]


def _has_values(row: Row) -> bool:
    return any(None not in values for values in (row.baseline, row.values))


def _table(one: Comparison, rows: Sequence[Row], width: int) -> list[str]:
    columns = [
        _Column("metric", tuple(row.metric for row in rows), 0, right=False),
        _Column(one.baseline_name, tuple(_mean(row, row.baseline) for row in rows), 3),
        _Column(one.other_name, tuple(_mean(row, row.values) for row in rows), 2),
        _Column("difference", tuple(_difference(row) for row in rows), DIFFERENCE),
        _Column("change", tuple(_change(row) for row in rows), 0),
        _Column("interval", tuple(_change_interval(row) for row in rows), 0),
        _Column("", tuple(_remark(row) for row in rows), 1, right=False),
    ]
    widths = {id(column): max(len(cell) for cell in (_header(column), *column.cells)) for column in columns}

    def total() -> int:
        return sum(widths[id(column)] for column in columns) + 2 * (len(columns) - 1)

    first = id(columns[0])
    # Names that are cut stand above their rows: rather that than a table without the values of a side.
    spare = max(widths[first] - LEAST_NAME, 0)
    while (rank := max(column.rank for column in columns)) > 0:
        if total() - (spare if rank < DIFFERENCE else 0) <= width:
            break
        columns.remove(max(columns, key=lambda column: column.rank))
    widths[first] = max(widths[first] - max(total() - width, 0), len(columns[0].header))

    def line(cells: Sequence[str]) -> str:
        texts = []
        for column, cell in zip(columns, cells, strict=True):
            room = widths[id(column)]
            text = cell if len(cell) <= room else cell[: room - 1] + "~"
            texts.append(text.rjust(room) if column.right else text.ljust(room))
        return "  ".join(texts).rstrip()

    header = line([_header(column) for column in columns])
    lines = [header, "-" * len(header)]
    for name, *cells in zip(*(column.cells for column in columns), strict=True):
        if len(name) > widths[first]:
            # Cut short, names would be alike: it stands above its row.
            lines += textwrap.wrap(name, width, subsequent_indent="  ")
            name = ""
        lines.append(line([name, *cells]))
    return lines


def _header(column: _Column) -> str:
    room = max(12, *(len(cell) for cell in column.cells))
    return column.header if len(column.header) <= room else column.header[: room - 1] + "~"


def markdown(comparisons: Sequence[Comparison], alone: Sequence[str], metrics: Sequence[str]) -> str:
    """Return comparisons as Markdown, one table each; arguments are those of `render`."""
    lines: list[str] = []
    for one in comparisons:
        lines += [f"**{one.title}**", "", *(f"{line}.  " for line in _about(one)), ""]
        header = ("metric", one.baseline_name, one.other_name, "difference", "change", "interval", "")
        lines += [_markdown_row(header), "|---|" + "---:|" * 5 + "---|"]
        for row in _shown(one, metrics):
            cells = (
                f"`{row.metric}`",
                _mean(row, row.baseline),
                _mean(row, row.values),
                _difference(row),
                _change(row),
                _change_interval(row),
                _remark(row),
            )
            lines.append(_markdown_row(cells))
        lines.append("")
    lines += [f"{line}  " for line in _footnotes(comparisons, metrics)]
    lines += [f"Not compared: {line}  " for line in alone]
    return "\n".join(lines).rstrip()


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def render_judgements(judgements: Sequence[Judgement], *, strict: bool) -> list[str]:
    """Return a line for each limit and comparison, the failures first."""
    return [
        f"{'FAILED' if one.fails(strict=strict) else 'passed'}: {one.limit.text}: {one.answer.value}: "
        f"{one.comparison.title}{_evidence(one)}"
        for one in sorted(judgements, key=lambda one: not one.fails(strict=strict))
    ]


def _evidence(one: Judgement) -> str:
    if one.row is None or one.row.difference is None:
        return f" ({one.reason})"
    why = f" ({one.reason})" if one.answer is Answer.UNDECIDED else ""
    if one.limit.absolute and not is_share(one.row.metric):
        return f": {_difference(one.row)} {_difference_interval(one.row)}{why}"
    return f": {_change(one.row)} {_change_interval(one.row)}{why}"


def _footnotes(comparisons: Sequence[Comparison], metrics: Sequence[str]) -> Iterator[str]:
    rows = [row for one in comparisons for row in _shown(one, metrics)]
    hidden = sum(len(_shown(one, ())) for one in comparisons) - len(rows)
    count = sum(row.difference is not None for row in rows)
    if hidden > 0:
        yield f"{hidden} more rows with --metric all, --csv or --json."
    if count > 1:
        miss = 1.0 - max(one.confidence for one in comparisons)
        yield (
            f"Each interval misses the true difference with a chance of {_percent(miss)}: of these {count}, about "
            f"{count * miss:.2g}. A higher --confidence makes that rarer."
        )
    if any(_remark(row) == "noise" for row in rows):
        yield "noise: the interval of the difference holds zero, so it may be chance."
    reasons = dict.fromkeys(row.reason for row in rows if row.difference is None and _has_values(row))
    reasons |= dict.fromkeys(
        interval.reason
        for row in rows
        if row.difference is not None
        for interval in [row.difference.absolute if is_share(row.metric) else row.difference.relative]
        if interval.reason is not None
    )
    for reason in reasons:
        yield f"Where a change or an interval is missing: {reason}."
    if any(is_share(row.metric) for row in rows):
        yield "Shares change by percentage points (pp), all else relative to the baseline."


def _mean(row: Row, values: Sequence[float | None]) -> str:
    if not values or None in values:
        return "-"
    value = sum(one for one in values if one is not None) / len(values)
    if row.difference is not None:
        exact = row.difference.baseline if values is row.baseline else row.difference.value
        value = value if exact is None else exact
    return f"{100 * value:.3f}%" if is_share(row.metric) else f"{_digits(value)} {_unit(row)}".rstrip()


def _unit(row: Row) -> str:
    return unit_of(row.metric)


def _difference(row: Row) -> str:
    """Return the absolute difference in the metric's unit."""
    if row.difference is None or row.difference.absolute.value is None:
        return "-"
    value = row.difference.absolute.value
    return f"{100 * value:+.3f} pp" if is_share(row.metric) else f"{_signed(value)} {_unit(row)}".rstrip()


def _difference_interval(row: Row) -> str:
    if row.difference is None:
        return "-"
    if is_share(row.metric):
        return _bounds(row.difference.absolute, lambda end: f"{100 * end:+.3f}")
    return _bounds(row.difference.absolute, _signed)


def _change(row: Row) -> str:
    """Return the change as it is read: shares by points, all else relative."""
    if row.difference is None or is_share(row.metric):
        return _difference(row)
    value = row.difference.relative.value
    return "-" if value is None else f"{_signed_percent(value)}%"


def _change_interval(row: Row) -> str:
    if row.difference is None or is_share(row.metric):
        return _difference_interval(row)
    bounds = _bounds(row.difference.relative, _signed_percent)
    return bounds if bounds == "-" else f"{bounds}%"


def _bounds(interval: Interval, shown: Callable[[float], str]) -> str:
    if interval.low is None or interval.high is None:
        return "-"
    return f"[{shown(interval.low)}, {shown(interval.high)}]"


def _signed(value: float) -> str:
    return f"{'-' if value < 0 else '+'}{_digits(abs(value))}"


def _signed_percent(fraction: float) -> str:
    percent = 100 * fraction
    return (
        f"{percent:+,.0f}" if abs(percent) >= 1000 else f"{percent:+.1f}" if abs(percent) >= 100 else f"{percent:+.2f}"
    )


def _remark(row: Row) -> str:
    found = row.difference
    if found is None:
        return "saturated" if row.reason.startswith("saturated") else "no value"
    if found.absolute.low == found.absolute.high == found.absolute.value == 0.0:
        return "equal"
    return "noise" if found.within_noise else ""


def _digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def _percent(share: float) -> str:
    return f"{100 * share:.4g}%"
