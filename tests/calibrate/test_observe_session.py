"""A session from the command line to a run directory, its rule, and what it refuses."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from typer.testing import CliRunner

from sim.calibrate.measure.readings import Look, Observer
from sim.calibrate.observe import session as session_module
from sim.calibrate.observe.arrivals import WITH_IT
from sim.calibrate.observe.calibration import CalibrationBlock, LaneRun, grid_of, pauses_ns
from sim.calibrate.observe.layout import real_devices
from sim.calibrate.observe.profile import capacity_per_s, device_override, fit_device, idle_over_busy
from sim.calibrate.sample_set import read_sample_csv
from sim.cli.main import app
from sim.profile.aftereffects import AfterIdle
from sim.profile.library import load_device
from sim.spec.problems import SpecError
from sim.study.prepare import prepare
from sim.study.scenario import find_experiment, load_scenarios
from sim.study.variation import LaidOut, Variable
from sim.workload.sizes import DiscreteSizes

REHEARSAL = """\
name: rehearsal
model:
  name: m
  representations:
    table: {accuracy: {value: 70%, evidence: assumed}}
    dhe: {accuracy: {value: 75%, evidence: assumed}}
sla: 20ms
workload:
  arrivals: {kind: poisson, rate: 300/s}
  sizes: {kind: lognormal, mean: 16, sigma: 0.5, max: 64}
  queries: 80
  warmup: 1ms
fleet:
  - name: n
    devices:
      cpu:
        memory: 1GB
        profile:
          kind: cpu
          service:
            m:
              table: {distribution: gamma, mean: 200us, per_sample: 5us, cv: 0.2}
              dhe: {distribution: gamma, mean: 400us, per_sample: 5us, cv: 0.2}
policy: {kind: mp-rec}
replications: 2
"""


def written(tmp_path: Path, text: str = REHEARSAL) -> Path:
    file = tmp_path / "rehearsal.yaml"
    file.write_text(text)
    return file


def invoke(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["calibrate", "observe", *(str(one) for one in arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


class CountedLooks(Observer):
    """Counts its looks at the clock within each block, in the order of the blocks."""

    looks: ClassVar[list[int]] = []

    def __init__(self, cores: Sequence[int], *, look: Look) -> None:
        super().__init__(cores, look=look)
        self.looks.append(0)

    def glance(self) -> bool:
        looked = super().glance()
        self.looks[-1] += looked
        return looked


def test_a_session_leaves_a_run_that_is_read_like_a_simulated_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    CountedLooks.looks.clear()
    monkeypatch.setattr(session_module, "Observer", CountedLooks)
    out = tmp_path / "real"
    # Where cores are shared, workers that sleep leave the dispatcher its core.
    options = ("--rehearse", "--share-cores", "--calibration", "50ms", "--waiting", "block", "--replications", "1")
    code, output = invoke(written(tmp_path), "--out", out, "--loads", "0.2,0.4", *options)
    assert code == 1, "shared cores are never fit"
    assert "unfit: the cores were shared" in output
    names = {file.name for file in out.iterdir()}
    assert names >= {"experiment.yaml", "summary.json", "metrics.csv", "manifest.json", "figures", "hwprofiles"}

    summary = json.loads((out / "summary.json").read_text())
    assert [one["parameters"] for one in summary["scenarios"]] == [
        {"workload.arrivals.rate": "load 0.2"},
        {"workload.arrivals.rate": "load 0.4"},
    ]
    assert summary["evidence"] == "measured"
    assert summary["observation"]["fit"] is False
    for one in summary["scenarios"]:
        counts = one["counts"]
        # Every query of every block that is shown is accounted for.
        assert counts["offered"] == 80 * one["replications"]
        assert sum(counts.values()) == 2 * counts["offered"]
        assert one["counts"]["dropped"] == 0
    overhead = summary["observation"]["dispatch_overhead_us"]
    assert 0 < overhead["back to back"]["p50"] <= overhead["back to back"]["p99"]

    blocks = json.loads((out / "manifest.json").read_text())["observation"]["blocks"]
    assert [one["kind"] for one in blocks] == [*["calibration"] * 3, *["observed", "calibration"] * 2]
    assert [one["scenario"] for one in blocks if one["kind"] == "observed"] == [0, 1]
    assert [one["replication"] for one in blocks if one["kind"] == "observed"] == [0, 0]
    assert len(CountedLooks.looks) == len(blocks)
    assert min(CountedLooks.looks) >= 1, "the dispatcher did not look at its clock within a block"

    device = load_device(out / "hwprofiles" / "devices" / "cpu-observed.yaml")
    assert device.evidence == "measured"
    assert "workers that block for work" in device.provenance
    assert "dispatch alone costs" in device.provenance
    assert "UNFIT: the cores were shared" in device.provenance
    # What is predicted with this profile says so, too.
    (first, *_) = prepare(load_scenarios(str(out / "experiment.yaml")))
    assert any("are marked as unfit" in line for line in first.assumptions)
    samples = read_sample_csv(out / "samples-cpu-observed.csv.xz")
    for representation in ("table", "dhe"):
        service = device.profiles["m", representation].service
        assert {service.min_size, service.max_size} == {1, 64}
        times = samples.service_ns("m", representation, 64)
        # A busy loop may be interrupted, but never ends early.
        assert times.min() > 200_000

    simulated = tmp_path / "simulated"
    runner = CliRunner()
    done = runner.invoke(app, ["run", str(out / "experiment.yaml"), "--out", str(simulated), "-q", "--jobs", "1"])
    assert done.exit_code == 0, done.output
    predicted = json.loads((simulated / "summary.json").read_text())
    assert [one["parameters"] for one in predicted["scenarios"]] == [one["parameters"] for one in summary["scenarios"]]
    assert predicted["evidence"] == "measured"
    done = runner.invoke(app, ["compare", str(simulated), str(out)])
    assert done.exit_code == 1
    assert "UNFIT, not to be judged by: the cores were shared" in done.output
    assert "load 0.2: replication 0 of both" in done.output
    assert runner.invoke(app, ["plot", str(out)]).exit_code == 0


def test_the_arrivals_and_sizes_are_those_of_a_simulation(tmp_path: Path) -> None:
    out, simulated = tmp_path / "real", tmp_path / "simulated"
    file = written(tmp_path)
    options = ("--set", "policy={kind: static, representation: table, device: cpu}", "--replications", "1")
    invoke(file, "--out", out, "--rehearse", "--share-cores", "--calibration", "50ms", "--waiting", "block", *options)
    CliRunner().invoke(app, ["run", str(file), "--out", str(simulated), "-q", "--jobs", "1", *options])
    # Whether its block is kept depends on the machine; what arrived in it is in the record only if it was.
    manifest = json.loads((out / "manifest.json").read_text())
    kept = not next(one for one in manifest["observation"]["blocks"] if one["kind"] == "observed")["set_aside"]
    assert (out / "queries.npz").is_file() == kept
    if kept:
        with np.load(out / "queries.npz") as real, np.load(simulated / "queries.npz") as ours:
            np.testing.assert_array_equal(real["arrival_ns"], ours["arrival_ns"])
            np.testing.assert_array_equal(real["size"], ours["size"])


# -- what is refused ------------------------------------------------------------------------------------------


def refused(tmp_path: Path, text: str, *options: str) -> str:
    with pytest.raises(SpecError) as error:
        invoke(written(tmp_path, text), "--out", tmp_path / "out", "--rehearse", "--share-cores", *options)
    assert not (tmp_path / "out").exists(), "nothing is written"
    return str(error.value)


def test_what_a_real_server_cannot_do_is_told_with_its_place(tmp_path: Path) -> None:
    lines = REHEARSAL.splitlines()
    text = "\n".join([*lines, "timeout: {after: 5ms}", "batching: {queries: 4, timeout: 1ms}"])
    message = refused(tmp_path, text.replace("{kind: mp-rec}", "{kind: mp-rec, queue: actual}"))
    assert f"rehearsal.yaml:{len(lines) + 1}:" in message
    assert "timeout: a real server here does not do this" in message
    assert "batching: a real server here does not do this" in message
    assert "policy.queue: nobody knows true service times beforehand" in message


def test_an_mp_cache_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "cached.yaml"
    file.write_text("extends: " + str(find_experiment("mp-cache").resolve()) + "\n")
    with pytest.raises(SpecError, match="the models of a real server here have no MP-Cache"):
        invoke(file, "--out", tmp_path / "out", "--rehearse", "--share-cores")


def test_loads_and_a_sweep_exclude_each_other(tmp_path: Path) -> None:
    text = REHEARSAL + "sweep: {workload.arrivals.rate: [100/s, 200/s]}\n"
    assert "has a sweep of its own" in refused(tmp_path, text, "--loads", "0.5")


def test_a_model_without_a_shape_cannot_be_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # It is told before PyTorch is used.
    monkeypatch.setattr("sim.calibrate.pytorch.require_pytorch", lambda _: None)
    with pytest.raises(SpecError, match="the model has no shape that could be built"):
        invoke(written(tmp_path), "--out", tmp_path / "out", "--share-cores")


def test_without_pytorch_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else find(name, *rest))
    with pytest.raises(SpecError, match=r"mprec-sim\[calibrate\]"):
        invoke(written(tmp_path), "--out", tmp_path / "out")


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--loads", "0.5,x", "expected"),
        ("--loads", "1.2", "expected"),
        ("--loads", "0.5,0.5", "expected"),
        ("--cores", "a,b", "expected"),
        ("--calibration", "4", "10ms"),
        ("--calibration", "0s", "above zero"),
        ("--calibration", "-1s", "zero or more"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, option: str, value: str, says: str) -> None:
    code, output = invoke(written(tmp_path), "--out", tmp_path / "out", "--rehearse", option, value)
    assert code == 2
    assert says in output and option in output
    assert not (tmp_path / "out").exists()


def test_where_nothing_can_be_written_nothing_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")

    def served(*_: object) -> None:
        raise AssertionError("a session was served")

    monkeypatch.setattr(session_module, "run_session", served)
    code, output = invoke(written(tmp_path), "--out", tmp_path / "file" / "out", "--rehearse")
    assert code == 1 and "cannot be written to" in output
    code, output = invoke(written(tmp_path), "--out", tmp_path / "file", "--rehearse")
    assert code == 2 and "is a file" in output
    with pytest.raises(AssertionError, match="was served"):
        invoke(written(tmp_path), "--out", tmp_path / "new" / "out", "--rehearse")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "rehearsal.yaml"]


def test_the_policy_is_told_anew_when_there_is_a_quarter_more_calibration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted, fits = session_module.fit_device, []

    def counted(*arguments: Any) -> Any:
        fits.append(arguments)
        return fitted(*arguments)

    monkeypatch.setattr(session_module, "fit_device", counted)
    options = ("--rehearse", "--calibration", "20ms", "--share-cores", "--replications", "6", "--quiet")
    invoke(written(tmp_path), "--out", tmp_path / "out", *options)
    # For the capacity; after 3, 4, 5 and 7 blocks, as 3.75, 5 and 6.25 are a quarter more; and at the end.
    assert len(fits) == 6


def test_ctrl_c_after_the_blocks_loses_none_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(session_module, "own_error", interrupted)
    options = ("--rehearse", "--calibration", "20ms", "--share-cores", "--replications", "1")
    code, output = invoke(written(tmp_path), "--out", tmp_path / "out", *options)
    assert code == 1 and "left out: intervals of errors will be without" in output
    observation = json.loads((tmp_path / "out" / "summary.json").read_text())["observation"]
    assert observation["calibration_error"] is None and observation["blocks_run"] == 5


def test_a_block_without_queries_is_a_block(tmp_path: Path) -> None:
    options = ("--calibration", "50ms", "--share-cores", "--replications", "1", "--quiet")
    slow = (
        "--set",
        "workload.arrivals.rate=0.001/s",
        "--set",
        "workload.queries=null",
        "--set",
        "workload.duration=1s",
    )
    code, _ = invoke(written(tmp_path), "--out", tmp_path / "out", "--rehearse", *options, *slow)
    # Shared cores are unfit; it is written all the same.
    assert code == 1
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [one["metrics"]["queries_per_s"]["value"] for one in summary["scenarios"]] == [0.0]


def test_too_few_cores_are_told(tmp_path: Path) -> None:
    text = REHEARSAL.replace("memory: 1GB", "lanes: 4000")
    with pytest.raises(SpecError, match="4001 different cores"):
        invoke(written(tmp_path, text), "--out", tmp_path / "out", "--rehearse")


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    code, output = invoke(written(tmp_path), "--out", tmp_path, "--rehearse")
    assert code == 2
    assert "is not empty" in output


def ended(group: int) -> bool:
    """Whether every process of a group ends within some seconds."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "sim.cli", "calibrate", "observe", str(written(tmp_path)), "--out", str(out)]
    options = ["--rehearse", "--share-cores", "--calibration", "60s"]
    with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr is not None
        while "warming up" not in process.stderr.readline():
            assert process.poll() is None
        # As a terminal does: to all processes of the group.
        os.killpg(process.pid, signal.SIGINT)
        errors = process.stderr.read()
    assert process.returncode == 130
    assert "nothing was written" in errors
    assert "Traceback" not in errors
    assert not out.exists()
    assert ended(process.pid), "a process of the session was left"


# -- the grid and the profile ------------------------------------------------------------------------------------


def test_the_grid_holds_the_bounds_and_stands_for_equal_parts() -> None:
    values = np.arange(1, 1201)
    grid = grid_of(DiscreteSizes(values, np.full(1200, 1 / 1200)))
    # The middles of 24 parts, the tail and the bounds, to the rounding of a sum of probabilities.
    np.testing.assert_allclose(grid.body, [25 + 50 * part for part in range(24)], atol=1)
    np.testing.assert_allclose(list(grid.tail), [1188, 1194, 1199], atol=1)
    assert grid.bounds == (1, 1200)
    # From half way to the level before to half way to the next one, in 24ths of the distribution.
    parts = [(0.9925 - (0.99 + 23.5 / 24) / 2) * 24, (0.997 - 0.9925) * 24, (1 - 0.997) * 24]
    assert list(grid.tail.values()) == [round(1 / part) for part in parts] == [5, 9, 14]
    # The tail leaves 63% of the part of the largest of the body.
    assert grid.of_pass(0) == grid.body and grid.of_pass(2) == grid.body[:-1]
    asked = [size for number in range(5 * 9 * 14) for size in grid.of_pass(number)]
    begins = (0.99 + 23.5 / 24) / 2
    assert np.mean(np.array(asked) > np.quantile(values, begins)) == pytest.approx(1 - begins, rel=0.05)
    assert len(asked) / (5 * 9 * 14) == pytest.approx(24, abs=0.01)
    assert np.mean(np.array(asked) == grid.body[-1]) == pytest.approx((1 - 1 / 5 - 1 / 9 - 1 / 14) / 24, rel=0.01)
    assert np.mean(asked) == pytest.approx(600.5, rel=0.01)
    assert grid.missing(set(asked)) == [1, 1200]
    assert grid.missing({*grid.body, 1}) == [*grid.tail, 1200]
    coarse = grid_of(DiscreteSizes(np.array([5, 50]), np.array([0.985, 0.015])))
    assert set(coarse.body) == {5} and coarse.tail == {50: 3} and coarse.bounds == (50,)
    only = grid_of(DiscreteSizes(np.array([7]), np.array([1.0])))
    assert set(only.body) == {7} and only.tail == {} and only.bounds == () and only.missing({7}) == []


def scenario_of(tmp_path: Path) -> LaidOut:
    (one,) = Variable(str(written(tmp_path)), ("fleet.n.count=3",)).lay_out()
    return one


def test_capacity_and_profile_follow_from_the_samples(tmp_path: Path) -> None:
    scenario = scenario_of(tmp_path)
    (device,) = real_devices(scenario)
    assert device.lanes == (0, 1, 2)
    names = [scenario.plan.eligible[path].representation for path in device.paths]
    times, runs = {}, []
    for path, name in zip(device.paths, names, strict=True):
        for size in (1, 64):
            busy_ns = 1000 * (size if name == "table" else 3 * size)
            times[path, size, False] = np.full(10, busy_ns)
            # The first does not count: nobody knows how long the lane was idle before it.
            idle_ns = np.repeat([10_000, 90_000], [61, 60])
            took_ns = busy_ns + idle_ns // 100
            times[path, size, True] = took_ns[1:]
            runs.append(LaneRun(np.full(121, path), np.full(121, size), idle_ns, took_ns))
    block = CalibrationBlock(times, tuple(runs))
    fitted = fit_device([block], scenario, device, "cpu-observed")
    # Back to back a size of 33 takes 33 us. Idle time costs 100 ns after 10 us and 900 ns after 90 us, of any size.
    only_33 = DiscreteSizes(np.array([33]), np.array([1.0]))
    assert capacity_per_s([fitted], only_33) == pytest.approx(3 * 1e6 / 33, rel=1e-3)
    assert fitted.after_idle == ((AfterIdle((10_000, 90_000), (100, 900)),),) * len(names)
    # 1.5 us for 1, 64.5 for 64, 3.5 for 3, 192.5 for 192: the median of the ratios lies between the middle two.
    ratios = sorted([1.5 / 1, 64.5 / 64, 3.5 / 3, 192.5 / 192])
    assert idle_over_busy([block]) == pytest.approx((ratios[1] + ratios[2]) / 2)
    # The simulation of it has both.
    override = device_override(fitted, scenario, {"source": "a test"})
    (again,) = Variable(str(written(tmp_path)), ("fleet.n.count=3", override)).lay_out()
    costs = again.system.idle_costs
    assert costs.at.tolist() == [10_000, 90_000] * len(names)
    assert costs.extra_ns.tolist() == [100, 900] * len(names)


def test_pauses_are_rare_in_one_half_of_a_block_and_common_in_the_other() -> None:
    random = np.random.default_rng(6)
    for block, shares in enumerate([(0.1, 0.7), (0.5, 0.3), (0.1, 0.7)]):
        found = np.array(pauses_ns([20, 30, 20, 30], block, 1e6, random))
        halves = found[:50], found[50:]
        assert tuple(np.mean(half != WITH_IT) for half in halves) == pytest.approx(shares)
        pauses = found[found != WITH_IT]
        # From an eighth of a service to sixteen, and in each of seven octaves as many, but for one at either end.
        assert np.histogram(pauses, 125e3 * 2.0 ** np.arange(8))[0] == pytest.approx([40 / 7] * 7, abs=2.0)
        # Long ones come in any order and in both halves.
        assert list(pauses) != sorted(pauses) and all(half.max() > 4e6 for half in halves)
    # However few there are, one comes after a pause.
    assert np.count_nonzero(np.array(pauses_ns([1, 1], 0, 1e6, random)) != WITH_IT) == 2
