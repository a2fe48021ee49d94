"""Predicted against measured: errors by hand, what is missing, what is unfit, the figure."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sim.cli.main import app
from sim.report.agreement import Agreement, compare_runs, markdown, render
from sim.report.figures.agreement import quantile_pairs
from sim.report.rundir import RunDirectoryError
from sim.spec.problems import SpecError


def scenario(
    p99: float | None, *, rate: str = "100/s", half: float | None = None, table: float = 0.75
) -> dict[str, Any]:
    def metric(value: float | None) -> dict[str, float | None]:
        known = value is not None and half is not None
        return {
            "value": value,
            "low": value - half if known else None,  # type: ignore[operator]
            "high": value + half if known else None,  # type: ignore[operator]
        }

    return {
        "parameters": {"workload.arrivals.rate": rate},
        "saturated": False,
        "metrics": {"latency_ms_p99": metric(p99), "correct_predictions_per_s": metric(1000.0)},
        "path_mix": {"table@cpu": table, "dhe@cpu": 1.0 - table},
        "percentile_curve": [{"p": p, "value": 10 * p, "low": None, "high": None} for p in (0.5, 0.9)],
    }


def run(folder: Path, *scenarios: dict[str, Any], **more: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(
        json.dumps({"name": "hand-made", "percentile": "p99", "scenarios": list(scenarios), **more})
    )
    return folder


def rows(tmp_path: Path, ours: dict[str, Any], theirs: dict[str, Any], **limits: float) -> dict[str, Any]:
    found = compare_runs(run(tmp_path / "sim", ours), run(tmp_path / "real", theirs), limits)
    (one,) = found.comparisons
    return {row.metric: row for row in one.rows}


def test_errors_are_signed_and_relative_to_what_was_measured(tmp_path: Path) -> None:
    found = rows(tmp_path, scenario(9.0, half=0.9), scenario(10.0, half=0.5), p99=0.1, p95=0.05)
    assert found["p99"].error == pytest.approx(-0.1)
    half = 0.9 * math.hypot(0.1, 0.05)
    assert (found["p99"].low, found["p99"].high) == pytest.approx((-0.1 - half, -0.1 + half))
    assert found["p99"].kept
    assert found["correct/s"].error == 0.0
    assert found["p95"].error is None
    assert found["p95"].kept is False, "what is missing keeps no limit"


def test_path_mix_differs_by_points(tmp_path: Path) -> None:
    found = rows(tmp_path, scenario(9.0, table=0.7), scenario(9.0, table=0.75))
    assert found["path mix: table@cpu"].error == pytest.approx(-0.05)
    assert found["path mix: dhe@cpu"].error == pytest.approx(0.05)


def test_one_replication_has_no_interval(tmp_path: Path) -> None:
    assert rows(tmp_path, scenario(9.0, half=0.5), scenario(9.0))["p99"].low is None


def test_scenarios_are_matched_by_their_parameters(tmp_path: Path) -> None:
    sim = run(tmp_path / "sim", scenario(1.0, rate="200/s"), scenario(2.0, rate="100/s"), scenario(3.0, rate="50/s"))
    real = run(tmp_path / "real", scenario(2.0, rate="100/s"), scenario(1.0, rate="200/s"), scenario(9.0, rate="9/s"))
    found = compare_runs(sim, real)
    assert [one.label for one in found.comparisons] == ["100/s", "200/s"]
    assert all(row.error == 0.0 for one in found.comparisons for row in one.rows if row.metric == "p99")
    assert found.unmatched == ("9/s was measured only", "50/s was predicted only")


def test_nothing_in_common_is_an_error(tmp_path: Path) -> None:
    sim = run(tmp_path / "sim", scenario(1.0, rate="1/s"), scenario(1.0, rate="2/s"))
    real = run(tmp_path / "real", scenario(1.0, rate="3/s"), scenario(1.0, rate="4/s"))
    with pytest.raises(RunDirectoryError, match="no scenario in common"):
        compare_runs(sim, real)


def test_an_unfit_run_is_called_unfit(tmp_path: Path) -> None:
    sim = run(tmp_path / "sim", scenario(1.0))
    real = run(tmp_path / "real", scenario(1.0), observation={"fit": False, "reasons": ["3% of the time was stolen"]})
    found = compare_runs(sim, real)
    assert found.unfit == ("3% of the time was stolen",)
    assert "UNFIT, not to be judged by: 3% of the time was stolen" in render(found)
    done = CliRunner().invoke(app, ["compare", str(sim), str(real)])
    assert done.exit_code == 1


def with_replications(folder: Path, by_number: dict[int, float], *, seed: int = 1) -> Path:
    """A run whose p99 in ms, mix of paths and percentile curve follow from these numbers of its replications."""
    mean = sum(by_number.values()) / len(by_number)
    run(folder, scenario(mean))
    own = {
        "numbers": list(by_number),
        "metrics": {"latency_ms_p99": list(by_number.values())},
        "path_mix": {"table@cpu": [value / 100 for value in by_number.values()]},
        "utilisation": {},
        "waiting_parts": {},
        "curve_ms": [[value, 2 * value] for value in by_number.values()],
        "classes": {},
    }
    (folder / "replications.json").write_text(json.dumps({"seed": seed, "scenarios": [own]}))
    return folder


def test_the_same_replications_are_compared(tmp_path: Path) -> None:
    """All four predicted ones against the two that were kept would be an error of 40/21.5 - 1 = +86%."""
    sim = with_replications(tmp_path / "sim", {0: 10.0, 1: 30.0, 2: 20.0, 3: 100.0})
    real = with_replications(tmp_path / "real", {2: 21.0, 0: 9.0})
    (one,) = compare_runs(sim, real).comparisons
    found = {row.metric: row for row in one.rows}
    assert one.paired == (2, 0)
    assert (found["p99"].predicted, found["p99"].measured) == (15.0, 15.0)
    assert found["p99"].error == 0.0
    assert found["path mix: table@cpu"].error == pytest.approx(0.0)
    assert found["p95"].error is None
    assert one.predicted_curve == one.measured_curve
    assert [point for _, point in one.predicted_curve] == [15.0, 30.0]
    assert "100/s: replications 2, 0 of both" in render(compare_runs(sim, real))


def test_the_error_of_the_calibration_widens_intervals(tmp_path: Path) -> None:
    sim = with_replications(tmp_path / "sim", {0: 10.0, 1: 12.0, 2: 11.0})
    real = with_replications(tmp_path / "real", {0: 10.0, 1: 11.0, 2: 9.0})

    def rows_of() -> tuple[Agreement, dict[str, Any]]:
        found = compare_runs(sim, real)
        return found, {row.metric: row for row in found.comparisons[0].rows}

    def about(calibration: dict[str, Any] | None, fleet: str) -> None:
        summary = json.loads((real / "summary.json").read_text())
        summary["observation"] = {"fit": True, "calibration_error": calibration}
        (real / "summary.json").write_text(json.dumps(summary))
        (real / "experiment.yaml").write_text("fleet: [{name: n, count: 1}]\n")
        (sim / "experiment.yaml").write_text(f"seed: 2\nfleet: {fleet}\n")

    said, plain = rows_of()
    assert said.calibration is None and said.about == ()
    errors = {"metrics": {"latency_ms_p99": 0.02}, "path_mix": {"table@cpu": 0.03}}
    known = {"groups": 8, "scenarios": [errors]}
    about(None, "[{count: 1, name: n}]")
    assert rows_of() == (replace(said, calibration=False), plain)
    assert "Intervals are without the calibration's own error" in render(rows_of()[0])
    # A prediction by another profile than that of the session owes nothing to its calibration.
    about(known, "[{name: n, count: 2}]")
    assert rows_of() == (said, plain)
    about(known, "[{count: 1, name: n}]")
    said, found = rows_of()
    assert "Intervals are with the calibration's own error" in render(said)
    assert "Intervals are with the calibration's own error.  " in markdown(said)
    # Student's t for 95% and seven degrees of freedom is 2.3646. Errors add up as squares, at either end.
    for name, half in (("p99", 2.364624 * 0.02 * 1.1), ("path mix: table@cpu", 2.364624 * 0.03)):
        before, after = plain[name], found[name]
        assert after.error == before.error
        assert after.error - after.low == pytest.approx(math.hypot(before.error - before.low, half), rel=1e-6)
        assert after.high - after.error == pytest.approx(math.hypot(before.high - before.error, half), rel=1e-6)
    assert found["path mix: dhe@cpu"] == plain["path mix: dhe@cpu"]


def test_of_several_predictions_the_mean_of_each_replication_counts(tmp_path: Path) -> None:
    first = with_replications(tmp_path / "first", {0: 10.0, 1: 30.0, 2: 20.0})
    second = with_replications(tmp_path / "second", {2: 26.0, 0: 12.0, 3: 1.0, 1: 40.0})
    real = with_replications(tmp_path / "real", {0: 10.0, 2: 23.0})
    (one,) = compare_runs([first, second], real).comparisons
    found = {row.metric: row for row in one.rows}
    # 11 for 10 and 23 for 23; of replications that were not measured nothing counts.
    assert one.paired == (0, 2)
    assert (found["p99"].predicted, found["p99"].measured) == (17.0, 16.5)
    assert found["p99"].error == pytest.approx(0.5 / 16.5)
    assert found["path mix: table@cpu"].error == pytest.approx(0.005)
    assert [point for _, point in one.predicted_curve] == [17.0, 34.0]
    for text in (render, markdown):
        assert "Predicted is the mean of 2 simulations" in text(compare_runs([first, second], real))
        assert "the mean of" not in text(compare_runs(first, real))
    # What one of them cannot give is not predicted.
    kept = json.loads((second / "replications.json").read_text())
    kept["scenarios"][0]["metrics"]["latency_ms_p99"] = [None, 12.0, 1.0, 40.0]
    (second / "replications.json").write_text(json.dumps(kept))
    (one,) = compare_runs([first, second], real).comparisons
    assert {row.metric: row for row in one.rows}["p99"].error is None


def test_predictions_that_are_not_of_the_same_queries_are_not_averaged(tmp_path: Path) -> None:
    first = with_replications(tmp_path / "first", {0: 10.0, 1: 30.0})
    real = with_replications(tmp_path / "real", {0: 10.0, 1: 23.0})
    seeded = with_replications(tmp_path / "seeded", {0: 10.0, 1: 30.0}, seed=2)
    bare = run(tmp_path / "bare", scenario(10.0))
    for other in (seeded, bare):
        with pytest.raises(RunDirectoryError, match="not of the same queries"):
            compare_runs([first, other], real)
    with pytest.raises(RunDirectoryError, match="not of the same scenarios"):
        compare_runs([first, run(tmp_path / "more", scenario(1.0), scenario(2.0, rate="9/s"))], real)
    again = with_replications(tmp_path / "again", {0: 10.0, 1: 30.0})
    with pytest.raises(RunDirectoryError, match="the same replications only; of 100/s, their seeds are 1 and 2"):
        compare_runs([first, again], seeded)


def test_the_interval_of_pairs_that_err_alike_is_a_point(tmp_path: Path) -> None:
    sim = with_replications(tmp_path / "sim", {0: 11.0, 1: 13.2, 2: 12.1})
    real = with_replications(tmp_path / "real", {0: 10.0, 1: 12.0, 2: 11.0})
    (one,) = compare_runs(sim, real).comparisons
    (p99,) = (row for row in one.rows if row.metric == "p99")
    assert (p99.error, p99.low, p99.high) == pytest.approx((0.1, 0.1, 0.1))


@pytest.mark.parametrize(
    ("other", "why"),
    [({"seed": 2}, "their seeds are 1 and 2"), ({}, "they have no replication in common")],
)
def test_what_cannot_be_paired_is_told(tmp_path: Path, other: dict[str, int], why: str) -> None:
    sim = with_replications(tmp_path / "sim", {0: 11.0, 1: 22.0})
    real = with_replications(tmp_path / "real", {5: 10.0, 6: 20.0}, **other)
    (one,) = compare_runs(sim, real).comparisons
    assert (one.paired, one.unpaired) == ((), why)
    assert f"not paired, {why}" in markdown(compare_runs(sim, real))


def test_damaged_replications_are_told(tmp_path: Path) -> None:
    sim = with_replications(tmp_path / "sim", {0: 11.0})
    real = with_replications(tmp_path / "real", {0: 10.0})
    (sim / "replications.json").write_text('{"seed": 1, "scenarios": [{}]}')
    with pytest.raises(RunDirectoryError, match="damaged"):
        compare_runs(sim, real)
    (sim / "replications.json").write_text('{"seed": 1, "scenarios": []}')
    with pytest.raises(RunDirectoryError, match="not of the same run"):
        compare_runs(sim, real)


def test_curves_are_paired_where_both_reach(tmp_path: Path) -> None:
    ours, theirs = scenario(1.0), scenario(1.0)
    ours["percentile_curve"] = [{"p": p, "value": p, "low": None, "high": None} for p in (0.5, 0.9, 0.99)]
    found = compare_runs(run(tmp_path / "sim", ours), run(tmp_path / "real", theirs))
    assert quantile_pairs(found.comparisons[0]) == [(0.5, 5.0, 0.5), (0.9, 9.0, 0.9)]


def test_the_command_prints_draws_and_judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(tmp_path / "runs" / "sim", scenario(10.8))
    run(tmp_path / "runs" / "real", scenario(10.0), observation={"fit": True})
    done = CliRunner().invoke(app, ["compare", "sim", "real", "--limit", "p99=10%"])
    assert done.exit_code == 0, done.output
    assert "+8.0%" in done.output
    assert "10% kept" in done.output
    assert sorted(file.name for file in (tmp_path / "runs/real/figures").iterdir()) == [
        "predicted-measured.png",
        "predicted-measured.svg",
    ]
    assert CliRunner().invoke(app, ["compare", "sim", "real", "--limit", "p99=5%"]).exit_code == 1
    table = markdown(compare_runs(Path("runs/sim"), Path("runs/real")))
    assert "| 100/s | p99 | 10.8 ms | 10 ms | +8.0% |  |  |" in table.splitlines()


@pytest.mark.parametrize("limit", ["p99", "p99=10", "p98=10%", "p99=x%", "p99=-1%"])
def test_a_limit_that_makes_no_sense_is_refused(tmp_path: Path, limit: str) -> None:
    sim, real = run(tmp_path / "sim", scenario(1.0)), run(tmp_path / "real", scenario(1.0), observation={"fit": True})
    done = CliRunner().invoke(app, ["compare", str(sim), str(real), "--limit", limit])
    assert done.exit_code == 2
    assert "is no limit" in done.output


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["compare", str(tmp_path / "no"), str(tmp_path)])
    assert isinstance(done.exception, SpecError)
    assert "no such run or experiment" in str(done.exception)


def test_options_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    sim, real = run(tmp_path / "sim", scenario(1.0)), run(tmp_path / "real", scenario(1.0), observation={"fit": True})
    for arguments in (
        [sim, real, "--fail-if", "latency_ms_p99 > +2%"],
        [sim, real, "--scenario", "load 0.5"],
        [sim, real, "--confidence", "99%"],
        [sim, real, "--strict"],
        [f"{sim}:load 0.5", real],
        [sim, sim, "--limit", "p99=5%"],
    ):
        done = CliRunner().invoke(app, ["compare", *map(str, arguments)])
        assert done.exit_code == 2
        assert "measured" in done.output
