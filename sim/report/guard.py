"""Limits on what may change between two scenarios, such as ``latency_ms_p99 > +2%``, and whether they are exceeded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from sim.report.differences import Comparison, Row, unit_of
from sim.spec.problems import nearest_name
from sim.stats.attempts import ATTEMPT_METRICS, AVAILABILITY_METRICS, SCALING_METRICS
from sim.stats.difference import beyond
from sim.stats.interval import Interval
from sim.stats.measure import METRICS
from sim.stats.merge import is_share

__all__ = ["Answer", "Judgement", "Limit", "LimitError", "judge_limits", "parse_limit", "unknown_metric"]

WRITTEN = re.compile(
    r"\s*(?P<metric>[^<>]+?)\s*(?P<side>[<>])\s*(?P<number>[+-]?\d[\d_]*\.?\d*|[+-]?\.\d+)\s*(?P<unit>\S*)\s*"
)

NAMES = (
    *METRICS,
    *ATTEMPT_METRICS,
    *AVAILABILITY_METRICS,
    *SCALING_METRICS,
    "path_mix",
    "utilisation",
    "waiting_parts",
)
"""Metrics that any scenario may have; a path, a kind of device or a class follows in brackets."""

EXAMPLES = "latency_ms_p99 > +2%, latency_ms_p99 > +1ms, sla_attainment < -0.1%"

PER_MS = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}
PER_SECOND = {"/s": 1.0, "k/s": 1e3, "M/s": 1e6}


class LimitError(ValueError):
    """A limit that cannot be understood; the message says what is allowed."""


class Answer(Enum):
    """Whether a limit is exceeded."""

    EXCEEDED = "exceeded"
    KEPT = "kept"
    UNDECIDED = "undecided"
    MISSING = "cannot be judged"


@dataclass(frozen=True, slots=True)
class Limit:
    """The change of a metric that is too much.

    Attributes
    ----------
    text : str
        As it was written.
    metric : str
    above : bool
        Whether changes above the limit exceed it, or those below.
    absolute, relative : float
        The limit, in the metric's own unit and over the baseline; one of them is 0.
    """

    text: str
    metric: str
    above: bool
    absolute: float
    relative: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """A limit held against one comparison.

    Attributes
    ----------
    limit : Limit
    comparison : Comparison
    row : Row or None
    answer : Answer
    reason : str
        Why it cannot be judged, or not be decided.
    """

    limit: Limit
    comparison: Comparison
    row: Row | None
    answer: Answer
    reason: str = ""

    def fails(self, *, strict: bool = False) -> bool:
        """Return whether this is a failure; `strict` makes one of what is not decided."""
        return self.answer in (Answer.EXCEEDED, Answer.MISSING) or (strict and self.answer is Answer.UNDECIDED)


def unknown_metric(name: str, names: Sequence[str]) -> str:
    """Return what to say of a metric that is not there: the nearest name, such as latency_ms_p99 for p99, and all."""
    words = set(re.findall(r"[a-z0-9]+", name.lower()))
    having = [one for one in names if words and words <= set(one.split("_"))]
    nearest = min(having, key=len, default=None) or nearest_name(name, names)
    hint = f"; did you mean {nearest}?" if nearest else "."
    return f"no metric is called {name}{hint} There are: {', '.join(names)}"


def parse_limit(text: str) -> Limit:
    """Read a limit: METRIC, ``>`` or ``<``, and a change with its sign and unit.

    ``%`` is relative to the baseline; of shares, such as SLA attainment and path mix, it means percentage points.

    Raises
    ------
    LimitError
        If it is none.

    Examples
    --------
    >>> parse_limit("latency_ms_p99 > +2%").relative
    0.02
    >>> parse_limit("sla_attainment < -0.1%").absolute
    -0.001
    """
    found = WRITTEN.fullmatch(text)
    if found is None:
        raise LimitError(f"{text!r} is no limit; allowed: METRIC > +CHANGE or METRIC < -CHANGE, as in {EXAMPLES}")
    metric, written, unit = found["metric"], found["number"], found["unit"]
    base = metric.partition("[")[0]
    if base not in NAMES:
        raise LimitError(f"{text!r}: {unknown_metric(metric, NAMES)}")
    number, side = float(written), found["side"]
    sign = "+" if side == ">" else "-"
    if written[0] not in "+-" and number != 0:
        raise LimitError(
            f"{text!r}: a limit is about the change, so write its sign: {metric} {side} {sign}{written}{unit}"
        )
    if number != 0 and written[0] != sign:
        raise LimitError(
            f"{text!r}: a change of zero would exceed it; allowed: METRIC > +CHANGE or METRIC < -CHANGE, "
            f"as in {EXAMPLES}"
        )
    absolute, relative = _amount(text, metric, number, unit)
    return Limit(text.strip(), metric, side == ">", absolute, relative)


def _amount(text: str, metric: str, number: float, unit: str) -> tuple[float, float]:
    """Return the absolute and the relative part of a change in `unit`."""
    if is_share(metric):
        units = {"%": 0.01, "points": 0.01, "": 1.0}
    elif unit == "%":
        return 0.0, number / 100.0
    else:
        units = {"": 1.0, **({"ms": PER_MS, "/s": PER_SECOND}.get(unit_of(metric)) or {unit_of(metric): 1.0})}
    if unit not in units:
        allowed = ", ".join(dict.fromkeys(("%", *(name for name in units if name), "none")))
        raise LimitError(f"{text!r}: {metric} has no unit {unit!r}; allowed: {allowed}")
    return number * units[unit], 0.0


def judge_limits(limits: Sequence[Limit], comparisons: Sequence[Comparison]) -> list[Judgement]:
    """Hold every limit against every comparison.

    A limit is exceeded where the whole interval of the change lies beyond it, kept where none of it does, and undecided
    otherwise. A scenario that saturates where its baseline did not exceeds every upper limit of latency.

    Raises
    ------
    LimitError
        If no comparison has a metric of that name.
    """
    names = list(dict.fromkeys(row.metric for one in comparisons for row in one.rows))
    for limit in limits:
        if limit.metric not in names:
            raise LimitError(f"{limit.text!r}: {unknown_metric(limit.metric, names)}")
    return [_judge(limit, one) for limit in limits for one in comparisons]


def _judge(limit: Limit, comparison: Comparison) -> Judgement:
    row = comparison.row(limit.metric)
    if row is None:
        return Judgement(limit, comparison, None, Answer.MISSING, "these scenarios have no such metric")
    if row.difference is None:
        return Judgement(limit, comparison, row, *_without_value(limit, comparison, row))
    excess = beyond(
        row.baseline,
        row.values,
        absolute=limit.absolute,
        relative=limit.relative,
        paired=comparison.pairing.paired,
        confidence=comparison.confidence,
    )
    answer = _answer(excess, limit.above)
    reason = "" if answer is not Answer.UNDECIDED else excess.reason or "the interval holds the limit"
    return Judgement(limit, comparison, row, answer, reason)


def _answer(excess: Interval, above: bool) -> Answer:
    if excess.low is None or excess.high is None:
        return Answer.UNDECIDED
    near, far = (excess.low, excess.high) if above else (-excess.high, -excess.low)
    if near > 0:
        return Answer.EXCEEDED
    return Answer.KEPT if far <= 0 else Answer.UNDECIDED


def _without_value(limit: Limit, comparison: Comparison, row: Row) -> tuple[Answer, str]:
    """Judge a metric that a side lacks."""
    group = {"", row.query_class}
    before, after = (bool(group & one.saturated) for one in (comparison.baseline, comparison.other))
    if row.metric.startswith("latency_ms_") and before != after:
        # Latency without end is beyond every limit; getting rid of it is beyond none.
        return (Answer.EXCEEDED if after == limit.above else Answer.KEPT), row.reason
    return Answer.MISSING, row.reason
