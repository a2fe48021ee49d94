"""What scaling, faults and attempts cost, in runs whose logs are worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.stats.measure import Measurement, measure
from sim.study.replication import run_record
from tests.harness import prepare_text, write_trace

TEXT = """
name: hand-worked
model: {representations: {table: {accuracy: {value: 80%, evidence: assumed}}}}
sla: 1ms
workload:
  arrivals: {kind: trace, file: arrivals.csv, unit: us}
  sizes: {kind: fixed, size: 1}
  queries: QUERIES
  warmup: 0s
fleet:
  - name: n
    count: 3
    devices:
      d: {kind: cpu, price: 36USD/h, power: {idle: 10W, busy: 30W}, service: {distribution: deterministic, mean: 10us}}
router: {kind: round-robin}
replications: 1
"""


def measured(folder: Path, arrivals_us: list[float], more: str) -> Measurement:
    write_trace(folder, arrivals_us)
    (scenario,) = prepare_text(folder, TEXT.replace("QUERIES", str(len(arrivals_us))) + more)
    (measurement,) = measure(run_record(scenario, 0), scenario.view, [0])
    return measurement


def test_nodes_that_are_off_cost_nothing(tmp_path: Path) -> None:
    rule = "{group: n, measure: backlog, target: 1, every: 15us, provisioning: 4us}"
    found = measured(tmp_path, [0, 1, 2, 40], f"autoscaling: [{rule}]")
    # Over the 40 us of arrivals the first node is on for 40, the second from 15 on, the third from 15 to 30, see
    # tests/engine/test_scaling_logs.py; the only lane that is busy is the first node's, for 30.
    assert found.metrics["nodes_on"] == (40 + 25 + 15) / 40
    assert found.utilisation == {"d": 30 / 80}
    million_correct = 3 * 0.8 / 1e6
    assert found.metrics["cost_per_million_correct"] == pytest.approx(36 / 3.6e9 * 80 / million_correct, rel=1e-12)
    energy_j = (10 * 80 + 20 * 30) * 1e-6
    assert found.metrics["energy_j_per_million_correct"] == pytest.approx(energy_j / million_correct, rel=1e-12)


def test_a_node_that_is_down_is_paid_for(tmp_path: Path) -> None:
    crash = "faults: {crashes: [{at: 10us, for: 20us, group: n, nodes: [1]}]}"
    found = measured(tmp_path, [0, 5, 40], crash)
    # The second node is down for half of the 40 us and cuts its query off after 5 of its 10 us.
    assert found.metrics["availability"] == pytest.approx(1 - 20 / 120, rel=1e-12)
    assert found.utilisation == {"d": pytest.approx(15 / 120, rel=1e-12)}
    assert found.metrics["cost_per_million_correct"] == pytest.approx(36 / 3.6e9 * 120 / (0.8 / 1e6), rel=1e-12)


def test_attempts_and_the_work_that_no_answer_came_of(tmp_path: Path) -> None:
    found = measured(tmp_path, [0, 1, 40], "hedging: {after: 4us, cancel: none}")
    # Queries 0 and 1 are copied at 4 and 5 to other nodes, which serve the copies for 10 us each for nothing. Query 2
    # arrives with the end.
    assert found.metrics["attempts_per_query"] == pytest.approx(6 / 3)
    assert found.metrics["hedges_per_query"] == pytest.approx(3 / 3)
    assert found.metrics["retries_per_query"] == 0.0
    assert found.metrics["wasted_work"] == pytest.approx(20 / 40)
