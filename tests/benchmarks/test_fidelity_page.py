"""The table of docs/fidelity.md goes between its markers, and says what was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import fidelity
from benchmarks.fidelity import BEGIN, CASES, END, LIMITS, PAGE, Case, run_case, section, with_table
from sim.report.agreement import compare_runs
from sim.study.scenario import shipped_experiments


def run(folder: Path, p99: float, **more: Any) -> Path:
    folder.mkdir()
    metric = {"value": p99, "low": None, "high": None}
    scenario = {"parameters": {}, "saturated": False, "metrics": {"latency_ms_p99": metric}}
    scenario |= {"path_mix": {"table@cpu": 1.0}}
    summary = {"name": "a case", "percentile": "p99", "scenarios": [scenario], **more}
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def test_the_page_has_its_markers_and_names_the_cases() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_table(page, "the table").count("the table") == page.count("the table") + 1
    for case in CASES:
        assert case.experiment in shipped_experiments()
        assert f"| `{case.experiment}` | {case.loads} | {case.blocks} |" in page


def test_only_what_is_between_the_markers_is_replaced() -> None:
    page = with_table(f"before\n{BEGIN}\nold\n{END}\nafter\n", "new")
    assert page.startswith(f"before\n{BEGIN}\n")
    assert page.endswith(f"new\n\n{END}\nafter\n")
    assert "old" not in page
    with pytest.raises(ValueError, match="has no"):
        with_table("nothing here", "new")


def test_a_case_says_what_was_missed_and_what_was_unfit(tmp_path: Path) -> None:
    observation = {
        "fit": False,
        "reasons": ["3 of 9 blocks were disturbed"],
        "waiting": "poll",
        "capacity_per_s": 1234.0,
        "dispatch_overhead_us": {"back to back": {"p50": 11.2}, "idle": {"p50": 31.0}},
        "idle_over_back_to_back": 1.02,
        "blocks_set_aside": 3,
        "blocks_run": 9,
    }
    predicted = run(tmp_path / "predicted", 12.0)
    real = run(tmp_path / "real", 10.0, observation=observation)
    text = section(
        Case("observe-table", "0.3,0.5", 2),
        compare_runs(predicted, real, LIMITS),
        {"started": "2026-01-02T03:04:05", "host": "a CPU", "observation": observation},
    )
    assert text.startswith("### a case, at a load of 0.3 and 0.5\n")
    assert "2026-01-02, a CPU. Load 1 is 1,234 queries per second" in text
    assert "**Unfit**: 3 of 9 blocks were disturbed." in text
    assert "| the scenario | p99 | 12 ms | 10 ms | +20.0% |  | 10% MISSED |" in text


@pytest.mark.parametrize(
    ("fit", "blocks", "aside"),
    [(True, 2, []), (False, 2, ["observe-table-0.7-aside-1"]), (True, 3, ["observe-table-0.7-aside-1"])],
)
def test_what_is_there_and_fit_is_not_served_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fit: bool, blocks: int, aside: list[str]
) -> None:
    real = tmp_path / "observe-table-0.7"
    observations = []

    def mprec(*arguments: str) -> int:
        folder = Path(arguments[arguments.index("--out") + 1]) if "--out" in arguments else None
        if arguments[:2] == ("calibrate", "observe"):
            observations.append(arguments)
            run(real, 10.0, observation={"fit": fit, "reasons": []})
            (real / "manifest.json").write_text(json.dumps({"command": ["mprec", *arguments]}))
        elif folder is not None:
            run(folder, 11.0)
        return 0

    monkeypatch.setattr(fidelity, "mprec", mprec)
    monkeypatch.setattr(fidelity, "DRAWS", (1,))
    found, _ = run_case(Case("observe-table", "0.7", 2), tmp_path)
    again, _ = run_case(Case("observe-table", "0.7", blocks), tmp_path, resume=True)
    assert len(observations) == 1 + len(aside)
    assert sorted(file.name for file in tmp_path.glob("*-aside-*")) == aside
    assert again == found
    assert again.comparisons
