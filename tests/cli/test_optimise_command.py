"""`mprec optimise` on the command line: output, exit codes, options."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sim.cli.main import app
from sim.report.figures import pareto
from sim.study import design_search

TEXT = """\
name: fast or cheap
model: {representations: {table: {accuracy: {value: 80%, evidence: assumed}}}}
sla: 10ms
workload:
  arrivals: {kind: poisson, rate: 0.2/s}
  sizes: {kind: fixed, size: 1}
  queries: 1100
  warmup: 0s
fleet:
  - name: n
    devices: {d: {profile: {kind: cpu, price: 1USD/h, service: {distribution: deterministic, mean: 4ms}}}}
policy: {kind: fastest}
replications: 2
optimise:
  choices:
    fleet.n.devices.d.profile:
      slow: {kind: cpu, price: 1USD/h, service: {distribution: deterministic, mean: 4ms}}
      fast: {kind: cpu, price: 3USD/h, service: {distribution: deterministic, mean: 1ms}}
  constraints: [latency_ms_p99 <= sla]
"""


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "e.yaml").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pareto, "plot_front", lambda *_: [])
    return tmp_path


def optimise(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["optimise", "e.yaml", "--jobs", "1", *arguments], env={"COLUMNS": "60"})
    return done.exit_code, done.stdout, done.stderr


def test_the_front_is_printed(folder: Path) -> None:
    code, out, _ = optimise()
    assert code == 0
    lines = out.splitlines()
    assert all(len(line) <= 60 for line in lines)
    # Number, choice, accuracy (the same for both), correct predictions in time, p99, cost.
    rows = {tuple(line.split()[:3] + line.split()[-2:]) for line in lines if len(line.split()) == 6}
    assert {("1", "slow", "80.00", "4.000", "1.000"), ("2", "fast", "80.00", "1.000", "3.000")} <= rows
    assert lines[-1] == f"Files: {Path('runs') / 'e-designs'}"
    assert {path.name for path in (folder / "runs" / "e-designs" / "points").iterdir()} == {"0001", "0002"}
    code, _, said = optimise("--out", "runs/e-designs")
    assert code == 2 and "runs/e-designs is not empty; choose another --out" in said


def test_nothing_feasible_is_exit_code_1(folder: Path) -> None:
    code, out, _ = optimise("--set", "sla=500us", "--replications", "1")
    assert code == 1 and "no design that was tried is feasible" in out
    assert (folder / "runs" / "e-designs" / "optimise.json").exists()


def test_without_optuna_too_few_trials_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise design_search.OptimiserMissing("needs Optuna")

    monkeypatch.setattr(design_search, "OptunaSearch", missing)
    code, _, said = optimise("--trials", "1")
    assert code == 2 and said.strip() == "needs Optuna"
    assert not (folder / "runs").exists()


def test_interrupted_and_resumed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("sim.study.optimise.write_results", interrupt)
        code, out, said = optimise("--out", "here")
    assert code == 130 and out == ""
    assert "run the same command with --resume to complete it" in said
    code, _, said = optimise("--out", "here")
    assert code == 2 and "--resume completes an interrupted run there" in said
    code, out, _ = optimise("--out", "here", "--resume")
    assert code == 0 and "2 on the front" in out
