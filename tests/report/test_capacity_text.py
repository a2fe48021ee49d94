"""What a capacity search says: answers are compared where the same is asked, and only there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sim.report.capacity import Answer, CapacityReport, Ranking, RunnerUp, ranked
from sim.report.capacity_text import render_capacity
from sim.stats.interval import Interval


def answer(meets: float | None, **parameters: Any) -> Answer:
    return Answer(
        parameters={key.replace("__", "."): value for key, value in parameters.items()},
        meets=meets,
        misses=None if meets is None else meets - 1,
        estimate=None,
        saturates=None,
        saturates_by="drift",
        reached=True,
        counts={},
        cost=None,
        notes=(),
        looked=(),
    )


def verdict(*answers: Answer, find: str = "nodes", runner_up: RunnerUp | None = None) -> list[str]:
    report = CapacityReport(
        name="made up",
        model="m",
        find=find,
        percentile="p99",
        slas=("10 ms",),
        attainment=None,
        confidence=0.95,
        tolerance=0.02,
        by="",
        answers=answers,
        rankings=tuple(replace(one, runner_up=runner_up) for one in ranked(answers, find)),
        assumptions=(),
        evidence="measured",
        seed=1,
        out_dir=None,
    )
    parts = [part.split("\n") for part in render_capacity(report, 100).split("\n\n")]
    assert [part[0] for part in parts[:: len(parts) - 1]] == ["made up", "Assumptions"]
    return parts[2] if len(parts) == 4 else []


def test_designs_are_compared_under_each_load() -> None:
    answers = [
        answer(5.0, router="random", workload__arrivals__rate="100/s", sla="10ms"),
        answer(11.0, router="random", workload__arrivals__rate="200/s", sla="10ms"),
        answer(4.0, router="backlog", workload__arrivals__rate="100/s", sla="10ms"),
        answer(8.0, router="backlog", workload__arrivals__rate="200/s", sla="10ms"),
        answer(None, router="backlog", workload__arrivals__rate="900/s", sla="10ms"),
    ]
    asked = [{"workload.arrivals.rate": rate, "sla": "10ms"} for rate in ("100/s", "200/s", "900/s")]
    assert ranked(answers, "nodes") == (
        Ranking(asked[0], (0, 2), (2, 0)),
        Ranking(asked[1], (1, 3), (3, 1)),
        Ranking(asked[2], (4,), ()),
    )
    assert verdict(*answers) == [
        "100/s, 10ms: fewest nodes: backlog, proved to meet from 4, to miss up to 3",
        "200/s, 10ms: fewest nodes: backlog, proved to meet from 8, to miss up to 7",
        "900/s, 10ms: nothing was proved to meet it",
    ]


def test_loads_are_not_compared_with_each_other() -> None:
    assert verdict(answer(5.0, workload__arrivals__rate="1/s"), answer(9.0, workload__arrivals__rate="2/s")) == []


def test_one_answer_is_said_in_a_line_and_several_are_ranked() -> None:
    assert verdict(answer(5.0)) == ["proved to meet from 5, to miss up to 4"]
    both = (answer(50.0, policy="a"), answer(90.0, policy="b"))
    assert verdict(*both, find="rate") == ["most load: b, proved to meet up to 90/s, to miss from 89/s"]


@pytest.mark.parametrize(
    ("second", "gap", "said"),
    [
        (
            9.0,
            (2.0, 1.5, 2.5),
            "runner-up: b, {}; the two brackets overlap; at 5 its p99 is 2 ms higher [1.5, 2.5] than",
        ),
        (
            9.0,
            (-2.0, -2.5, -1.5),
            "runner-up: b, {}; the two brackets overlap; at 5 its p99 is 2 ms lower [1.5, 2.5] than",
        ),
        (
            5.0,
            (-0.3, -0.5, 0.1),
            "as good: b, {}; the two brackets overlap; at 5 its p99 differs from that of a by -0.3",
        ),
        (5.0, (0.0, 0.0, 0.0), "as good: b, {}; the two brackets overlap; at 5 its p99 is that of a"),
    ],
)
def test_the_second_is_set_beside_the_first(second: float, gap: tuple[float, float, float], said: str) -> None:
    beside = RunnerUp(0, 1, False, 5.0, Interval(*gap), False)
    _, *lines = verdict(answer(5.0, policy="a"), answer(second, policy="b"), runner_up=beside)
    proved = f"proved to meet from {second:.0f}, to miss up to {second - 1:.0f}"
    assert " ".join(line.strip() for line in lines).startswith(said.format(proved))
