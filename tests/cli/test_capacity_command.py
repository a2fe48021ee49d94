"""`mprec capacity` as a user meets it: output, files, exit codes, wrong input, interruption."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sim.cli.main import app
from sim.spec.problems import SpecError
from sim.study.evaluation import Evaluator

MPREC = Path(sys.executable).parent / "mprec"

TWO = """\
name: one or two lanes
model: {representations: {table: {accuracy: {value: 100%, evidence: assumed}}}}
sla: 12ms
workload:
  arrivals: {kind: poisson, rate: 300/s}
  sizes: {kind: fixed, size: 1}
  queries: 1000
fleet:
  - name: n
    devices: {d: {profile: {kind: cpu, lanes: 1, service: {distribution: exponential, mean: 1ms}}}}
policy: {kind: fastest}
sweep:
  fleet.n.devices.d.profile.lanes: {one lane: 1, two lanes: 2}
  workload.arrivals.rate: [300/s, 600/s]
"""


def mprec(*arguments: str, cwd: Path, columns: int = 100) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [MPREC, "capacity", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": str(columns), "PYTHONIOENCODING": "utf-8"},
        timeout=300,
        check=False,
    )


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    (tmp_path / "two.yaml").write_text(TWO, encoding="utf-8")
    return tmp_path


QUICK = ("--tolerance", "25%", "--jobs", "1", "--engine", "compiled")


def test_an_answer_and_its_files(folder: Path) -> None:
    done = mprec("two.yaml", *QUICK, "--out", "first", cwd=folder)
    assert done.returncode == 0, done.stderr
    out = folder / "first"
    assert {file.name for file in out.iterdir()} == {"capacity.json", "points.csv", "experiment.yaml", "figures"}
    assert {file.name for file in (out / "figures").iterdir()} == {"capacity.svg", "capacity.png"}
    answer = json.loads((out / "capacity.json").read_text())
    # The axis of the load is left out of the sweep; one scenario is left for each number of lanes.
    assert [one["parameters"] for one in answer["answers"]] == [
        {"fleet.n.devices.d.profile.lanes": "one lane"},
        {"fleet.n.devices.d.profile.lanes": "two lanes"},
    ]
    # p99 is within 12 ms up to 616/s with one lane.
    assert answer["answers"][0]["meets"] < 616.2 < answer["answers"][0]["misses"]
    assert [one["saturates"] for one in answer["answers"]] == [pytest.approx(1000), pytest.approx(2000)]
    (ranking,) = answer["rankings"]
    assert (ranking["asked"], ranking["order"]) == ({}, [1, 0])
    assert ranking["runner_up"]["saturated"]
    rows = list(csv.DictReader((out / "points.csv").open()))
    assert len(rows) == sum(one["looks"] for one in answer["answers"])
    assert {row["decision"] for row in rows} <= {"meets", "misses", "open"}
    assert "most load: two lanes, proved to meet up to" in done.stdout
    assert "runner-up: one lane" in done.stdout
    assert "one lane: 300/s meets" in done.stderr
    # The same again, from anywhere and with other processes, is the same to the byte.
    again = mprec(
        str(folder / "two.yaml"), "--tolerance=25%", "--jobs=2", "--engine=compiled", "--out=b", "-q", cwd=folder
    )
    assert again.stderr == ""
    assert (folder / "b" / "capacity.json").read_bytes() == (out / "capacity.json").read_bytes()
    assert (folder / "b" / "points.csv").read_bytes() == (out / "points.csv").read_bytes()
    # A directory that is in use is not written to.
    used = mprec("two.yaml", "--out", "first", cwd=folder)
    assert used.returncode == 2
    assert "choose another --out" in used.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--attainment", "100%"), "no share"),
        (("--tolerance", "-1%"), "no share"),
        (("--group", "n"), "--find nodes"),
        (("--find", "nodes", "--group", "m"), "no such node group"),
        (("--by", "energy"), "--find nodes"),
        (("--find", "sla", "--by", "price"), "--find nodes"),
        (
            ("--find", "nodes", "--by", "energy"),
            "--by: a single node group has no mixes of nodes to tell apart by energy",
        ),
        (("--find", "nodes", "--set", "fleet.m.count=2"), "nothing at 'm'"),
        (("--set", "sla=soon"), "not a duration"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    arguments: tuple[str, ...], said: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(app, ["capacity", "two.yaml", *arguments])
    assert said in done.output or (isinstance(done.exception, SpecError) and said in str(done.exception))
    assert done.exit_code
    assert {file.name for file in folder.iterdir()} == {"two.yaml"}


def test_a_directory_that_cannot_be_is_told_before_the_search(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "file").write_text("")
    monkeypatch.setattr(Evaluator, "__init__", lambda *_, **__: pytest.fail("the search began"))
    done = CliRunner().invoke(app, ["capacity", "two.yaml", "--out", "file/answer"])
    assert done.exit_code == 2
    assert "file/answer cannot be written to" in done.output


def test_a_narrow_terminal_drops_columns_and_not_the_answer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    one = ("--set", "sweep={}", "--find", "sla", "--tolerance", "30%", "--jobs", "1", "--quiet")
    done = CliRunner().invoke(app, ["capacity", "two.yaml", *one], env={"COLUMNS": "50"})
    assert done.exit_code == 0, done.output
    assert all(len(line) <= 50 for line in done.stdout.splitlines())
    assert "meets from" in done.stdout
    assert (folder / "runs" / "two-capacity" / "capacity.json").is_file()


def test_nothing_proved_to_meet_is_exit_code_1(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(app, ["capacity", "two.yaml", *QUICK, "--quiet", "--set", "sweep={}", "--set", "sla=2ms"])
    assert done.exit_code == 1
    assert "nothing was proved to meet" in done.stdout
    # p99 of the service alone is 4.6 ms; a lighter load does not help.
    assert "at no load" in done.stdout


@pytest.mark.parametrize(
    ("options", "variable", "said"),
    [
        ((), "none", "nothing is kept with MPREC_STORE=none"),
        (("--store", "none"), "", "nothing is kept with --store none"),
        (("--store", "kept"), "none", "the same command goes on with what is finished"),
        (("--store", "two.yaml/kept"), "", "nothing is kept: two.yaml/kept cannot be written to: Not a directory"),
    ],
)
def test_an_interruption_says_whether_anything_is_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], variable: str, said: str
) -> None:
    def interrupted(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(folder)
    monkeypatch.setenv("MPREC_STORE", variable)
    monkeypatch.setattr("sim.study.capacity.perform.perform_capacity", interrupted)
    done = CliRunner().invoke(app, ["capacity", "two.yaml", *options])
    assert (done.exit_code, done.stderr) == (130, f"interrupted; {said}\n")


def test_what_was_finished_before_ctrl_c_is_not_run_again(folder: Path) -> None:
    command = [MPREC, "capacity", "two.yaml", "--store", "kept", "--tolerance=1%", "--jobs=1", "--engine=compiled"]
    process = subprocess.Popen(
        command, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 200
    while len(list((folder / "kept").rglob("*"))) < 20 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=100)
    assert process.returncode == 130
    assert "interrupted; the same command goes on" in told
    assert not (folder / "runs").exists()
    quick = ["--tolerance=25%", "--jobs=1", "--engine=compiled", "--store", "kept"]
    again = mprec("two.yaml", *quick, cwd=folder)
    assert again.returncode == 0, again.stderr
    assert "replications were run before" in again.stderr
