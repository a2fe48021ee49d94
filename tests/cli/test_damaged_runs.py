"""Run directories that are not finished, not whole or none: what ``report``, ``plot`` and ``compare`` say of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sim.api import Results, run
from sim.cli.main import app

SMALL = """\
name: small
model: dlrm-kaggle
sla: 10ms
workload: {arrivals: {kind: poisson, rate: 500/s}, sizes: {kind: fixed, size: 64}, duration: 1s}
fleet: [{name: hw, devices: {cpu: cpu-broadwell}}]
policy: {kind: static, representation: table, device: cpu}
replications: 2
classes: [{name: front, share: 60%, sla: 1ms}, {name: back, share: 40%, sla: 5ms}]
sweep: {workload.arrivals.rate: [200/s, 500/s]}
report: {timeline: 100ms, baseline: 200/s}
"""

COMMANDS = ("report", "plot", "compare")


@pytest.fixture(name="small", scope="module")
def _small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.yaml").write_text(SMALL)
    yield run(folder / "small.yaml", folder / "small", engine="reference", store="none")


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, small: Results, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")
    shutil.copytree(small.directory, tmp_path / "runs" / "own")
    return tmp_path / "runs" / "own"


def refused(command: str, name: str = "own") -> str:
    """What a command says to be wrong, in one line; it writes nothing."""
    before = sorted(Path("runs").rglob("*"))
    done = CliRunner().invoke(app, [command, name])
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code == 2 and not done.stdout
    assert sorted(Path("runs").rglob("*")) == before
    said = done.stderr.splitlines()
    assert len(said) == 1, said
    return said[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_run_that_is_not_finished_is_told(folder: Path, command: str) -> None:
    (folder / "replications").mkdir()
    said = "runs/own holds a run that is not finished; complete it with mprec run --resume"
    assert refused(command) == said
    (folder / "summary.json").unlink()
    assert refused(command) == said
    assert refused(command, "runs/own") == said


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_without_a_summary_is_told(folder: Path, command: str) -> None:
    (folder / "summary.json").unlink()
    assert refused(command) == "runs/own has no summary.json: it is not the directory of a run, or is damaged"


def test_an_experiment_is_taken_before_a_run_of_its_name_that_is_not_finished(folder: Path) -> None:
    shutil.copytree(folder, folder.with_name("quickstart"))
    (folder.with_name("quickstart") / "replications").mkdir()
    done = CliRunner().invoke(app, ["compare", "quickstart", "own", "--set", "no.such.key=1"])
    assert "no.such.key" in str(done.exception)
