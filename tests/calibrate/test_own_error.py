"""The error of a prediction that comes from its calibration: by hand, and against what calibrations differ by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from sim.calibrate.observe.calibration import CalibrationBlock
from sim.calibrate.observe.layout import real_devices
from sim.calibrate.observe.own_error import GROUPS, OwnError, own_error
from sim.calibrate.observe.profile import device_override, fit_device
from sim.calibrate.observe.summary import summarised
from sim.engine.engines import Engine, run_engine
from sim.study.variation import LaidOut, Variable

EXPERIMENT = """\
name: one server
model: {name: m, representations: {table: {accuracy: {value: 70%, evidence: assumed}}}}
sla: 20ms
workload:
  arrivals: {kind: poisson, rate: 1400/s}
  sizes: {kind: quantiles, values: [1, 8, 32]}
  queries: 400
  warmup: 10ms
fleet:
  - name: n
    devices: {cpu: {profile: {kind: cpu, service: {m: {table: {distribution: exponential, mean: 1ms}}}}}}
policy: {kind: static, representation: table, device: cpu}
replications: 6
sweep: {workload.arrivals.rate: [700/s, 1400/s]}
"""
SIZES = (1, 8, 32)


class Planted:
    """A server whose speed differs from block to block of calibration, and what it would be predicted to do."""

    def __init__(self, folder: Path) -> None:
        file = folder / "one.yaml"
        file.write_text(EXPERIMENT)
        self.variable = Variable(str(file))
        self.first = self.variable.lay_out()[0]
        (self.device,) = real_devices(self.first)

    def blocks(self, seed: int, *, count: int = 32, spread: float = 0.05) -> list[CalibrationBlock]:
        random = np.random.default_rng(seed)
        found = []
        for _ in range(count):
            speed = 1.0 + spread * random.standard_normal()
            times = {
                (0, size, idle): np.rint(1e3 * (400 + 8 * size) * speed * (1 + 0.2 * np.linspace(-1, 1, 40))).astype(
                    int
                )
                for size in SIZES
                for idle in (False, True)
            }
            found.append(CalibrationBlock(times))
        return found

    def lay_out(self, blocks: Sequence[CalibrationBlock]) -> list[LaidOut]:
        fitted = fit_device(blocks, self.first, self.device, "cpu")
        return self.variable.lay_out([device_override(fitted, self.first, {"source": "planted"})])

    def own_error(self, blocks: Sequence[CalibrationBlock], *replications: Sequence[int]) -> OwnError | None:
        return own_error(blocks, self.lay_out, replications or [range(6)] * 2)

    def p95(self, blocks: Sequence[CalibrationBlock]) -> list[float]:
        found = []
        for one in self.lay_out(blocks):
            records = (
                (i, run_engine(Engine.REFERENCE, one.system, one.stream(i), drain_ns=one.drain_ns)) for i in range(6)
            )
            value = summarised(one, "measured", records).metrics["latency_ms_p95"].value
            assert value is not None
            found.append(value)
        return found


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> Planted:
    return Planted(tmp_path)


def test_it_is_what_predictions_of_several_calibrations_differ_by(server: Planted) -> None:
    predicted = np.array([server.p95(server.blocks(seed)) for seed in range(16)])
    differ = predicted.std(axis=0, ddof=1) / predicted.mean(axis=0)
    stated = np.zeros(2)
    seeds = (101, 102, 103)
    for seed in seeds:
        found = server.own_error(server.blocks(seed))
        assert found is not None and found.groups == GROUPS
        stated += np.array([one["latency_ms_p95"] for one in found.metrics]) / len(seeds)
        assert [list(one) for one in found.path_mix] == [["table@cpu"]] * 2
        assert all(error == 0.0 for one in found.path_mix for error in one.values())
    # The mean service is off by 0.05 / sqrt(32) = 0.9%; latency by as much without waiting, and by more with it.
    assert 0.009 < differ[0] < differ[1]
    # Both are known to about a sixth.
    assert np.all(np.abs(np.log(stated / differ)) < math.log(1.7)), (stated, differ)


def test_blocks_that_are_all_the_same_leave_no_error(server: Planted) -> None:
    found = server.own_error(server.blocks(1, spread=0.0))
    assert found is not None
    for one in found.metrics:
        assert one["latency_ms_p95"] == pytest.approx(0.0, abs=1e-12)


def test_what_cannot_be_told_is_left_out(server: Planted) -> None:
    assert server.own_error(server.blocks(1, count=2 * GROUPS - 1)) is None
    assert server.own_error(server.blocks(1), [], []) is None
    found = server.own_error(server.blocks(1, count=2 * GROUPS), [], [3])
    assert found is not None
    assert found.metrics[0] == {} and found.path_mix[0] == {}
    # One replication says as much of the calibration; of accuracy it changes nothing.
    assert found.metrics[1]["latency_ms_p95"] > 0.0
    assert found.metrics[1]["accuracy_served"] == 0.0
    assert found.to_json_dict()["scenarios"][0] == {"metrics": {}, "path_mix": {}}


def test_the_standard_error_of_a_mean_comes_out(server: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one query that finds the server idle latency is its service: predicted is the mean over the blocks."""
    monkeypatch.setattr(
        server, "variable", Variable(server.variable.reference, ("workload.queries=1", "workload.warmup=0s"))
    )
    blocks = server.blocks(5, count=24)
    found = server.own_error(blocks, [0], [0])
    assert found is not None
    means = np.array([block.mean_ns(0) for block in blocks])
    groups = np.array([np.delete(means, range(group, 24, GROUPS)).mean() for group in range(GROUPS)])
    expected = math.sqrt((GROUPS - 1) / GROUPS * np.sum((groups - groups.mean()) ** 2)) / groups.mean()
    # The service is drawn at one level of a distribution that every block has, but for its speed.
    assert found.metrics[1]["latency_ms_mean"] == pytest.approx(expected, rel=0.05)
    assert expected == pytest.approx(means.std(ddof=1) / means.mean() / math.sqrt(24), rel=0.5)
