"""`mprec run --trace` and `mprec report` as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from sim.cli.main import app

SMALL = """\
# Which is faster?
name: small
model: dlrm-kaggle
sla: 10ms
workload:
  arrivals: {kind: poisson, rate: 500/s}
  sizes: {kind: lognormal, mean: 128, sigma: 1.0, max: 4096}
  duration: 400ms
fleet: [{name: hw, devices: {cpu: cpu-broadwell, gpu: gpu-v100}}]
replications: 2
sweep:
  policy:
    slow: {kind: static, representation: table, device: cpu}
    fast: {kind: fastest}
"""


def test_a_trace_lies_beside_a_run_that_is_the_same_without_it(tmp_path: Path) -> None:
    file, plain, traced = tmp_path / "small.yaml", tmp_path / "plain", tmp_path / "traced"
    file.write_text(SMALL)

    def run(out: Path, *arguments: str) -> None:
        done = CliRunner().invoke(app, ["run", str(file), "--jobs", "1", "--out", str(out), "-q", *arguments])
        assert done.exit_code == 0, done.output

    run(plain)
    run(traced, "--trace", "100ms..150ms", "--trace-scenario", "fast", "--trace-replication", "1")
    assert (plain / "summary.json").read_bytes() == (traced / "summary.json").read_bytes()
    content = json.loads((traced / "trace.json").read_text(encoding="utf-8"))
    about = content["otherData"]
    assert (about["scenario"], about["replication"], about["to_ns"]) == ("policy: fast", 1, 150_000_000)
    begins = {event["id"] for event in content["traceEvents"] if event["ph"] == "b"}
    # 50 ms at 500/s: 25 queries on average; 8 or fewer, or 60 or more, have a chance of 1e-4.
    assert 8 < len(begins) < 60
    assert json.loads((traced / "manifest.json").read_text())["trace"]["events"] == len(content["traceEvents"])
    assert not (plain / "trace.json").exists()
    assert (plain / "experiment.yaml").read_text().startswith("# Which is faster?\nname: small\n")

    done = CliRunner().invoke(app, ["report", str(traced)])
    assert done.exit_code == 0, done.output
    assert "Which is faster?" in (traced / "report.html").read_text(encoding="utf-8")


def test_a_trace_that_cannot_be_had_stops_the_run_before_it_begins(tmp_path: Path) -> None:
    file, out = tmp_path / "small.yaml", tmp_path / "out"
    file.write_text(SMALL)
    for arguments in (["--trace", "20ms..10ms"], ["--trace", "1s..2s"], ["--trace-scenario", "fast"]):
        done = CliRunner().invoke(app, ["run", str(file), "--out", str(out), "-q", *arguments])
        assert done.exit_code != 0
        assert not out.exists()
