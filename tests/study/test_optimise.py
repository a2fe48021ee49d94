"""Searches over designs: an exact front, resumption, seeds, and designs that fail, cannot be had or cannot exist."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from sim.report.designs import DesignReport, render_designs
from sim.report.figures import pareto
from sim.report.json_files import read_summary
from sim.study import optimise
from sim.study.checkpoint import CheckpointMismatch
from sim.study.evaluation import Evaluator
from sim.study.optimise import SearchRequest, perform_search
from sim.study.runs import DirectoryInUse

EXACT = """\
name: by hand
model:
  representations:
    table: {accuracy: {value: 80%, evidence: assumed}}
    hybrid: {accuracy: {value: 90%, evidence: assumed}}
sla: 10ms
workload:
  arrivals: {kind: poisson, rate: 0.2/s}
  sizes: {kind: fixed, size: 100}
  queries: 1100
  warmup: 0s
fleet:
  - name: n
    devices: {d: {profile: {kind: cpu, price: 1USD/h, service: {distribution: deterministic, mean: 4ms}}}}
policy: {kind: static, representation: table}
replications: 3
optimise:
  choices:
    policy.representation: [table, hybrid]
    fleet.n.devices.d.profile:
      slow: {kind: cpu, price: 1USD/h, service: {distribution: deterministic, mean: 4ms}}
      fast: {kind: cpu, price: 3USD/h, service: {distribution: deterministic, mean: 1ms}}
      dear: {kind: cpu, price: 3USD/h, service: {distribution: deterministic, mean: 4ms}}
      late: {kind: cpu, price: 1USD/h, service: {distribution: deterministic, mean: 12ms}}
  constraints: [latency_ms_p99 <= sla]
"""

NOISY = EXACT.replace("rate: 0.2/s", "rate: 100/s").replace("queries: 1100", "queries: 300").split("optimise:")[0]
NOISY += """\
report: {percentile: p90}
optimise:
  choices:
    fleet.n.count: {from: 1, to: 4, step: 1}
    policy.representation: [table, hybrid]
    router: {random: {kind: random}, turns: {kind: round-robin}, backlog: {kind: least-backlog}}
  trials: 9
  batch: 3
  front_replications: 5
"""


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no figure: they take most of the time, and have tests of their own."""
    monkeypatch.setattr(pareto, "plot_front", lambda *_: [])


def searched(folder: Path, text: str, *overrides: str, **options: Any) -> DesignReport:
    file = folder / "e.yaml"
    file.write_text(text)
    out = options.pop("out", folder / "out")
    return perform_search(
        SearchRequest(str(file), overrides, out=out, jobs=1, engine="reference", store="none", **options)
    ).report


def test_a_front_worked_by_hand(tmp_path: Path) -> None:
    """At a query in five seconds hardly any waits: p99 is the service time, so every figure is known.

    Hybrid is more accurate at the same time and price, so only hybrid is on the front: slow (4 ms, 1 $/h) and fast
    (1 ms, 3 $/h). Dear (4 ms, 3 $/h) loses to both, late (12 ms) misses the SLA.
    """
    report = searched(tmp_path, EXACT)
    found = {tuple(point.labels.values()): point for point in report.points}
    assert report.designs == len(found) == 8 and report.search == "all designs"
    assert [name for name, _ in report.objectives] == [
        "accuracy_served",
        "correct_predictions_within_sla_per_s",
        "latency_ms_p99",
        "cost_usd_per_h",
    ]
    assert [tuple(point.labels.values()) for point in report.front] == [("hybrid", "slow"), ("hybrid", "fast")]
    assert report.undecided == []
    for representation in ("table", "hybrid"):
        late = found[representation, "late"]
        assert late.status == "infeasible" and late.why == "not latency_ms_p99 <= sla"
        assert found[representation, "dear"].standing == "dominated"
    for (representation, device), point in found.items():
        assert point.metrics["latency_ms_p99"].value == {"slow": 4, "fast": 1, "dear": 4, "late": 12}[device]
        assert point.metrics["cost_usd_per_h"].value == {"slow": 1, "fast": 3, "dear": 3, "late": 1}[device]
        assert point.metrics["accuracy_served"].value == pytest.approx({"table": 0.8, "hybrid": 0.9}[representation])
    # The first that speaks against dear is the first of those that dominate it.
    assert found["hybrid", "dear"].by == found["hybrid", "slow"].number


def test_a_search_leaves_its_points_and_runs(tmp_path: Path) -> None:
    report = searched(tmp_path, EXACT)
    out = tmp_path / "out"
    names = {path.name for path in out.iterdir()}
    assert names == {"optimise.json", "points.csv", "manifest.json", "points"}
    rows = list(csv.DictReader((out / "points.csv").open()))
    assert [row["point"] for row in rows] == [str(point.number) for point in report.points]
    summary = read_summary(out / "points" / "0002")
    (scenario,) = summary["scenarios"]
    assert summary["name"] == "by hand, point 2"
    assert scenario["metrics"]["latency_ms_p99"]["value"] == float(rows[1]["latency_ms_p99"]) == 1.0
    content = json.loads((out / "optimise.json").read_text())
    assert content["front"] == [point.number for point in report.front]
    # A point's own file runs as it is and gives the same.
    file = out / "points" / "0002" / "experiment.yaml"
    with Evaluator(str(file), jobs=1, engine="reference") as evaluator:
        assert evaluator.evaluate(replications=3).summary.to_json_dict() == {
            key: value for key, value in scenario.items() if key not in ("gain", "verdict")
        }


def test_the_front_gets_more_replications(tmp_path: Path) -> None:
    report = searched(tmp_path, EXACT, "optimise.front_replications=6")
    assert {point.number: point.replications for point in report.points} == {
        point.number: 6 if point.standing == "front" else 3 for point in report.points
    }


def test_the_seed_decides_and_the_processes_do_not(tmp_path: Path) -> None:
    one = searched(tmp_path, NOISY, out=tmp_path / "one")
    file = str(tmp_path / "e.yaml")
    two = perform_search(SearchRequest(file, out=tmp_path / "two", jobs=2, engine="reference", store="none")).report
    assert one.search.startswith("Optuna") and len(one.points) == 9 < one.designs == 24
    assert (tmp_path / "one" / "points.csv").read_bytes() == (tmp_path / "two" / "points.csv").read_bytes()
    assert one.points == two.points


def test_the_seed_of_the_search_is_not_that_of_the_draws(tmp_path: Path) -> None:
    alike = ("optimise.front_replications=null", "optimise.trials=14")
    one = searched(tmp_path, NOISY, *alike, out=tmp_path / "one")
    other = searched(tmp_path, NOISY, *alike, "optimise.seed=2", out=tmp_path / "two")
    assert [point.labels for point in other.points] != [point.labels for point in one.points]
    shared = [(a, b) for a in one.points for b in other.points if a.labels == b.labels]
    assert shared and all(a.metrics == b.metrics for a, b in shared)


@pytest.mark.parametrize("after", [30])
def test_a_resumed_search_is_the_uninterrupted_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    searched(tmp_path, NOISY, out=tmp_path / "whole")
    ran: list[int] = []
    saved = optimise._KeptReplications.save

    def save(self: Any, key: str, replication: int, result: Any) -> None:
        saved(self, key, replication, result)
        ran.append(replication)
        if len(ran) == after:
            raise KeyboardInterrupt

    monkeypatch.setattr(optimise._KeptReplications, "save", save)
    with pytest.raises(KeyboardInterrupt):
        searched(tmp_path, NOISY)
    with pytest.raises(DirectoryInUse, match="--resume completes an interrupted run there"):
        searched(tmp_path, NOISY)
    with pytest.raises(CheckpointMismatch):
        searched(tmp_path, NOISY, "sla=7ms", resume=True)
    searched(tmp_path, NOISY, resume=True)
    for name in ("points.csv", "optimise.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    whole = sum(int(row["replications"]) for row in csv.DictReader((tmp_path / "whole" / "points.csv").open()))
    assert len(ran) == whole
    with pytest.raises(DirectoryInUse, match="holds a finished search"):
        searched(tmp_path, NOISY, resume=True)


def test_where_nothing_is_feasible_the_reasons_are_told(tmp_path: Path) -> None:
    report = searched(tmp_path, EXACT, "sla=500us")
    assert report.front == [] and {point.status for point in report.points} == {"infeasible"}
    text = render_designs(report, 80)
    assert "no design that was tried is feasible:\n- not latency_ms_p99 <= sla (8)" in text
    assert len(json.loads((tmp_path / "out" / "optimise.json").read_text())["points"]) == 8


def test_a_saturated_design_is_infeasible(tmp_path: Path) -> None:
    report = searched(tmp_path, EXACT, "workload.arrivals.rate=300/s", "workload.queries=3000", "sla=1s")
    found = {tuple(point.labels.values()): point for point in report.points}
    assert found["hybrid", "slow"].status == "infeasible"
    assert found["hybrid", "slow"].why == "latency_ms_p99: saturated"
    assert [tuple(point.labels.values()) for point in report.front] == [("hybrid", "fast")]


def test_choices_that_do_not_go_together_are_reported(tmp_path: Path) -> None:
    mapping = "    mapping: {all: {kind: most-accurate-first}, one: {kind: explicit, devices: {d: [table]}}}\n"
    text = EXACT.replace("  constraints:", mapping + "  constraints:")
    report = searched(tmp_path, text)
    impossible = [point for point in report.points if point.status == "impossible"]
    assert len(report.points) == 16
    assert {(p.labels["policy.representation"], p.labels["mapping"]) for p in impossible} == {("hybrid", "one")}
    assert len(impossible) == 4 and all("no path of the fleet suits the policy" in point.why for point in impossible)
    assert all(point.run is None and point.replications == 0 for point in impossible)
    assert [tuple(point.labels.values())[:2] for point in report.front] == [("hybrid", "slow"), ("hybrid", "fast")]
    assert "4 impossible: the choices do not go together" in render_designs(report, 200)


def test_a_design_that_fails_is_reported_and_the_others_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = searched(tmp_path, EXACT, out=tmp_path / "whole")
    evaluated = Evaluator.evaluate_all

    def failing(self: Evaluator, asked: Any) -> Any:
        asked = list(asked)
        if any('"hybrid"' in change for one in asked for change in one.changes if "1ms" in str(one.changes)):
            raise ZeroDivisionError("division by zero")
        return evaluated(self, asked)

    monkeypatch.setattr(Evaluator, "evaluate_all", failing)
    told: list[str] = []
    file = str(tmp_path / "e.yaml")
    report = perform_search(
        SearchRequest(file, out=tmp_path / "out", jobs=1, engine="reference", store="none"), tell=told.append
    ).report
    (failed,) = [point for point in report.points if point.status == "failed"]
    assert tuple(failed.labels.values()) == ("hybrid", "fast")
    assert failed.why == "ZeroDivisionError: division by zero" and told == [
        f"point {failed.number} failed: {failed.why}"
    ]
    for point, other in zip(report.points, whole.points, strict=True):
        assert point.number == failed.number or point.metrics == other.metrics
    assert "1 failed: ZeroDivisionError: division by zero (1)" in render_designs(report, 200)


def test_cost_follows_the_nodes_that_are_on(tmp_path: Path) -> None:
    """Of four nodes at 2 $/h one is on, as the load asks for no more: what they cost is their share of the time."""
    text = (
        EXACT.split("optimise:")[0]
        .replace("price: 1USD/h", "price: 2USD/h")
        .replace("  - name: n\n", "  - name: n\n    count: 4\n")
    )
    text += (
        "optimise:\n  objectives: {cost_usd_per_h: min}\n  choices: {autoscaling: {off: null, on: [{group: n, "
        "min: 1, measure: utilisation, target: 50%, every: 10s, initial: 4}]}}\n"
    )
    report = searched(tmp_path, text)
    off, on = (point.metrics["cost_usd_per_h"] for point in report.points)
    assert off.value == 8.0 and off.low == off.high == 8.0
    nodes = read_summary(tmp_path / "out" / "points" / "0002")["scenarios"][0]["metrics"]["nodes_on"]["value"]
    assert nodes < 4 and on.value == pytest.approx(2 * nodes, rel=1e-9)
