"""Runs a scenario given as YAML text and returns its record: the whole chain but the command line."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from sim.engine.engines import Engine
from sim.engine.record import RunRecord
from sim.serving.faults import FaultSchedule
from sim.study import replication as replications
from sim.study.prepare import PreparedScenario, prepare
from sim.study.scenario import load_scenarios

ENGINE = ContextVar("engine", default=Engine.REFERENCE)
"""The engine that the tests run on, see `tests.conftest`."""


ONE_LANE = """\
name: t
model: {name: m, representations: {table: {accuracy: {value: 90%, evidence: assumed}}}}
sla: 10ms
workload:
  arrivals: {kind: poisson, rate: 100/s}
  sizes: {kind: fixed, size: 1}
  queries: 300
fleet:
  - name: n
    devices:
      d: {kind: cpu, lanes: 1, service: {distribution: exponential, mean: 1ms}}
replications: 4
"""
"""An experiment that is done in no time."""


def write_trace(folder: Path, stamps_us: list[float], name: str = "arrivals.csv") -> Path:
    """Write arrival times in microseconds to a trace file."""
    file = folder / name
    file.write_text("time\n" + "".join(f"{stamp}\n" for stamp in stamps_us))
    return file


def prepare_text(folder: Path, text: str) -> list[PreparedScenario]:
    file = folder / "experiment.yaml"
    file.write_text(text)
    return list(prepare(load_scenarios(str(file))))


def run_record(scenario: PreparedScenario, replication: int, cell: int = 0, engine: Engine | None = None) -> RunRecord:
    """What `sim.study.replication.run_record` returns, by default on the engine that the test runs on."""
    return replications.run_record(scenario, replication, cell, ENGINE.get() if engine is None else engine)


def run_text(folder: Path, text: str, replication: int = 0) -> RunRecord:
    (scenario,) = prepare_text(folder, text)
    return run_record(scenario, replication)


def faults_of(scenario: PreparedScenario, replication: int, cell: int = 0) -> FaultSchedule | None:
    """What happens to the devices of a cell in one replication, as it is drawn before the run."""
    return replications.fault_schedule(scenario, replication, cell)


def differences(one: RunRecord, other: RunRecord) -> list[str]:
    """The fields that are not the same, to the bit and the type."""

    def same(a: Any, b: Any) -> bool:
        if isinstance(a, np.ndarray):
            return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)
        return type(a) is type(b) and a == b

    names = [column.name for column in fields(RunRecord)]
    return [name for name in names if not same(getattr(one, name), getattr(other, name))]
