"""`--engine`: the files of a run are the same to the byte, whichever engine it asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.cli.validate import validate
from sim.spec.problems import SpecError
from sim.study import planning
from tests.cli.test_commands import SMALL, mprec

PLUGINS = Path(__file__).parents[1] / "engine"
CELLS = """\
name: cells
model: {name: m, representations: {table: {accuracy: {value: 90%, evidence: assumed}}}}
sla: 10ms
cells: 2
workload:
  arrivals: {kind: poisson, rate: 2k/s}
  sizes: {kind: uniform, min: 1, max: 300}
  duration: 500ms
fleet:
  - name: n
    count: 4
    devices: {d: {kind: cpu, lanes: 2, service: {distribution: exponential, mean: 3ms}}}
replications: 2
router: {kind: power-of-d, d: 2}
timeout: {after: 15ms, cancel: running}
faults: {lifetimes: [{each: node, group: n, mtbf: 200ms, mttr: 50ms}]}
"""


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    (tmp_path / "small.yaml").write_text(SMALL)
    (tmp_path / "cells.yaml").write_text(CELLS)
    return tmp_path


def files(run: Path) -> dict[str, bytes]:
    return {
        name: (run / name).read_bytes() for name in ("summary.json", "metrics.csv", "replications.json", "queries.npz")
    }


@pytest.mark.parametrize("experiment", ["small.yaml", "cells.yaml"])
def test_the_files_are_the_same_to_the_byte(experiment: str, folder: Path) -> None:
    left = []
    for engine in ("reference", "compiled", "auto"):
        given = ("--engine", engine, "--out", engine, "--jobs", "2", "--no-figures")
        done = mprec("run", experiment, *given, cwd=folder)
        assert done.returncode == 0, done.stderr
        # Once for each state of the source on a machine.
        assert done.stderr == "" or (engine == "compiled" and "compiling the engine, once" in done.stderr)
        left.append((files(folder / engine), done.stdout.replace(f"Files: {engine}", "")))
    assert left[0] == left[1] == left[2]


def with_policy(function: str, engine: str, folder: Path, *more: str) -> tuple[int, str, dict[str, bytes]]:
    """Run a policy of `tests/engine/policies.py`; return the exit code, what stderr says and the files."""
    out = f"{function}-{engine}"
    policy = f"policy={{kind: user, function: policies:{function}}}"
    few = ("--set", "sweep={}", "--set", "report={}", "--set", "workload.queries=300", "--replications", "2")
    plugins = ("--plugins", str(PLUGINS), *more)
    where = ("--engine", engine, "--out", out, "--no-figures")
    done = mprec("run", "small.yaml", *few, "--set", policy, *plugins, *where, cwd=folder)
    return done.returncode, done.stderr, files(folder / out) if done.returncode == 0 else {}


def test_a_policy_that_cannot_be_compiled_runs_on_the_reference_engine_with_a_notice(folder: Path) -> None:
    code, says, found = with_policy("of_python_objects", "compiled", folder)
    assert code == 0
    assert "numba cannot compile the policy of_python_objects" in says
    assert "the reference engine runs it, with the same results" in says and "Traceback" not in says
    assert (0, "", found) == with_policy("of_python_objects", "reference", folder)


def test_a_policy_that_can_be_compiled_is(folder: Path) -> None:
    code, says, found = with_policy("slowest", "compiled", folder)
    assert code == 0 and "cannot compile" not in says
    assert (0, "", found) == with_policy("slowest", "reference", folder)


@pytest.mark.parametrize(
    ("function", "engine", "did"),
    [
        ("beyond_the_last", "reference", "returned 8 for a query of"),
        ("beyond_the_last", "compiled", "returned 8 for a query of"),
        ("nothing", "reference", "returned None for a query of"),
        ("half_a_path", "compiled", "returned 4.0 for a query of"),
        ("giving_up", "reference", "raised SystemExit(0) for a query of"),
    ],
)
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_policy_that_picks_no_path_is_told(function: str, engine: str, did: str, jobs: str, folder: Path) -> None:
    code, says, _ = with_policy(function, engine, folder, "--jobs", jobs)
    assert code == 1 and "Traceback" not in says
    assert f"the policy policies:{function} ({PLUGINS / 'policies.py'}" in says
    assert did in says and "samples (allowed: a path, 0 to 7, or -1 to drop it)" in says


def test_validate_asks_a_policy_once_and_plans_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(PLUGINS))
    planned = []
    plan = planning.plan_scenario
    monkeypatch.setattr(planning, "plan_scenario", lambda scenario: planned.append(scenario) or plan(scenario))
    few = ["sweep={}", "report={}"]
    validate("small.yaml", [*few, "policy={kind: user, function: policies:slowest}"])
    assert len(planned) == 1
    for function, did in (("beyond_the_last", "returned 8"), ("nothing", "returned None")):
        with pytest.raises(
            SpecError, match=rf"policy\.function: the policy policies:{function} .* {did} for a query of"
        ):
            validate("small.yaml", [*few, f"policy={{kind: user, function: policies:{function}}}"])
