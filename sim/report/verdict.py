"""Whether scenarios meet the SLA, and which serves the most correct predictions within it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from sim.report.comparison import Gain
from sim.report.parameters import design, label
from sim.stats.classes import ClassSummary
from sim.stats.summary import ScenarioSummary

__all__ = ["Answer", "Verdict", "headline", "judge", "probability_of"]


class Answer(Enum):
    """Whether a latency percentile meets the SLA."""

    MEETS = "meets"
    MISSES = "misses"
    CLOSE = "too close to call"
    SATURATED = "saturated"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer for one scenario, or one class of its queries, and why, where it is not plain from the numbers."""

    answer: Answer
    why: str = ""


WORST_FIRST = (Answer.SATURATED, Answer.MISSES, Answer.UNKNOWN, Answer.CLOSE)


def judge(summary: ScenarioSummary | ClassSummary, percentile: str) -> Verdict:
    """Return whether the latency percentile of a scenario, or of a class of its queries, is within its SLA.

    The interval decides: entirely within, entirely beyond, or too close to call; then the share in time does, if all
    of its interval is below the percentile. Queries that were dropped have no latency, so a scenario that drops more
    than the percentile leaves aside cannot meet it. A scenario with classes
    meets its SLAs if every class meets its own.
    """
    if isinstance(summary, ScenarioSummary) and summary.classes:
        return _judge_classes(summary, percentile)
    metric = summary.metrics[f"latency_ms_{percentile}"]
    if summary.saturated:
        return Verdict(Answer.SATURATED, summary.saturation.reason or "")
    dropped = summary.metrics["drop_rate"].value or 0.0
    if dropped > 1.0 - probability_of(percentile):
        return Verdict(Answer.MISSES, f"{dropped:.1%} of the queries are dropped")
    if metric.value is None:
        return Verdict(Answer.UNKNOWN, metric.reason or "")
    low = metric.value if metric.low is None else metric.low
    high = metric.value if metric.high is None else metric.high
    if high <= summary.sla_ms:
        return Verdict(Answer.MEETS)
    if low > summary.sla_ms:
        return Verdict(Answer.MISSES)
    # Near saturation a percentile varies so much that its interval says nothing, and the share in time still does.
    in_time = summary.metrics["sla_attainment"].high
    if in_time is not None and in_time < probability_of(percentile):
        return Verdict(Answer.MISSES, f"at most {in_time:.1%} of the queries are in time")
    return Verdict(Answer.CLOSE)


def _judge_classes(summary: ScenarioSummary, percentile: str) -> Verdict:
    if summary.saturated:
        return Verdict(Answer.SATURATED, summary.saturation.reason or "")
    verdicts = {name: judge(one, percentile) for name, one in summary.classes.items()}
    for answer in WORST_FIRST:
        if any(one.answer is answer for one in verdicts.values()):
            whys = [f"{name}: {one.why}" for name, one in verdicts.items() if one.answer is answer and one.why]
            return Verdict(answer, "; ".join(whys))
    return Verdict(Answer.MEETS)


def probability_of(percentile: str) -> float:
    """Return the probability that a percentile such as ``"p99"`` or ``"p999"`` stands for."""
    digits = percentile.removeprefix("p")
    return float(f"0.{digits}")


def headline(
    summaries: Sequence[ScenarioSummary], verdicts: Sequence[Verdict], gains: Sequence[Gain | None], percentile: str
) -> list[str]:
    """Return, for each group of scenarios under one load, which one to take.

    Scenarios that share all parameters but one make a group: the first that is not what is asked. Of those that meet
    the SLA the one with the most correct predictions per second in time is named, with its gain over the baseline.
    Where all parameters are what is asked, such as the load, none is named.
    """
    lines = []
    compared = next(iter(design(summaries[0].parameters)), None) if summaries else None
    sla = "the SLA of every class" if any(summary.classes for summary in summaries) else "the SLA"
    for where, members in _groups(summaries, compared).items():
        prefix = f"{where}: " if where else ""
        meeting = [i for i in members if verdicts[i].answer is Answer.MEETS]
        if all(verdicts[i].answer is Answer.SATURATED for i in members):
            best = max(members, key=lambda i: _correct_in_time(summaries[i]))
            most = f"; most correct predictions in time: {_name(summaries[best], compared)}{_gain_text(gains[best])}"
            told = compared is not None and len(members) > 1 and _correct_in_time(summaries[best]) > 0.0
            lines.append(f"{prefix}{'every scenario' if len(members) > 1 else 'it'} is saturated{most if told else ''}")
            continue
        unknown, close = (
            sum(verdicts[i].answer is answer for i in members) for answer in (Answer.UNKNOWN, Answer.CLOSE)
        )
        if len(members) in (unknown, close):
            lines.append(
                f"{prefix}whether {sla} is met at {percentile} is {'unknown' if unknown else Answer.CLOSE.value}"
            )
            continue
        of_some = f"; of {unknown} it is unknown" if unknown else ""
        if close:
            of_some += f"; {close} {'is' if close == 1 else 'are'} {Answer.CLOSE.value}"
        if not meeting:
            known = "is known to meet" if of_some else "meets"
            lines.append(f"{prefix}no scenario {known} {sla} at {percentile}{of_some}")
            continue
        best = max(meeting, key=lambda i: _correct_in_time(summaries[i]))
        name = _name(summaries[best], compared)
        if len(members) == 1:
            lines.append(f"{prefix}{name} meets {sla} at {percentile}" if name else f"{sla} is met at {percentile}")
        else:
            most = f"; most correct predictions in time: {name}{_gain_text(gains[best])}"
            of = f"{len(meeting)} of {len(members)} meet {sla} at {percentile}{of_some}"
            lines.append(f"{prefix}{of}{'' if compared is None else most}")
    return lines


def _correct_in_time(summary: ScenarioSummary) -> float:
    return summary.metrics["correct_predictions_within_sla_per_s"].value or 0.0


def _gain_text(gain: Gain | None) -> str:
    if gain is None or gain.correct_within_sla.value is None:
        return ""
    ratio = gain.correct_within_sla
    if ratio.low is None or ratio.high is None:
        return f" ({ratio.value:.4g}x the baseline)"
    noise = ", within noise" if ratio.low <= 1.0 <= ratio.high else ""
    return f" ({ratio.value:.4g}x the baseline [{ratio.low:.4g}, {ratio.high:.4g}]{noise})"


def _groups(summaries: Sequence[ScenarioSummary], compared: str | None) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for i, summary in enumerate(summaries):
        shared = {} if compared is None else {k: v for k, v in summary.parameters.items() if k != compared}
        groups.setdefault(label(shared), []).append(i)
    return groups


def _name(summary: ScenarioSummary, compared: str | None) -> str:
    return label(summary.parameters) if compared is None else str(summary.parameters[compared])
