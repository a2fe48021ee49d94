"""The system that every contender models: CPU-GPU nodes, MP-Rec over six paths, power of two choices."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sim.profile.service import ServiceTable
from sim.serving.faults import FaultSchedule
from sim.study.planning import plan_scenario
from sim.study.prepare import PreparedScenario, prepare
from sim.study.scenario import Scenario, load_scenarios
from sim.workload.draw import QueryStream

__all__ = [
    "DEVICES",
    "PathTable",
    "Subject",
    "experiment_text",
    "faults",
    "path_tables",
    "queries_of",
    "stream",
    "subject",
]

DEVICES = 2
"""Servers of a node: a CPU and a GPU, of one lane each."""

RATE_PER_NODE = 1000
"""Queries per second and node."""

EXPERIMENT = """
name: benchmark
model: dlrm-kaggle
sla: 10ms
workload:
  arrivals: {{kind: poisson, rate: {rate}/s}}
  sizes: {{kind: lognormal, mean: 128, sigma: 1.0, max: 4096}}
  queries: {queries}
  warmup: 0s
  drain: 10h
fleet: [{{name: n, count: {nodes}, devices: {{cpu: cpu-broadwell, gpu: gpu-v100}}}}]
mapping: {{kind: explicit, devices: {{cpu: [hybrid, dhe, table], gpu: [hybrid, dhe, table]}}}}
policy: {{kind: mp-rec}}
router: {{kind: power-of-d, d: 2, measure: queries}}
replications: 1
seed: 1
"""


@dataclass(frozen=True, slots=True)
class Subject:
    """A scenario, as it is described and as it is laid out for the engines."""

    described: Scenario
    prepared: PreparedScenario

    @property
    def nodes(self) -> int:
        return len(self.prepared.system.node_group)


@dataclass(frozen=True, slots=True)
class PathTable:
    """What a hand-written model knows of a path: its device on the node, its accuracy, its service times by size."""

    device: int
    accuracy: float
    sizes: list[float]
    times_ns: list[float]


def experiment_text(servers: int, queries: int) -> str:
    """Return the experiment on `servers` devices."""
    if servers < DEVICES or servers % DEVICES:
        raise ValueError(f"{servers} servers are no whole number of nodes of {DEVICES}")
    nodes = servers // DEVICES
    return EXPERIMENT.format(rate=RATE_PER_NODE * nodes, nodes=nodes, queries=queries)


def subject(experiment: str) -> Subject:
    """Read and prepare the one scenario of an experiment given as YAML."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "benchmark.yaml"
        file.write_text(experiment, encoding="utf-8")
        scenarios = load_scenarios(str(file))
        (prepared,) = prepare(scenarios)
    return Subject(scenarios[0], prepared)


def stream(prepared: PreparedScenario) -> QueryStream:
    """Return the queries of replication 0."""
    return QueryStream(
        prepared.workload,
        prepared.seed,
        0,
        classes=prepared.classes,
        parts=prepared.parts,
        choices=prepared.choices,
        attempts=prepared.attempts,
        routers=prepared.system.routers,
        network=prepared.network,
        base_dir=prepared.base_dir,
    )


def faults(prepared: PreparedScenario) -> FaultSchedule | None:
    """Return what happens to the devices in replication 0, of a scenario that says how long it lasts."""
    plan = prepared.fault_plan(0)
    if plan is None:
        return None
    duration_ns = prepared.workload.duration
    assert duration_ns is not None
    return plan.schedule(prepared.seed, 0, duration_ns + prepared.drain_ns)


def queries_of(drawn: QueryStream) -> Iterator[tuple[int, int, list[float]]]:
    """Yield arrival, size and router draws of each query, for a model that takes them one by one."""
    for chunk in drawn.chunks():
        yield from zip(chunk.arrival_ns.tolist(), chunk.size.tolist(), chunk.router_u.tolist(), strict=True)


def path_tables(described: Scenario) -> list[PathTable]:
    """Return the paths of a node in the order in which the policy sees them."""
    tables = []
    for path in plan_scenario(described).eligible:
        assert isinstance(path.service, ServiceTable)
        tables.append(PathTable(path.slot, path.accuracy, path.service.sizes.tolist(), path.service.mean_ns.tolist()))
    return tables
