"""What a capacity search found: brackets, how they compare, and its files."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.report.parameters import asked, design, label
from sim.report.table import EVIDENCE
from sim.stats.interval import Interval

__all__ = [
    "Answer",
    "CapacityReport",
    "Looked",
    "Ranking",
    "RunnerUp",
    "points_csv",
    "ranked",
    "shown",
    "weakest",
]


@dataclass(frozen=True, slots=True)
class Looked:
    """A look at one value of one scenario.

    Attributes
    ----------
    value : float
        Queries a second, nodes, or milliseconds of the SLA.
    counts : dict
        Nodes of each group, where these are looked for.
    decision : str
    excess, low, high : float or None
        The worst of what is asked over its limit, with the bounds that decided.
    latency_ms : float or None
        Mean over replications of the percentile that is asked for.
    replications : int
    queries : float
        Mean number in a replication.
    saturated : bool
    why : str
    """

    value: float
    counts: dict[str, int]
    decision: str
    excess: float | None
    low: float | None
    high: float | None
    latency_ms: float | None
    replications: int
    queries: float
    saturated: bool
    why: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found for one scenario.

    Attributes
    ----------
    parameters : dict
        What distinguishes it in the sweep.
    meets, misses : float or None
        Ends of the bracket: values proved to meet and to miss; None where nothing was proved.
    estimate : float or None
        Where it stops to meet, by interpolation.
    saturates : float or None
        The load from which it is saturated, or the smallest that was found to be.
    saturates_by : str
        "offered load" where that is known exactly, "drift" where the backlog says so.
    reached : bool
        Whether the bracket is as narrow as asked.
    counts : dict
        The nodes of each group of the answer, where these are looked for.
    cost : float or None
        US$ an hour, or watts, of the answer.
    notes : tuple of str
        What the reader has to know besides.
    looked : tuple of Looked
        Everything that was looked at, in its order.
    """

    parameters: dict[str, Any]
    meets: float | None
    misses: float | None
    estimate: float | None
    saturates: float | None
    saturates_by: str
    reached: bool
    counts: dict[str, int]
    cost: float | None
    notes: tuple[str, ...]
    looked: tuple[Looked, ...]

    @property
    def label(self) -> str:
        """Its parameters in one line."""
        return label(self.parameters)

    @property
    def design(self) -> str:
        """Those of its parameters in one line that are not what is asked."""
        return label(design(self.parameters))


@dataclass(frozen=True, slots=True)
class RunnerUp:
    """The second of a ranking beside the first, at the value that the first was proved to meet.

    Attributes
    ----------
    first, second : int
        Indices of the answers.
    told_apart : bool
        Whether their brackets do not overlap.
    at : float
    difference : Interval or None
        Latency of the second less that of the first in ms, paired by replication; None where there is no pair.
    saturated : bool
        The second is saturated there.
    """

    first: int
    second: int
    told_apart: bool
    at: float
    difference: Interval | None
    saturated: bool


@dataclass(frozen=True, slots=True)
class Ranking:
    """How the answers of scenarios compare of which the same is asked.

    Attributes
    ----------
    asked : dict
        The parameters that say what, where the sweep varies it.
    answers : tuple of int
        Indices of the answers.
    order : tuple of int
        Those that are proved to meet something, the best first.
    runner_up : RunnerUp or None
    """

    asked: dict[str, Any]
    answers: tuple[int, ...]
    order: tuple[int, ...]
    runner_up: RunnerUp | None = None


def ranked(answers: Sequence[Answer], find: str) -> tuple[Ranking, ...]:
    """Rank the answers to each of the questions that a sweep asks, in its order; no runner-up is looked at."""

    def rank(index: int) -> float:
        answer = answers[index]
        assert answer.meets is not None
        if find == "rate":
            return -answer.meets
        return answer.meets if answer.cost is None else answer.cost

    members: dict[str, list[int]] = {}
    for i, answer in enumerate(answers):
        members.setdefault(repr(asked(answer.parameters)), []).append(i)
    return tuple(
        Ranking(
            asked=asked(answers[group[0]].parameters),
            answers=tuple(group),
            order=tuple(sorted((i for i in group if answers[i].meets is not None), key=rank)),
        )
        for group in members.values()
    )


@dataclass(frozen=True, slots=True)
class CapacityReport:
    """The whole answer.

    Attributes
    ----------
    name, model : str
    find : str
        "rate", "nodes" or "sla".
    percentile : str
    slas : tuple of str
        As they are shown.
    attainment : float or None
    confidence, tolerance : float
    by : str
        "price" or "energy", where several groups are mixed; empty otherwise.
    answers : tuple of Answer
        In the order of the sweep.
    rankings : tuple of Ranking
    assumptions : tuple of str
    evidence : str
    seed : int
    queries : int
        Simulated, not counting what was taken from earlier runs.
    out_dir : Path or None
    """

    name: str
    model: str
    find: str
    percentile: str
    slas: tuple[str, ...]
    attainment: float | None
    confidence: float
    tolerance: float
    by: str
    answers: tuple[Answer, ...]
    rankings: tuple[Ranking, ...]
    assumptions: tuple[str, ...]
    evidence: str
    seed: int
    out_dir: Path | None

    def to_json_dict(self) -> dict[str, Any]:
        """Return the content of ``capacity.json``."""
        return {
            "name": self.name,
            "model": self.model,
            "seed": self.seed,
            "find": self.find,
            "unit": {"rate": "queries/s", "nodes": "nodes", "sla": "ms"}[self.find],
            "percentile": self.percentile,
            "slas": list(self.slas),
            "attainment": self.attainment,
            "confidence": self.confidence,
            "tolerance": self.tolerance,
            **({"by": self.by} if self.by else {}),
            "evidence": self.evidence,
            "assumptions": list(self.assumptions),
            "answers": [
                {
                    "parameters": answer.parameters,
                    "meets": answer.meets,
                    "misses": answer.misses,
                    "estimate": answer.estimate,
                    "reached": answer.reached,
                    "saturates": answer.saturates,
                    "saturates_by": answer.saturates_by,
                    **({"counts": answer.counts, "cost": answer.cost} if answer.counts else {}),
                    "notes": list(answer.notes),
                    "looks": len(answer.looked),
                }
                for answer in self.answers
            ],
            "rankings": [
                {
                    "asked": one.asked,
                    "order": list(one.order),
                    "runner_up": None if one.runner_up is None else _second_json(one.runner_up),
                }
                for one in self.rankings
            ],
        }


def _second_json(runner_up: RunnerUp) -> dict[str, Any]:
    gap = runner_up.difference
    return {
        "first": runner_up.first,
        "second": runner_up.second,
        "told_apart": runner_up.told_apart,
        "at": runner_up.at,
        "latency_ms_difference": None
        if gap is None
        else {name: getattr(gap, name) for name in ("value", "low", "high")},
        "saturated": runner_up.saturated,
    }


def points_csv(report: CapacityReport) -> str:
    """Return ``points.csv``: a row for every look."""
    parameters = list(dict.fromkeys(key for answer in report.answers for key in answer.parameters))
    groups = list(dict.fromkeys(g for answer in report.answers for looked in answer.looked for g in looked.counts))
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    value = {"rate": "rate_per_s", "nodes": "nodes", "sla": "sla_ms"}[report.find]
    rows.writerow(
        [
            *parameters,
            value,
            *(f"nodes_{group}" for group in groups),
            *("decision", "excess", "low", "high", f"latency_ms_{report.percentile}"),
            *("replications", "queries", "saturated", "why"),
        ]
    )
    for answer in report.answers:
        for one in answer.looked:
            numbers = (one.excess, one.low, one.high, one.latency_ms)
            rows.writerow(
                [
                    *(answer.parameters.get(key, "") for key in parameters),
                    repr(one.value),
                    *(one.counts.get(group, 0) for group in groups),
                    one.decision,
                    *("" if number is None else repr(number) for number in numbers),
                    one.replications,
                    repr(one.queries),
                    str(one.saturated).lower(),
                    one.why,
                ]
            )
    return text.getvalue()


def shown(find: str, value: float | None) -> str:
    """Return a value with its unit."""
    if value is None:
        return "-"
    if find == "rate":
        return f"{value:,.4g}/s" if value < 10_000 else f"{value:,.0f}/s"
    return f"{value:,.0f}" if find == "nodes" else f"{value:,.4g} ms"


def weakest(kinds: Sequence[str]) -> str:
    """Return the weakest kind of evidence."""
    return min(kinds, key=EVIDENCE.index)
