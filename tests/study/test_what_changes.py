"""Where fleet or mapping change with time, the run as it is written is what is asked about: no warm-up is cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.study.scenario import load_scenarios
from sim.study.study import Study

TEXT = """\
name: t
model: {name: m, representations: {table: {accuracy: {value: 90%, evidence: assumed}}}}
sla: 20ms
workload: {arrivals: {kind: poisson, rate: 1500/s}, sizes: {kind: fixed, size: 1}, duration: 4s}
fleet: [{name: a, count: 3, devices: {d: {kind: cpu, service: {distribution: exponential, mean: 1ms}}}}]
policy: {kind: static, representation: table, device: d}
router: {kind: least-backlog}
replications: 3
"""
CUT = "so there is no steady state to wait for: no warm-up is cut"


@pytest.mark.parametrize(
    ("more", "what", "least_p99_ms"),
    [
        ("", "", 0.0),
        ("faults: {crashes: [{at: 250ms, for: 500ms, group: a, nodes: [0, 1]}]}", "the fleet varies", 50.0),
        ("faults: {maintenance: [{at: 0s, drain: 50ms, down: 450ms}]}", "the fleet varies", 7.0),
        (
            "autoscaling: [{group: a, measure: utilisation, target: 60%, every: 250ms, provisioning: 250ms,"
            " initial: 1}]",
            "the fleet varies",
            50.0,
        ),
    ],
)
def test_outages_and_cold_starts_are_measured(more: str, what: str, least_p99_ms: float, tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(f"{TEXT}{more}\n")
    study = Study.of(load_scenarios(str(tmp_path / "e.yaml")))
    told = [line for line in study.assumptions if CUT in line]
    assert told == ([f"{what} with time, {CUT}"] if what else [])
    (summary,) = study.run().summaries
    assert summary.warmup.method == ("none" if what else "mser-5")
    if what:
        # Everything that arrives is measured: what there is of a second with fewer nodes is in the tail.
        assert summary.measured["offered"] == summary.counts["offered"]
        p99 = summary.metrics["latency_ms_p99"].value
        assert p99 is not None and p99 > least_p99_ms
