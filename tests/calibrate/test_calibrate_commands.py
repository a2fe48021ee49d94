"""`mprec calibrate import` and `fit` from the command line: a profile that runs at once, or nothing at all."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml
from typer.testing import CliRunner

from sim.calibrate.sample_set import read_sample_csv
from sim.cli.main import app
from sim.profile.library import load_device
from sim.study.prepare import prepare
from sim.study.scenario import load_scenarios
from tests.calibrate.loadgen_logs import summary_log

MPREC = Path(sys.executable).parent / "mprec"

EXPERIMENT = """\
name: own
model: rm2
sla: 100ms
workload:
  arrivals: {kind: poisson, rate: 100/s}
  sizes: {kind: uniform, min: 2, max: 8}
  queries: 500
fleet:
  - name: only
    devices: {own: DEVICE}
policy: {kind: static, representation: table, device: own}
replications: 2
"""


def mprec(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [MPREC, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        timeout=300,
        check=False,
    )


def samples_text() -> str:
    random = np.random.default_rng(1)
    rows = [f"{size},{1.0 + size + random.exponential():.4f}" for size in (2, 4, 6, 8) for _ in range(50)]
    return "size,latency_ms\n" + "\n".join(rows) + "\n"


def test_samples_are_imported_fitted_and_run(tmp_path: Path) -> None:
    (tmp_path / "raw.csv").write_text(samples_text())
    done = mprec(
        "calibrate", "import", "raw.csv", "--model", "rm2", "--device", "own", "--out", "own.csv.xz", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "wrote own.csv.xz: 200 samples" in done.stdout
    samples = read_sample_csv(tmp_path / "own.csv.xz")
    assert samples.sizes("rm2", "table") == (2, 4, 6, 8)
    digest = hashlib.sha256((tmp_path / "raw.csv").read_bytes()).hexdigest()
    reads = "mprec calibrate import raw.csv --model rm2 --device own"
    assert samples.about == {
        "device": "own",
        "source": f"imported from raw.csv (samples), sha256 {digest[:16]}...",
        "command": reads,
    }
    # What is there is somebody's measurements, the input itself, say.
    for there in ("own.csv.xz", "raw.csv"):
        before = (tmp_path / there).read_bytes()
        again = ("calibrate", "import", "raw.csv", "--model", "rm2", "--device", "other", "--out", there)
        done = mprec(*again, cwd=tmp_path)
        assert done.returncode == 2 and f"{there} is there already" in done.stderr
        assert (tmp_path / there).read_bytes() == before
    done = mprec(
        "calibrate",
        "import",
        "raw.csv",
        "--model",
        "rm2",
        "--device",
        "own",
        "--out",
        "own.csv.xz",
        "--replace",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr

    done = mprec("calibrate", "fit", "own.csv.xz", "--out", "hwprofiles", "--kind", "cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "all devices, p50:" in done.stdout and "noise floor" in done.stdout
    provenance = yaml.safe_load((tmp_path / "hwprofiles" / "devices" / "own.yaml").read_text())["provenance"]
    assert provenance["source"] == samples.about["source"]
    assert provenance["command"] == f"{reads} && mprec calibrate fit own.csv.xz"
    assert {file.name for file in (tmp_path / "hwprofiles" / "figures").iterdir()} == {"own-fit.svg", "own-fit.png"}

    (tmp_path / "elsewhere").mkdir()
    for number, device in enumerate(("own", "hwprofiles/devices/own.yaml", "../hwprofiles/devices/own.yaml")):
        (tmp_path / "elsewhere" / "own.yaml").write_text(EXPERIMENT.replace("DEVICE", device))
        done = mprec("run", "elsewhere/own.yaml", "--out", f"run{number}", "--no-figures", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "Evidence: measured" in done.stdout
    # What a run leaves says where the file is, from everywhere.
    assert mprec("validate", "../run2/experiment.yaml", cwd=tmp_path / "elsewhere").returncode == 0
    (tmp_path / "own.yaml").write_text(EXPERIMENT.replace("DEVICE", "own"))
    done = mprec("run", "own.yaml", "--set", "workload.sizes.max=9", "--out", "beyond", cwd=tmp_path)
    assert done.returncode == 2
    assert "2 to 8" in done.stderr or "2..8" in done.stderr

    done = mprec("calibrate", "fit", "own.csv.xz", "--out", "hwprofiles", cwd=tmp_path)
    assert done.returncode == 2
    assert "there already" in done.stderr

    done = mprec("calibrate", "fit", "own.csv.xz", "--out", "mine", "--name", "other", "--skip", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    provenance = yaml.safe_load((tmp_path / "mine" / "devices" / "other.yaml").read_text())["provenance"]
    assert provenance["command"] == f"{reads} && mprec calibrate fit own.csv.xz --name other --skip 1"
    # 49 repeats do not carry p99: one panel is drawn, of p50.
    assert "p99 is not known" in done.stdout and "p99:" not in done.stdout
    drawn = (tmp_path / "mine" / "figures" / "other-fit.svg").read_text()
    assert "error of p50" in drawn and "error of p99" not in drawn


def test_percentiles_become_a_profile_that_says_so(tmp_path: Path) -> None:
    for size in (8, 32):
        (tmp_path / f"{size}.txt").write_text(summary_log().replace("000000", f"{size}0000"))
    options = ["--size", "8", "--size", "32", "--model", "rm2", "--device", "own", "--out", "hwprofiles"]
    done = mprec("calibrate", "import", "8.txt", "32.txt", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "rm2, table: 2 sizes, p0, p50, p90, p99, p100, as they were given" in done.stdout
    shown = mprec("profiles", "show", "own", cwd=tmp_path).stdout
    assert "evidence   measured" in shown
    assert "Percentiles as they were given" in " ".join(shown.split())


def test_bad_input_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "raw.csv").write_text(samples_text() + "8,-1\n8\n")
    (tmp_path / "cut.txt").write_text(summary_log()[:400])
    before = sorted(tmp_path.rglob("*"))
    for file, lines in (("raw.csv", ("raw.csv:202:3:", "raw.csv:203:1:")), ("cut.txt", ("cut.txt:",))):
        done = mprec("calibrate", "import", file, "--model", "rm2", "--out", "out", cwd=tmp_path)
        assert done.returncode == 2
        assert all(line in done.stderr for line in lines), done.stderr
        assert "Traceback" not in done.stderr
    for option, text, what in (("--memory", "abc", "not a memory size"), ("--price", "3", "a price needs a unit")):
        done = mprec("calibrate", "fit", "raw.csv", "--out", "out", option, text, cwd=tmp_path)
        assert done.returncode == 2 and what in " ".join(done.stderr.split())
    done = mprec("calibrate", "fit", "raw.csv", "--out", "out", cwd=tmp_path)
    assert done.returncode == 2 and "raw.csv:1:1: not the columns of a sample file" in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "raw.csv").write_text(samples_text())
    (tmp_path / "file").write_text("")
    done = mprec("calibrate", "import", "raw.csv", "--model", "rm2", "--out", "file/own.csv", cwd=tmp_path)
    assert done.returncode == 2
    assert "file/own.csv could not be written" in done.stderr and "Traceback" not in done.stderr


def test_a_name_that_cannot_be_written_is_refused_before_anything_is_fitted(tmp_path: Path) -> None:
    (tmp_path / "raw.csv").write_text(samples_text())
    importing = ("calibrate", "import", "raw.csv", "--model", "rm2")
    assert mprec(*importing, "--device", "own", "--out", "own.csv", cwd=tmp_path).returncode == 0
    fitting = ("calibrate", "fit", "own.csv")
    for arguments in (
        (*fitting, "--name", "a/b", "--out", "profiles"),
        (*fitting, "--name", "a/b", "--figures", "figures"),
        (*fitting, "--name", "n" * 300, "--out", "profiles"),
        (*fitting, "--name", "gpu-v100", "--out", "profiles"),
        (*importing, "--device", "../b", "--out", "samples"),
    ):
        done = mprec(*arguments, cwd=tmp_path)
        assert (done.returncode, "held out" in done.stdout) == (2, False)
        assert "a device cannot be called that" in done.stderr or "of that name ships" in done.stderr
    assert mprec(*fitting, "--out", "profiles", cwd=tmp_path).returncode == 0
    done = mprec(*fitting, "--out", "profiles", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is there already" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"raw.csv", "own.csv", "profiles"}


MEASURED = """\
# device: own
# kind: gpu
# lanes: 2
# unfit: 7 of 7 blocks were disturbed
# ids: zipf
# waiting: back-to-back
# load: 1
# threads: 1
# cache: encoder=2MB
# interference: steal 9%
model,representation,stage,size,block,service_ns
"""


def test_a_profile_says_what_its_samples_say_and_so_do_runs_with_it(tmp_path: Path) -> None:
    rows = "".join(f"rm2,table,total,{size},{block},{size}000000\n" for size in (2, 8) for block in range(3))
    (tmp_path / "own.csv").write_text(MEASURED + rows)
    done = CliRunner().invoke(app, ["calibrate", "fit", str(tmp_path / "own.csv"), "--out", str(tmp_path / "p")])
    assert done.exit_code == 0, done.output
    device = load_device(tmp_path / "p" / "devices" / "own.yaml")
    assert (device.kind, device.lanes, device.standing) == ("gpu", 2, "measured, unfit")
    for part in ("UNFIT: 7 of 7 blocks were disturbed.", "MP-Cache: encoder=2MB", "p95 and p99"):
        assert part in device.provenance
    (tmp_path / "own.yaml").write_text(EXPERIMENT.replace("DEVICE", "p/devices/own.yaml"))
    (scenario,) = prepare(load_scenarios(str(tmp_path / "own.yaml")))
    assert any("own were measured while something disturbed them" in line for line in scenario.assumptions)
    # What is given is taken instead; what differs between files has to be given.
    (tmp_path / "more.csv").write_text(MEASURED.replace("lanes: 2", "lanes: 3") + rows)
    both = ["calibrate", "fit", str(tmp_path / "own.csv"), str(tmp_path / "more.csv"), "--out", str(tmp_path / "q")]
    done = CliRunner().invoke(app, both)
    assert "of its lanes the samples of own say what cannot be" in str(done.exception) and not (tmp_path / "q").exists()
    assert CliRunner().invoke(app, [*both, "--lanes", "4", "--kind", "cpu"]).exit_code == 0
    device = load_device(tmp_path / "q" / "devices" / "own.yaml")
    assert (device.kind, device.lanes) == ("cpu", 4)


def test_latencies_with_waiting_are_told_wherever_they_end_up(tmp_path: Path) -> None:
    (tmp_path / "raw.csv").write_text(samples_text())
    given = ("--model", "rm2", "--device", "own", "--with-queueing", "--kind", "cpu", "--memory", "8GB", "--published")
    raw, samples = str(tmp_path / "raw.csv"), str(tmp_path / "own.csv")
    done = CliRunner().invoke(app, ["calibrate", "import", raw, "--out", samples, *given])
    assert done.exit_code == 0, done.output
    assert CliRunner().invoke(app, ["calibrate", "fit", samples, "--out", str(tmp_path / "p")]).exit_code == 0
    device = load_device(tmp_path / "p" / "devices" / "own.yaml")
    assert (device.kind, device.memory_bytes, device.evidence) == ("cpu", 8_000_000_000, "published")
    (tmp_path / "own.yaml").write_text(EXPERIMENT.replace("DEVICE", "p/devices/own.yaml"))
    (scenario,) = prepare(load_scenarios(str(tmp_path / "own.yaml")))
    assert any("own include waiting for other queries, which is counted twice" in x for x in scenario.assumptions)
