"""The command line as a user meets it: output, exit codes, interruption, resumption, full disks."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sim.profile.library import data_dir

MPREC = Path(sys.executable).parent / "mprec"

SMALL = """\
name: small
model: dlrm-kaggle
sla: 10ms
workload:
  arrivals: {kind: poisson, rate: 500/s}
  sizes: {kind: lognormal, mean: 128, sigma: 1.0, max: 4096}
  queries: 1500
fleet:
  - name: hw
    devices: {cpu: cpu-broadwell, gpu: gpu-v100}
replications: 3
sweep:
  policy:
    table on CPU: {kind: static, representation: table, device: cpu}
    MP-Rec: {kind: mp-rec}
  workload.arrivals.rate: [200/s, 800/s]
report: {baseline: table on CPU}
"""


def mprec(*arguments: str, cwd: Path, columns: int = 100, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [MPREC, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": str(columns), "PYTHONIOENCODING": "utf-8", **environment},
        timeout=300,
        check=False,
    )


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    (tmp_path / "small.yaml").write_text(SMALL)
    return tmp_path


def test_a_run_leaves_a_whole_run_directory(folder: Path) -> None:
    done = mprec("run", "small.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    run = folder / "runs" / "small"
    files = {file.name for file in run.iterdir()}
    assert files == {
        "experiment.yaml",
        "manifest.json",
        "summary.json",
        "metrics.csv",
        "replications.json",
        "queries.npz",
        "warmup.csv",
        "figures",
    }
    summary = json.loads((run / "summary.json").read_text())
    assert [entry["parameters"]["policy"] for entry in summary["scenarios"]] == ["table on CPU"] * 2 + ["MP-Rec"] * 2
    for entry in summary["scenarios"]:
        counts = entry["counts"]
        assert counts["offered"] == 3 * 1500 == sum(v for k, v in counts.items() if k != "offered")
        assert {"value", "low", "high"} <= set(entry["metrics"]["latency_ms_p99"])
        assert entry["evidence"] == "modelled"
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    assert len(rows) == 4 * len(summary["scenarios"][0]["metrics"])
    assert {"policy", "workload.arrivals.rate", "metric", "value", "low", "high"} <= set(rows[0])
    with np.load(run / "queries.npz") as queries:
        assert len(queries["arrival_ns"]) == 4 * 3 * 1500
        assert set(queries["scenario"]) == {0, 1, 2, 3} and set(queries["replication"]) == {0, 1, 2}
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["profiles"]["gpu-v100"]["evidence"] == "modelled"
    assert len(manifest["profiles"]["gpu-v100"]["content_hash"]) == 64
    assert manifest["queries"] == 18_000 and manifest["seed"] == 1
    assert {file.suffix for file in (run / "figures").iterdir()} == {".svg", ".png"}
    assert "Evidence: modelled" in done.stdout and f"Files: {Path('runs') / 'small'}" in done.stdout


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_jobs(folder: Path) -> None:
    outputs = []
    for out, *options in (("a", "--jobs", "1"), ("b", "--jobs", "2"), ("c", "--jobs", "3", "--no-figures")):
        done = mprec("run", "small.yaml", "--out", out, *options, cwd=folder)
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout.replace(f"Files: {out}", ""))
    summaries = {(folder / out / "summary.json").read_bytes() for out in "abc"}
    assert len(summaries) == 1
    assert len(set(outputs)) == 1
    figures = [sorted((folder / out / "figures").glob("*.svg")) for out in "ab"]
    assert figures[0] and not (folder / "c" / "figures").exists()
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(*figures, strict=True))
    other = mprec("run", "small.yaml", "--out", "d", "--seed", "2", "--no-figures", cwd=folder)
    assert other.returncode == 0
    assert (folder / "d" / "summary.json").read_bytes() not in summaries


def test_the_resolved_experiment_runs_and_gives_the_same_numbers(folder: Path) -> None:
    short = ("--set", "workload.queries=1200", "--replications", "2", "--no-figures")
    mprec("run", "small.yaml", "--out", "a", *short, cwd=folder)
    done = mprec("run", "a/experiment.yaml", "--out", "b", "--no-figures", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "a" / "summary.json").read_bytes() == (folder / "b" / "summary.json").read_bytes()


def test_bad_input_ends_with_code_2_and_leaves_nothing(folder: Path) -> None:
    for arguments in (
        ("run", "small.yaml", "--set", "sla=ten"),
        ("run", "nothing.yaml"),
        ("run", "small.yaml", "--set", "report.baseline=nobody"),
        ("run", "small.yaml", "--set", "workload.arrivals={kind: trace, file: nowhere.csv}", "--set", "sweep={}"),
        ("run", "small.yaml", "--set", "policy={kind: user, function: no_such_module:f}", "--set", "sweep={}"),
        ("validate", "small.yaml", "--set", "fleet=[]"),
        ("profiles", "show", "gpu-v1000"),
        ("run",),
    ):
        done = mprec(*arguments, cwd=folder)
        assert done.returncode == 2, (arguments, done.stderr)
        assert done.stderr and "Traceback" not in done.stderr
    assert sorted(file.name for file in folder.iterdir()) == ["small.yaml"]
    assert (
        "its labels are: table on CPU, 200/s, 800/s, MP-Rec"
        in mprec("run", "small.yaml", "--set", "report.baseline=nobody", cwd=folder).stderr
    )


def test_a_run_directory_in_use_is_left_alone(folder: Path) -> None:
    (folder / "mine").mkdir()
    (folder / "mine" / "thesis.txt").write_text("precious")
    done = mprec("run", "small.yaml", "--out", "mine", cwd=folder)
    assert done.returncode == 2 and "mine is not empty" in done.stderr
    assert [file.name for file in (folder / "mine").iterdir()] == ["thesis.txt"]
    done = mprec("run", "small.yaml", "--out", "small.yaml", cwd=folder)
    assert done.returncode == 2 and "is a file" in done.stderr


def test_a_second_run_gets_a_directory_of_its_own(folder: Path) -> None:
    for name in ("small", "small-2"):
        short = ("--replications", "1", "--set", "workload.queries=50", "--no-figures")
        done = mprec("run", "small.yaml", *short, cwd=folder)
        assert done.returncode == 0 and f"Files: {Path('runs') / name}" in done.stdout


LONG = ("run", "small.yaml", "--set", "workload.queries=6000", "--replications", "6", "--no-figures", "--out", "out")


IN_CELLS = (
    *("run", "small.yaml", "--replications", "2", "--set", "cells=4", "--set", "fleet.hw.count=4"),
    *("--no-figures", "--out", "out"),
)


@pytest.fixture(name="uninterrupted", scope="module")
def _uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The summary of `LONG` that nothing interrupts."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    (folder / "small.yaml").write_text(SMALL)
    assert mprec(*LONG, cwd=folder).returncode == 0
    return (folder / "out" / "summary.json").read_bytes()


def interrupted(folder: Path, how: signal.Signals, run: tuple[str, ...], kept: str) -> subprocess.Popen[str]:
    """Start a long run and send `how` once some files of the `kept` kind say that something is finished."""
    process = subprocess.Popen(
        [MPREC, *run, "--jobs", "2"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while len(list((folder / "out" / "replications").glob(kept))) < 2:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.05)
    if how is signal.SIGINT:
        os.killpg(process.pid, how)  # As a terminal does on Ctrl-C: to every process of the group.
    elif how is signal.SIGTERM:
        process.send_signal(how)
    else:
        os.kill(max(children_of(process.pid)), how)
    return process


def children_of(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(child) for child in found.stdout.split()]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_workers_end_when_the_main_process_is_killed(folder: Path) -> None:
    process = subprocess.Popen([MPREC, *LONG, "--jobs", "2"], cwd=folder, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list((folder / "out" / "replications").glob("*.json")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    workers = children_of(process.pid)
    assert len(workers) >= 2
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline, "workers outlive the process that would take their results"
        time.sleep(0.05)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("how", "code", "says"),
    [
        (signal.SIGINT, 130, "interrupted; what is finished is kept"),
        (signal.SIGTERM, 130, "interrupted; what is finished is kept"),
        (signal.SIGKILL, 1, "a worker process died"),
    ],
)
def test_what_is_finished_is_kept_and_resumed(
    how: signal.Signals, code: int, says: str, folder: Path, uninterrupted: bytes
) -> None:
    process = interrupted(folder, how, LONG, "*.json")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert says in errors and "--resume" in errors and "Traceback" not in errors
    kept = {file.name: file.stat().st_mtime_ns for file in (folder / "out" / "replications").glob("*.json")}
    assert 2 <= len(kept) < 24
    refused = mprec(*LONG, cwd=folder)
    assert refused.returncode == 2 and "--resume completes" in refused.stderr
    changed = mprec(*LONG, "--resume", "--seed", "9", cwd=folder)
    assert changed.returncode == 2 and "was begun with another experiment" in changed.stderr
    assert {file.name for file in (folder / "out" / "replications").glob("*.json")} == set(kept)
    resumed = mprec(*LONG, "--resume", cwd=folder)
    assert resumed.returncode == 0, resumed.stderr
    assert not (folder / "out" / "replications").exists()
    assert (folder / "out" / "summary.json").read_bytes() == uninterrupted
    again = mprec(*LONG, "--resume", "--seed", "9", cwd=folder)
    assert again.returncode == 2 and "holds no interrupted run to resume" in again.stderr
    assert (folder / "out" / "summary.json").read_bytes() == uninterrupted


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, 1)])
def test_finished_cells_are_kept_and_resumed(how: signal.Signals, code: int, folder: Path) -> None:
    (folder / "small.yaml").write_text(SMALL.replace("queries: 1500", "duration: 10s"))
    process = interrupted(folder, how, IN_CELLS, "*.cell")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "--resume" in errors and "Traceback" not in errors
    # The cells of a replication that is complete are one file; the other worker may have got so far meanwhile.
    finished = list((folder / "out" / "replications").glob("s*"))
    assert any(file.suffix in {".cell", ".json"} for file in finished)
    assert not list((folder / "out" / "replications").glob("*.partial"))
    resumed = mprec(*IN_CELLS, "--resume", cwd=folder)
    assert resumed.returncode == 0, resumed.stderr
    whole = mprec(*IN_CELLS[:-1], "whole", "--jobs", "1", cwd=folder)
    assert whole.returncode == 0, whole.stderr
    for name in ("summary.json", "metrics.csv", "replications.json"):
        assert (folder / "out" / name).read_bytes() == (folder / "whole" / name).read_bytes()
    with np.load(folder / "out" / "queries.npz") as queries:
        assert set(queries["cell"]) == {0, 1, 2, 3} and set(queries["node"]) == {0}


def test_a_full_disk_is_said_and_loses_nothing(folder: Path) -> None:
    """A limit on the size of files stands in for a full disk: the merged records do not fit, the parts do."""
    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000));"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "sys.argv = ['mprec', *sys.argv[1:]]; from sim.cli.entry import main; main()"
    )
    arguments = ("run", "small.yaml", "--out", "out", "--jobs", "1", "--set", "workload.queries=4000")
    done = subprocess.run(
        [sys.executable, "-c", limited, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "queries.npz could not be written: File too large" in done.stderr and "--resume" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(list((folder / "out" / "replications").glob("*.json"))) == 12
    assert not list((folder / "out").glob("*.partial"))
    # Its summary is there, and it is not finished.
    report = mprec("report", "out", cwd=folder)
    assert report.returncode != 0 and "complete it with mprec run --resume" in report.stderr
    resumed = mprec(*arguments, "--resume", cwd=folder)
    assert resumed.returncode == 0, resumed.stderr


def test_a_directory_that_cannot_be_is_told_at_once(folder: Path) -> None:
    done = mprec("run", "small.yaml", "--out", "small.yaml/out", cwd=folder)
    assert done.returncode == 2
    assert done.stderr == "small.yaml/out cannot be written to: Not a directory; choose another --out\n"
    done = mprec("run", "small.yaml", "--out", "n" * 300, cwd=folder)
    assert (done.returncode, done.stderr) == (2, f"{'n' * 300}: File name too long; choose another --out\n")


@pytest.mark.parametrize("columns", [40, 50, 80, 120])
def test_output_fits_the_terminal(columns: int, folder: Path) -> None:
    arguments = ("run", "small.yaml", "--replications", "2", "--no-figures", "--out", f"w{columns}")
    done = mprec(*arguments, cwd=folder, columns=columns)
    assert done.returncode == 0
    assert max(len(line) for line in done.stdout.splitlines()) <= columns
    assert "MP-Rec" in done.stdout


def test_output_is_ascii_where_the_terminal_shows_no_more(folder: Path) -> None:
    done = mprec("run", "small.yaml", "--replications", "1", "--no-figures", cwd=folder, PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and done.stdout.isascii() and "\\u" not in done.stdout


def test_plot_draws_the_same_figures_again(folder: Path) -> None:
    mprec("run", "small.yaml", "--out", "runs/a", "--replications", "2", cwd=folder)
    svg = folder / "runs" / "a" / "figures" / "latency-load.svg"
    before = svg.read_bytes()
    svg.unlink()
    done = mprec("plot", "a", cwd=folder)
    assert done.returncode == 0 and "latency-load.svg" in done.stdout
    assert svg.read_bytes() == before
    for damage in ("{", "{}", '{"scenarios": [{}]}'):
        (folder / "runs" / "a" / "summary.json").write_text(damage)
        done = mprec("plot", "runs/a", cwd=folder)
        assert done.returncode == 2 and "summary" in done.stderr and "Traceback" not in done.stderr


def test_profiles_and_schema_and_validate(folder: Path) -> None:
    listed = mprec("profiles", "list", cwd=folder).stdout
    assert "kairos-g4dn.xlarge" in listed and "dlrm-kaggle" in listed
    shown = mprec("profiles", "show", "kairos-g4dn.xlarge", cwd=folder).stdout
    assert "HPDC 2023" in shown and "measured" in shown and "p99" in shown
    assert "2,162.8 MB" in mprec("profiles", "show", "dlrm-kaggle", cwd=folder).stdout
    assert "1.2192" in mprec("profiles", "show", "broadwell-dlrm-rmc1", cwd=folder).stdout
    assert "did you mean 'gpu-v100'" in mprec("profiles", "show", "gpu-v10", cwd=folder).stderr
    for kind, name in (("devices", "gpu-v100"), ("models", "dlrm-kaggle"), ("interference", "broadwell-dlrm-rmc1")):
        path = os.path.relpath(data_dir("hwprofiles") / kind / f"{name}.yaml", folder)
        assert mprec("profiles", "show", path, cwd=folder).stdout == mprec("profiles", "show", name, cwd=folder).stdout
    (folder / "bad.yml").write_text("a: 1\n")
    for file, said in (("bad.yml", "bad.yml:1:1: a: unknown key"), ("none.yaml", "there is no such file")):
        refused = mprec("profiles", "show", file, cwd=folder)
        assert refused.returncode == 2 and said in refused.stderr
    assert json.loads(mprec("schema", cwd=folder).stdout)["$schema"].endswith("2020-12/schema")
    valid = mprec("validate", "small.yaml", cwd=folder)
    assert valid.returncode == 0 and "valid: 4 scenarios" in valid.stdout
    # What a run would refuse once it begins is refused here, too.
    (folder / "broken.py").write_text("raise SystemExit(0)\n")
    for override, said in (
        ("report.baseline=nobody", "report.baseline: no scenario of the sweep is called that"),
        ("policy={kind: user, function: 'nowhere:f'}", "module 'nowhere' cannot be imported"),
        ("policy={kind: user, function: 'json:f'}", "module 'json' has no function 'f'"),
        ("policy={kind: user, function: 'broken:f'}", "module 'broken' cannot be imported: SystemExit(0)"),
    ):
        more = () if "baseline" in override else ("--set", "sweep={}", "--set", "report={}")
        refused = mprec("validate", "small.yaml", *more, "--set", override, "--plugins", ".", cwd=folder)
        assert refused.returncode == 2 and said in refused.stderr, refused.stderr


def test_your_own_policy_comes_from_a_folder_named_on_the_command_line(folder: Path) -> None:
    plugins = folder / "plugins"
    plugins.mkdir()
    (plugins / "mine.py").write_text(
        "def last(size, time_left_ns, accuracy, service_ns, wait_ns, parameters):\n    return len(accuracy) - 1\n"
    )
    (folder / "elsewhere.py").write_text("raise SystemExit('code of an experiment folder was imported')\n")
    base = ("run", "small.yaml", "--set", "sweep={}", "--set", "report={}", "--replications", "2", "--no-figures")
    policy = ("--set", "policy={kind: user, function: mine:last}")
    assert mprec(*base, *policy, cwd=folder).returncode == 2
    done = mprec(*base, *policy, "--plugins", "plugins", "--out", "a", cwd=folder)
    assert done.returncode == 0, done.stderr
    (entry,) = json.loads((folder / "a" / "summary.json").read_text())["scenarios"]
    assert entry["path_mix"]["table@gpu"] == 1.0
    # A module beside the experiment file is not found, even from its own folder.
    done = mprec(*base, "--set", "policy={kind: user, function: elsewhere:last}", "--out", "b", cwd=folder)
    assert done.returncode == 2 and "install it or name its folder with --plugins" in done.stderr


def test_an_argument_that_no_file_can_be_called_is_told(folder: Path) -> None:
    name = "n" * 300
    for command in (("validate", name), ("report", name), ("plot", name), ("compare", name, name)):
        done = mprec(*command, cwd=folder)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False)
        assert name in done.stderr or "no such experiment file" in done.stderr
