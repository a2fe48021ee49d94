"""``mprec compare A B``: zero with itself, narrower in pairs, limits and their exit codes, what cannot be compared."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sim.api import Results, compare, load, run
from sim.cli.main import app
from sim.report.guard import Answer, LimitError, parse_limit
from sim.spec.problems import SpecError

SMALL = """\
name: small
model: dlrm-kaggle
sla: 1ms
workload:
  arrivals: {kind: poisson, rate: 2000/s}
  sizes: {kind: fixed, size: 64}
  queries: 1200
  warmup: 10ms
fleet:
  - name: n
    devices:
      cpu: {profile: cpu-broadwell, memory: 32GB}
      gpu: {profile: gpu-v100, memory: 32GB, lanes: 1}
policy: {kind: static, representation: table, device: gpu}
classes:
  - {name: front, share: 60%, sla: 1ms}
  - {name: back, share: 40%, sla: 5ms}
replications: 3
seed: 1
sweep:
  workload.arrivals.rate: [500/s, 1000/s]
report: {queries: never}
"""


def made(folder: Path, name: str, by_scenario: dict[str, list[float | None]], **more: Any) -> Path:
    """A run directory by hand: p99 in ms of each scenario's replications, and an SLA attainment of 1 - p99 / 100."""
    path = folder / "runs" / name
    path.mkdir(parents=True)
    scenarios, kept = [], []
    for label, values in by_scenario.items():
        parameters = {"policy": label} if label else {}
        scenarios.append(
            {
                "parameters": parameters,
                "saturated": not values,
                "confidence": 0.95,
                "evidence": "modelled",
                "metrics": {},
            }
        )
        attained = [1.0 - (value or 0.0) / 100 for value in values or [50.0, 50.0, 50.0]]
        kept.append(
            {
                "numbers": list(range(len(attained))),
                "metrics": {"latency_ms_p99": values, "sla_attainment": attained, "drop_rate": [0.0] * len(attained)},
                "path_mix": {},
                "utilisation": {},
                "waiting_parts": {},
                "curve_ms": [],
                "classes": {},
            }
        )
    summary = {"name": name, "percentile": "p99", "baseline": None, "scenarios": scenarios}
    (path / "summary.json").write_text(json.dumps(summary))
    (path / "replications.json").write_text(json.dumps({"seed": 1, "scenarios": kept, **more}))
    return path


def mprec(*arguments: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["compare", *map(str, arguments)])
    if isinstance(done.exception, SpecError):
        return 2, str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path


@pytest.fixture(name="small", scope="module")
def _small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.yaml").write_text(SMALL)
    yield run(folder / "small.yaml", folder / "small", engine="reference")


def test_a_run_against_itself_differs_by_exactly_nothing(folder: Path, small: Results) -> None:
    code, output = mprec(small.directory, small.directory, "--metric", "all", "--json", "a.json", "--out", "figures")
    assert code == 0, output
    found = json.loads(Path("a.json").read_text())["comparisons"]
    assert len(found) == 2
    nothing = {"value": 0.0, "low": 0.0, "high": 0.0}
    seen = set()
    for one in found:
        assert one["paired"]
        assert one["same_queries"] is True
        assert one["changed"] == []
        for name, metric in one["metrics"].items():
            if "reason" in metric:
                continue
            seen.add(name)
            assert metric["baseline"] == metric["value"]
            assert metric["difference"] == metric["relative"] == nothing, name
    assert {"latency_ms_mean", "path_mix[table@gpu]", "utilisation[gpu]", "latency_ms_p95[front]"} <= seen
    assert "noise" not in output
    assert mprec(small.directory, small.directory, "--json", "b.json", "--out", "figures")[0] == 0
    assert Path("a.json").read_bytes() == Path("b.json").read_bytes()
    assert {file.name for file in Path("figures").iterdir()} >= {"differences.png", "differences.svg"}


def test_a_narrow_terminal_cuts_no_name(folder: Path, small: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    code, output = mprec(small.directory, small.directory, "--metric", "all", "--out", "figures")
    assert code == 0
    lines = output.splitlines()
    assert all(len(line) <= 40 for line in lines)
    # Each of these is longer than what is left of 40 columns, and stands above its row.
    for name in ("correct_predictions_per_s", "correct_predictions_within_sla_per_s"):
        assert lines.count(name) == 2
        assert lines[lines.index(name) + 1].split() == ["+0.00%", "[+0.00,", "+0.00]%"]


@pytest.mark.parametrize("columns", [90, 100])
def test_the_values_of_both_sides_are_shown_before_names_are_left_whole(
    columns: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    made(folder, "light", {"": [10.0, 20.0, 30.0]})
    made(folder, "saturated", {"": []})
    for name, rate in (("light", 1234.0), ("saturated", 0.0)):
        file = folder / "runs" / name / "replications.json"
        kept = json.loads(file.read_text())
        metrics = kept["scenarios"][0]["metrics"]
        metrics["correct_predictions_within_sla_per_s"] = [rate] * 3
        metrics["sla_attainment"] = [rate / 1234.0] * 3
        file.write_text(json.dumps(kept))
    code, output = mprec("light", "saturated", "--metric", "all")
    assert code == 0, output
    lines = output.splitlines()
    assert all(len(line) <= columns for line in lines)
    header = next(line for line in lines if line.startswith("metric"))
    assert header.split()[1:] == ["light", "saturated", "change", "interval"]
    line = next(line for line in lines if line.startswith("latency_ms_p99 "))
    assert line.split()[1:] == ["20", "ms", "-", "-", "-", "saturated"]
    assert any(line.startswith("correct_predictions_within_sla_per_s") for line in lines)


def test_pairs_give_an_interval_at_least_three_times_narrower() -> None:
    """Switching between CPU and GPU as the queue is seen, and as if there were none, on a shipped experiment."""

    def mean_latency(seed: int, queue: str) -> Results:
        policy = {"kind": "switch", "representation": "table", "queue": queue}
        keys = {
            "sweep": {},
            "report": {"queries": "never"},
            "workload.arrivals.rate": "4000/s",
            "workload.queries": 5000,
        }
        return run(load("mprec-kaggle-hw1", set={**keys, "policy": policy}, seed=seed, replications=10))

    widths = []
    seen = mean_latency(1, "expected")
    for seed in (1, 2):
        (one,) = compare(seen, mean_latency(seed, "ignored")).comparisons
        row = one.row("latency_ms_mean")
        assert row is not None
        assert row.difference is not None
        found = row.difference.absolute
        assert one.pairing.paired is (seed == 1)
        assert found.low is not None
        assert found.high is not None
        assert found.low > 0, "not to look at the queue costs latency"
        widths.append(found.high - found.low)
    assert widths[1] >= 3 * widths[0]


def test_a_change_by_hand(folder: Path) -> None:
    """Every replication is 1 ms slower: the interval of the difference is a point, and 5% of 20 ms."""
    made(folder, "a", {"": [10.0, 20.0, 30.0]})
    made(folder, "b", {"": [11.0, 21.0, 31.0]})
    code, output = mprec("a", "b", "--csv", "d.csv")
    assert code == 0
    with Path("d.csv").open() as stream:
        rows = {row["metric"]: row for row in csv.DictReader(stream)}
    p99 = rows["latency_ms_p99"]
    assert (p99["difference"], p99["difference_low"], p99["difference_high"]) == ("1.0", "1.0", "1.0")
    assert (float(p99["relative"]), p99["pairs"], p99["within_noise"]) == (pytest.approx(0.05), "3", "false")
    assert rows["sla_attainment"]["within_noise"] == "false"
    assert rows["drop_rate"]["within_noise"] == "true"
    line = next(line for line in output.splitlines() if line.startswith("latency_ms_p99"))
    assert line.split() == ["latency_ms_p99", "20", "ms", "21", "ms", "+1", "ms", "+5.00%", "-"], "too few for a ratio"
    assert "the baseline is not distinguishable from zero" in " ".join(output.split())


@pytest.mark.parametrize(
    ("limit", "answer", "code"),
    [
        ("latency_ms_p99 > +0.5ms", Answer.EXCEEDED, 1),
        ("latency_ms_p99 > +500us", Answer.EXCEEDED, 1),
        ("latency_ms_p99 > +1ms", Answer.KEPT, 0),
        ("latency_ms_p99 < -1ms", Answer.KEPT, 0),
        ("latency_ms_p99 > +2%", Answer.EXCEEDED, 1),
        ("latency_ms_p99 > +9%", Answer.UNDECIDED, 0),
        ("latency_ms_p99 > +20%", Answer.KEPT, 0),
        ("sla_attainment < -0.9%", Answer.EXCEEDED, 1),
        ("sla_attainment < -1.1%", Answer.KEPT, 0),
        ("drop_rate > 0%", Answer.KEPT, 0),
    ],
)
def test_limits_end_with_their_exit_code(folder: Path, limit: str, answer: Answer, code: int) -> None:
    """Each is 1 ms slower, and 0.10, 0.01 and -0.08 ms beyond 9%: mean 0.01, half 4.30 * 0.09 / sqrt(3) = 0.22."""
    made(folder, "a", {"": [10.0, 11.0, 12.0]})
    made(folder, "b", {"": [11.0, 12.0, 13.0]})
    found, output = mprec("a", "b", "--fail-if", limit)
    assert found == code, output
    assert f"{'FAILED' if code else 'passed'}: {limit}: {answer.value}" in output
    strict = mprec("a", "b", "--fail-if", limit, "--strict")[0]
    assert strict == (0 if answer is Answer.KEPT else 1)


def test_what_has_no_value_passes_no_limit(folder: Path) -> None:
    made(folder, "a", {"": [10.0, 20.0, 30.0]})
    made(folder, "b", {"": [11.0, 21.0, None]})
    code, output = mprec("a", "b", "--fail-if", "latency_ms_p99 > +50%")
    assert code == 1
    assert "cannot be judged" in output


def test_a_metric_that_the_runs_lack_is_told_with_the_nearest(folder: Path) -> None:
    for name in ("a", "b"):
        made(folder, name, {"": [10.0, 20.0, 30.0]})
    for option, asked in (("--metric", "p99"), ("--fail-if", "latency_ms_p95 > +2%")):
        code, output = mprec("a", "b", option, asked)
        assert code == 2
        assert "did you mean latency_ms_p99? There are" in " ".join(output.replace("│", " ").split())


def test_what_saturates_exceeds_every_limit_of_latency(folder: Path) -> None:
    made(folder, "a", {"": [10.0, 20.0, 30.0]})
    made(folder, "b", {"": []})
    assert mprec("a", "b", "--fail-if", "latency_ms_p99 > +500%")[0] == 1
    assert mprec("b", "a", "--fail-if", "latency_ms_p99 > +1%")[0] == 0
    assert mprec("b", "b", "--fail-if", "latency_ms_p99 > +1%")[0] == 1, "two that are saturated cannot be judged"


def test_other_seeds_are_not_paired(folder: Path) -> None:
    made(folder, "a", {"": [10.0, 20.0, 30.0]})
    made(folder, "b", {"": [11.0, 21.0, 31.0, 21.0]}, seed=2)
    code, output = mprec("a", "b", "--json", "o.json")
    assert code == 0
    assert "Not paired (their seeds are 1 and 2): 3 and 4 replications, taken as independent" in output
    (one,) = json.loads(Path("o.json").read_text())["comparisons"]
    assert one["metrics"]["latency_ms_p99"]["within_noise"] is True


def test_replications_that_only_one_has_are_left_out(folder: Path) -> None:
    made(folder, "a", {"": [10.0, 20.0, 30.0]})
    made(folder, "b", {"": [11.0, 21.0, 31.0, 99.0]})
    output = mprec("a", "b")[1]
    assert "3 pairs of replications" in output
    assert "1 of b left out, which the other lacks" in output


def test_scenarios_are_matched_by_parameters_and_labels(folder: Path) -> None:
    made(folder, "a", {"x": [10.0, 20.0], "y": [1.0, 2.0], "z": [5.0, 5.0]})
    made(folder, "b", {"y": [1.5, 2.5], "x": [10.0, 21.0]})
    output = mprec("a", "b")[1]
    assert "b against a, x" in output
    assert "b against a, y" in output
    assert "Not compared: z is in a only" in output
    assert "a, z" in mprec("a:z", "b:x")[1]
    assert "y against x" in mprec("a", "--baseline", "x")[1]
    both = mprec("a", "b", "--scenario", "y")[1]
    assert "b against a, y" in both
    assert "a, x" not in both
    for arguments, problem in [
        (("a",), "nothing to be compared with"),
        (("a", "--baseline", "q"), "no scenario of the sweep is called that"),
        (("a:q", "b"), "no scenario of a is called that"),
        (("a:z", "b"), "no scenario in common"),
        (("a", "nothing"), "no such run or experiment"),
    ]:
        code, output = mprec(*arguments)
        assert code == 2
        assert problem in output


def test_several_are_compared_with_the_first(folder: Path) -> None:
    for name, more in (("a", 0.0), ("b", 1.0), ("c", 2.0)):
        made(folder, name, {"": [10.0 + more, 20.0 + more]})
    output = mprec("a", "b", "c")[1]
    assert "b against a" in output
    assert "c against a" in output
    assert mprec("a", "b", "--markdown")[1].startswith("**b against a**")


def test_predictions_with_other_service_draws_are_averaged_against_a_measured_run(folder: Path) -> None:
    """The run with the service draws of its seed stands for a server; none of the predictions has these."""
    gpu = "{profile: {kind: gpu, service: {distribution: exponential, mean: 300us}}, lanes: 1}"
    Path("drawn.yaml").write_text(SMALL.replace("{profile: gpu-v100, memory: 32GB, lanes: 1}", gpu))
    measured = run("drawn.yaml", "measured", engine="reference").directory
    summary = json.loads((measured / "summary.json").read_text())
    (measured / "summary.json").write_text(json.dumps({**summary, "observation": {"fit": True}}))
    predicted = [run(load("drawn.yaml", set={"service_seed": seed}), f"p{seed}", engine="reference") for seed in (1, 2)]
    found = [[one.metrics["latency_ms_p99"].value for one in results.summaries] for results in predicted]
    assert found[0] != found[1]
    code, output = mprec("p1", "p2", "measured", "--limit", "p99=100%", "--markdown", "--out", "figures")
    assert code == 0, output
    for scenario, (one, other) in enumerate(zip(*found, strict=True)):
        line = [line for line in output.splitlines() if "| p99 |" in line][scenario]
        assert float(line.split("|")[3].split()[0]) == pytest.approx((one + other) / 2, rel=1e-3)
    # The same draws twice, and predictions that differ in more, are no average.
    code, output = mprec("p1", "p1", "measured")
    assert code == 2 and "p1 and p1 have the same service draws; give each its own service_seed" in " ".join(
        output.split()
    )
    run(load("drawn.yaml", set={"service_seed": 3, "sla": "2ms"}), "p3", engine="reference")
    code, output = mprec("p1", "p3", "measured")
    assert code == 2 and "p1 and p3 cannot be averaged: sla: 1ms -> 2ms" in " ".join(output.split())
    # Where the last is not measured, the others are compared with the first, as ever.
    code, output = mprec("p1", "measured", "p2", "--markdown", "--out", "figures")
    assert code == 0 and "**measured against p1" in output and "**p2 against p1" in output


def test_a_run_without_replications_is_refused(folder: Path) -> None:
    made(folder, "a", {"": [1.0]})
    (made(folder, "b", {"": [1.0]}) / "replications.json").unlink()
    code, output = mprec("a", "b")
    assert code == 2
    assert "kept no values by replication" in output


def test_experiments_are_run_with_the_seed_of_the_first(folder: Path) -> None:
    text = SMALL.replace("1200", "300").replace("[500/s, 1000/s]", "[500/s]")
    Path("before.yaml").write_text(text.replace("seed: 1", "seed: 7"))
    Path("after.yaml").write_text(text.replace("device: gpu}", "device: cpu}"))
    code, output = mprec("before.yaml", "after.yaml", "--jobs", "1", "-q", "--json", "o.json")
    assert code == 0, output
    assert "3 pairs of replications: the same queries on both sides" in output
    assert "Changed: policy.device: gpu -> cpu" in output
    assert json.loads(Path("runs/after/manifest.json").read_text())["seed"] == 7
    Path("wrong.yaml").write_text("name: 3\n")
    assert mprec("wrong.yaml", "before.yaml")[0] == 2
    assert not Path("runs/wrong").exists()
    assert not Path("runs/before-2").exists(), "all is read before anything is run"


@pytest.mark.parametrize("given", [("--set", "sla=5ms"), ("--seed", "0"), ("--replications", "50")])
def test_what_runs_are_given_does_not_go_with_finished_ones(folder: Path, given: tuple[str, str]) -> None:
    for name in ("a", "b"):
        made(folder, name, {"x": [10.0, 20.0, 30.0], "y": [10.0, 20.0, 30.0]})
    for names in (("a", "b"), ("a",)):
        code, output = mprec(*names, *given)
        assert code == 2
        assert given[0] in output
        assert "experiments that are run for the comparison" in " ".join(output.replace("│", " ").split())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("latency_ms_p99", "is no limit"),
        ("latency_ms_p99 > 2%", "write its sign"),
        ("latency_p99 > +2%", "did you mean latency_ms_p99"),
        ("p99 > +2%", r"no metric is called p99; did you mean latency_ms_p99\? There are"),
        ("zebra > +2%", r"no metric is called zebra\. There are"),
        ("latency_ms_p99 < 2%", "write its sign: latency_ms_p99 < -2%"),
        ("sla_attainment > -1%", "a change of zero would exceed it; allowed: METRIC > "),
        ("latency_ms_p99 < +1ms", "a change of zero would exceed it; allowed: METRIC > "),
        ("latency_ms_p99 > +2/s", "has no unit '/s'"),
        ("sla_attainment < -1ms", "has no unit 'ms'"),
    ],
)
def test_limits_that_make_no_sense_are_told(text: str, why: str) -> None:
    with pytest.raises(LimitError, match=why):
        parse_limit(text)


def test_limits_have_units() -> None:
    assert parse_limit("correct_predictions_per_s < -1.5k/s").absolute == -1500.0
    assert parse_limit("sla_attainment < -0.5 points").absolute == -0.005
    assert parse_limit("latency_ms_p99[front]>+2%").metric == "latency_ms_p99[front]"
