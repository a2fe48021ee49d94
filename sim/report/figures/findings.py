"""Titles that say what was found, where it follows surely from the numbers; None where only a question is left."""

from __future__ import annotations

from collections.abc import Sequence

from sim.report.figures.series import Entry, Run
from sim.report.written import duration_text

__all__ = ["limit_of", "meets_up_to", "most_correct", "who_meets"]

MEETS = "meets"
NOT_MET = ("misses", "saturated")


def limit_of(entries: Sequence[Entry]) -> str:
    """Return the latency limit in words."""
    if any(entry.data.get("classes") for entry in entries):
        return "the SLA of every class"
    slas = sorted({float(entry.data["sla_ms"]) for entry in entries})
    return duration_text(slas[0]) if len(slas) == 1 else "the SLA"


def who_meets(run: Run, entries: Sequence[Entry], names: Sequence[str]) -> str | None:
    """Return how many scenarios meet the SLA, by name if only one does."""
    if not entries or not all(entry.verdict for entry in entries):
        return None
    what = f"{limit_of(entries)} at {run.percentile}"
    met = [name for entry, name in zip(entries, names, strict=True) if entry.verdict == MEETS]
    if len(entries) == 1:
        return {MEETS: f"meets {what}", "misses": f"misses {what}", "saturated": "saturated"}.get(entries[0].verdict)
    if len(met) == len(entries):
        return f"all {len(entries)} meet {what}"
    if not met:
        return f"none of {len(entries)} meets {what}"
    return f"{met[0]} alone meets {what}" if len(met) == 1 else f"{len(met)} of {len(entries)} meet {what}"


def meets_up_to(run: Run) -> str | None:
    """Return who meets the SLA up to the highest load, of the loads that were tried."""
    if not run.load_is_rate or not all(entry.verdict for entry in run.entries):
        return None
    what = f"{limit_of(run.entries)} at {run.percentile}"
    if not any(entry.verdict == MEETS for entry in run.entries):
        sure = all(entry.verdict in NOT_MET for entry in run.entries)
        return f"{what} is missed at every load tried" if sure else None
    reached = {label: _reached(run.line(label)) for label in run.labels}
    furthest = max(reached.values(), key=lambda one: one.load or 0.0 if one else 0.0)
    if furthest is None:
        return None
    first = [label for label, one in reached.items() if one is not None and one.load == furthest.load]
    highest = furthest.load_label == run.loads[-1]
    where = "at every load tried" if highest else f"up to {furthest.load_label}"
    if len(run.labels) == 1:
        return f"{first[0] or run.percentile} meets {what if first[0] else limit_of(run.entries)} {where}"
    if len(first) == len(run.labels):
        every = "Both" if len(first) == 2 else f"All {len(first)}"
        return f"{every} meet {what} {where}"
    if len(first) == 1:
        return f"{first[0]} meets {what} {where}"
    return f"{len(first)} of {len(run.labels)} meet {what} {where}"


def _reached(line: Sequence[Entry]) -> Entry | None:
    """Return the last of the entries that meet the SLA, from the lowest load on."""
    reached = None
    for entry in line:
        if entry.verdict != MEETS:
            break
        reached = entry
    return reached


def most_correct(run: Run) -> str | None:
    """Return who serves the most correct predictions in time, where the intervals leave no doubt."""
    if run.load_axis is None:
        best = _best(list(run.entries))
        return None if best is None else f"{best.name} serves the most correct predictions in time"
    if len(run.labels) < 2:
        return None
    winners = [_best(run.at(load)) for load in run.loads]
    last = winners[-1]
    if last is None:
        return None
    every = all(one is not None and one.label == last.label for one in winners)
    where = "at every load tried" if every and run.load_is_rate else f"at {last.load_label}"
    return f"{last.label} serves the most correct predictions in time {where}"


def _best(entries: Sequence[Entry]) -> Entry | None:
    """Return the entry whose interval is above those of all others."""
    points = [(entry, entry.metric("correct_predictions_within_sla_per_s")) for entry in entries]
    if len(points) < 2 or any(point.low is None or point.high is None for _, point in points):
        return None
    best, own = max(points, key=lambda one: one[1].low or 0.0)
    others = [point.high or 0.0 for entry, point in points if entry is not best]
    return best if (own.low or 0.0) > max(others) else None
