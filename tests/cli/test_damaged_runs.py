"""Run directories that are not finished, not whole or none: what ``report``, ``plot`` and ``compare`` say of them."""

from __future__ import annotations

import json
import re
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


@pytest.mark.parametrize(
    ("key", "said", "commands"),
    [
        ("metrics", "it lacks scenarios[0].metrics", COMMANDS),
        ("percentile", "it lacks percentile", COMMANDS),
        # A comparison takes it from replications.json.
        ("path_mix", "it lacks scenarios[0].path_mix", ("report", "plot")),
    ],
)
def test_a_key_that_is_missing_is_named(folder: Path, key: str, said: str, commands: tuple[str, ...]) -> None:
    file = folder / "summary.json"
    file.write_text(file.read_text().replace(f'"{key}": ', f'"{key}_": ', 1))
    for command in commands:
        assert refused(command) == f"runs/own/summary.json is damaged: {said}"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_value_of_another_kind_is_told_by_its_place(folder: Path, command: str) -> None:
    file = folder / "summary.json"
    content = json.loads(file.read_text())
    content["scenarios"][1]["metrics"]["latency_ms_p99"]["value"] = "long"
    file.write_text(json.dumps(content))
    place = "scenarios[1].metrics.latency_ms_p99.value"
    assert refused(command) == f'runs/own/summary.json is damaged: {place}: input should be a valid number, got "long"'


@pytest.mark.parametrize("command", COMMANDS)
def test_a_summary_that_is_cut_off_is_told_by_line(folder: Path, command: str) -> None:
    file = folder / "summary.json"
    file.write_bytes(file.read_bytes()[:2000])
    assert re.match(r"runs/own/summary\.json:\d+:\d+ is damaged: .* the rest is missing$", refused(command))
    file.write_bytes(b"\xff\xfe")
    assert refused(command) == "runs/own/summary.json is damaged: it is no JSON in UTF-8"


def test_replications_and_manifest_that_are_damaged_are_told(folder: Path) -> None:
    file = folder / "replications.json"
    content = json.loads(file.read_text())
    content["scenarios"][0]["metrics"]["sla_attainment"].pop()
    file.write_text(json.dumps(content))
    assert refused("compare").endswith("scenarios[0]: metrics.sla_attainment has 1 values for 2 replications")
    file.unlink()
    assert "kept no values by replication" in refused("compare")
    (folder / "manifest.json").write_text('{"versions": 3}')
    assert refused("report") == "runs/own/manifest.json is damaged: versions should be a mapping"


def test_what_was_measured_over_time_and_is_damaged_is_told_by_line(folder: Path) -> None:
    for name in ("timeline.csv", "warmup.csv"):
        file = folder / name
        text = file.read_text()
        file.write_text(text[: text.index("\n", 200) + 8])
        assert refused("plot").startswith(f"runs/own/{name}:")
        file.write_text(text)
