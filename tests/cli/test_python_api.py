"""``from sim import load, run, capacity, compare``: the page runs as it stands; results are those of the commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import sim
from sim.cli.main import app
from sim.spec.problems import SpecError
from tests.python_page import PAGE, session

TINY = """\
name: tiny
model: dlrm-kaggle
sla: 10ms
workload:
  arrivals: {kind: poisson, rate: 500/s}
  sizes: {kind: fixed, size: 64}
  duration: 1s
  warmup: 10ms
fleet:
  - name: n
    devices: {cpu: {profile: cpu-broadwell, memory: 32GB}}
policy: {kind: fastest}
classes:
  - {name: front, share: 60%, sla: 1ms}
  - {name: back, share: 40%}
replications: 2
report: {timeline: 500ms}
"""


@pytest.fixture(name="tiny")
def _tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path / "tiny.yaml"


def test_the_page_prints_what_it_says() -> None:
    found = session(PAGE.read_text(encoding="utf-8"))
    assert len(found) >= 8
    for code, written, printed in found:
        assert printed == written, (
            f"python -m tests.python_page writes the page anew; this block printed\n{printed}\n{code}"
        )


def test_importing_the_package_loads_nothing_of_it() -> None:
    code = (
        "import sys, sim\nassert not hasattr(sim, 'nothing')\n"
        "print(sorted(name for name in sys.modules if name.split('.')[0] in ('sim', 'numpy', 'pandas', 'pydantic')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['sim', 'sim._version']"


def test_a_run_from_python_leaves_what_the_command_leaves(tiny: Path) -> None:
    results = sim.run(sim.load(tiny, seed=3), "api")
    command = ["run", str(tiny), "--seed", "3", "--out", "cli", "-q", "--jobs", "1", "--no-figures"]
    done = CliRunner().invoke(app, command, env={"COLUMNS": "100"})
    assert done.exit_code == 0, done.output
    for name in ("summary.json", "replications.json", "metrics.csv", "timeline.csv"):
        assert (Path("api") / name).read_bytes() == (Path("cli") / name).read_bytes()
    assert results.report(100).replace("Files: api", "Files: cli") == done.output.rstrip("\n")
    assert set(sim.compare(results, "cli").frame().difference.dropna()) == {0.0}


def test_nothing_is_left_where_no_directory_is_named(tiny: Path) -> None:
    results = sim.run(tiny)
    assert len(results.queries()) == sum(one.counts["offered"] for one in results.summaries)
    assert sorted(path.name for path in tiny.parent.iterdir()) == ["tiny.yaml"]
    directory = results.directory
    del results
    assert not directory.exists()


def test_frames_hold_every_class_interval_and_replication(tiny: Path) -> None:
    results = sim.run(tiny)
    frame = results.frame()
    assert set(frame["class"]) == {"", "front", "back"}
    whole = frame[(frame["class"] == "") & (frame.metric == "latency_ms_mean")].iloc[0]
    metric = results.summaries[0].metrics["latency_ms_mean"]
    assert (whole.value, whole.low, whole.high) == (metric.value, metric.low, metric.high)
    by_replication = results.replications()
    assert list(by_replication[by_replication["class"] == "front"].replication) == [0, 1]
    mean = by_replication[by_replication["class"] == ""].latency_ms_mean.mean()
    assert mean == pytest.approx(metric.value, rel=1e-12)
    queries = results.queries()
    assert set(queries.outcome) <= {"served in time", "served late", "in flight", "dropped"}
    assert set(queries.path) == {"table@cpu"} or set(queries.path) > {"table@cpu"}
    assert set(results.timeline().start_s) == {0.0, 0.5}


def test_what_is_not_there_is_told(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = sim.run(sim.load(tiny, set=["report.queries=never", "report.timeline=null"], replications=1))
    with pytest.raises(ValueError, match=r"report\.queries=always"):
        results.queries()
    with pytest.raises(ValueError, match=r"report\.timeline=1s"):
        results.timeline()
    with pytest.raises(SpecError, match="no such experiment"):
        sim.load("quikstart")
    with pytest.raises(SpecError, match="sla"):
        sim.load(tiny, set={"sla": "-1ms"})
    with pytest.raises(ValueError, match="is an experiment"):
        sim.compare(results, str(tiny))
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install 'mprec-sim\[frames\]'"):
        results.frame()


def test_runs_of_one_name_are_told_apart(tiny: Path) -> None:
    slow = sim.load(tiny, set={"fleet.n.devices.cpu.lanes": 1})
    (one,) = sim.compare(sim.run(tiny), sim.run(slow)).comparisons
    assert (one.baseline_name, one.other_name) == ("tiny #1", "tiny #2")
    assert any("lanes" in change for change in one.changed)
