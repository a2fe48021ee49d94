"""The coverage study in small: right intervals cover, and those of short runs are warned of."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from benchmarks import coverage
from benchmarks.coverage import Case, Outcome, main, repeat, table, true_values_ms


def test_true_values_of_one_server_are_the_textbook_s() -> None:
    # The time in system is exponential with mean 1 / (1 - load).
    assert true_values_ms(1, 0.8) == pytest.approx({"mean": 5.0, "p95": 5 * math.log(20), "p99": 5 * math.log(100)})
    # Erlang C of four servers at load 0.8 is 0.5964.
    assert true_values_ms(4, 0.8)["mean"] == pytest.approx(1 + 0.5964 / 0.8, rel=1e-3)


def test_intervals_of_runs_that_are_not_warned_of_cover_the_true_value() -> None:
    repeats = 30
    found = [repeat(Case(1, 0.5, 6_000), seed) for seed in range(1, repeats + 1)]
    for label in ("mean", "p95", "p99"):
        sound = [one.covered[label] for one in found if not one.warned[label]]
        assert len(sound) >= 0.7 * repeats
        # At 95% it is less once in a thousand times (27 experiments), at 60% all but always.
        assert sum(sound) >= 0.77 * len(sound)


def test_short_runs_are_warned_of() -> None:
    found = [repeat(Case(servers, 0.9, 5_000), seed) for servers in (1, 4) for seed in range(1, 9)]
    assert all(one.warned["p99"] for one in found)
    assert sum(one.covered["p99"] for one in found) <= 14


def test_what_is_finished_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs: list[Any] = []
    outcome = Outcome({"mean": True, "p95": True, "p99": False}, {"mean": False, "p95": False, "p99": True}, 10, True)

    def pretended(_given: None, task: tuple[Case, int]) -> Outcome:
        runs.append(task)
        return outcome

    monkeypatch.setattr(coverage, "_repeat", pretended)
    file = tmp_path / "runs" / "coverage.jsonl"
    options = ["--jobs", "1", "--out", str(file), "--only", "M/M/1 load 0.5 2,000"]
    assert main([*options, "--repeats", "2"]) == 0
    with file.open("a") as stream:
        stream.write('{"case": "half a li')
    assert main([*options, "--repeats", "3"]) == 0
    assert [seed for _, seed in runs] == [1, 2, 3]
    assert [json.loads(line)["seed"] for line in file.read_text().splitlines()] == [1, 2, 3]
    assert "| M/M/1 load 0.5 2,000 queries | 3 | 100.0% | 100.0% | 0.0% (100% warned) | 10 |" in capsys.readouterr().out


def test_the_table_says_what_precision_took() -> None:
    outcomes = [
        Outcome(dict.fromkeys(coverage.METRICS, True), dict.fromkeys(coverage.METRICS, False), n, n < 60)
        for n in (10, 20, 60)
    ]
    *_, row = table({Case(1, 0.5, 100, "{}"): outcomes})
    assert row.endswith("| 3 | 100.0% | 100.0% | 100.0% | 10 to 60, half at most 20; 1 not precise |")
