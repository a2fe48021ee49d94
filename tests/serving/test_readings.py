"""What a result takes for granted where measured tables are read otherwise than they were measured is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.spec.problems import SpecError
from tests.harness import prepare_text

TEXT = """\
name: t
model: {{name: m, representations: {{table: {{accuracy: {{value: 90%, evidence: assumed}}, bytes: 1GB}}}}}}
sla: 10ms
workload: {{arrivals: {{kind: poisson, rate: 9/s}}, sizes: {{kind: uniform, min: 2, max: {largest}}}, queries: 5}}
fleet: [{{name: n, devices: {{d: {{profile: {{name: own, kind: cpu, memory: 9GB, lanes: 1, evidence: {evidence},
  {provenance} service: {{m: {{table: {table}}}}}}}, {use}}}}}}}]
policy: {{kind: static, representation: table, device: d}}
{more}
"""
WHOLE = "{sizes: [2, 8], quantiles: [0, 1], service: [[1ms, 2ms], [3ms, 4ms]]}"


def lines(
    folder: Path,
    table: str = WHOLE,
    use: str = "lanes: 1",
    largest: int = 8,
    more: str = "",
    evidence: str = "measured",
) -> list[str]:
    provenance = "" if evidence == "modelled" else "provenance: {source: me},"
    text = TEXT.format(table=table, use=use, largest=largest, more=more, evidence=evidence, provenance=provenance)
    (scenario,) = prepare_text(folder, text)
    return [line.removeprefix("service times of own ") for line in scenario.assumptions if "times of own" in line]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, []),
        ({"use": "beyond: linear"}, []),
        ({"use": "beyond: linear", "largest": 9}, ["beyond 8 samples, which were not measured, go on in a line"]),
        (
            {"use": "beyond: linear", "more": "batching: {queries: 2, timeout: 1ms}"},
            ["beyond 8 samples, which were not measured, go on in a line"],
        ),
        (
            {"use": "beyond: linear", "table": WHOLE.replace("[2, 8]", "[4, 8]")},
            ["below 4 samples, which were not measured, are those at 4"],
        ),
        ({"use": "round_to: 1ms"}, ["are rounded to multiples of 1 ms"]),
        (
            {"use": "round_to: 10ms"},
            ["are rounded to multiples of 10 ms; what is shorter than 5 ms takes no time"],
        ),
        (
            {"table": WHOLE.replace("[0, 1]", "[0.5, 0.95]")},
            [
                "below p50 are taken to be p50: the mean is too high",
                "beyond p95 are taken to be p95: the tail is too short",
            ],
        ),
        (
            {"table": "{sizes: [2, 8], quantiles: [0.5], service: [[1ms], [3ms]]}"},
            ["do not vary: one quantile of them is known"],
        ),
        ({"use": "beyond: linear", "largest": 9, "evidence": "modelled"}, ["are modelled, not measured"]),
    ],
)
def test_lines(given: dict[str, str], said: list[str], tmp_path: Path) -> None:
    assert lines(tmp_path, **given) == said  # type: ignore[arg-type]


def test_shared_tables_have_to_be_known(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"mapping\.shared_tables: has no effect: how much of m is tables is not known"):
        lines(tmp_path, more="mapping: {kind: most-accurate-first, shared_tables: true}")
