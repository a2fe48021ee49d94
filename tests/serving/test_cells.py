"""Cells: one of them is the fleet divided, and together they get exactly the faults of the fleet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.serving.cells import one_cell
from sim.serving.faults import Change, DrawnFault, FaultPlan, plan_faults
from sim.spec.experiment import Experiment
from tests.harness import prepare_text

S = 10**9
LONG_NS = 2_000 * S
GPUS: dict[str, Any] = {
    "name": "gpus",
    "count": 8,
    "rack_size": 2,
    "devices": {"host": "cpu-broadwell", "gpu": "gpu-v100"},
}
CPUS: dict[str, Any] = {"name": "cpus", "count": 4, "devices": {"host": "cpu-broadwell"}}
CELLS = 4
"""Cell c has the nodes 2c and 2c + 1 of gpus, with devices 0 to 3, and node c of cpus, with device 4."""

FLEET_DEVICES = [[4 * cell, 4 * cell + 1, 4 * cell + 2, 4 * cell + 3, 16 + cell] for cell in range(CELLS)]

ENTRIES: list[dict[str, Any]] = [
    {"crashes": [{"at": "3s", "for": "2s"}]},
    {"crashes": [{"at": "3s", "group": "gpus", "nodes": [6, 1, 0], "device": "gpu"}]},
    {"crashes": [{"at": "3s", "group": "gpus", "nodes": "20%"}, {"at": "1s", "group": "cpus", "nodes": [3]}]},
    {"crashes": [{"at": "3s", "group": "gpus", "racks": [0, 3]}]},
    {"slow": [{"at": "3s", "for": "9s", "factor": 2.5, "group": "gpus", "nodes": [2, 5]}]},
    {"slow": [{"each": "device", "mtbf": "90s", "mttr": "20s", "factor": 3}]},
    {"lifetimes": [{"each": "device", "device": "gpu", "mtbf": "50s", "mttr": "20s", "shape": 2}]},
    {"lifetimes": [{"each": "node", "mtbf": "50s", "mttr": "20s"}, {"each": "node", "mtbf": "90s", "mttr": "20s"}]},
    {"lifetimes": [{"each": "rack", "group": "gpus", "mtbf": "50s", "mttr": "20s", "repair": "fixed"}]},
    {"maintenance": [{"at": "7s", "at_once": 3, "drain": "1s", "down": "5s"}]},
    {"maintenance": [{"at": "7s", "group": "gpus", "nodes": [7, 0, 4], "drain": "1s", "down": "5s"}]},
]


def experiment(cells: int, faults: dict[str, Any]) -> Experiment:
    return Experiment.model_validate(
        {
            "name": "t",
            "model": "dlrm-kaggle",
            "sla": "10ms",
            "workload": {"arrivals": {"kind": "poisson", "rate": "1/s"}, "duration": "1000s"},
            "fleet": [GPUS, CPUS],
            "cells": cells,
            "faults": faults,
        }
    )


def plan(cells: int, cell: int, faults: dict[str, Any]) -> FaultPlan:
    planned = plan_faults(experiment(cells, faults), cell)
    assert planned is not None
    return planned


def rows(planned: FaultPlan, numbers: list[int] | None = None) -> list[tuple[int, int, Change, float]]:
    """Return the rows of a schedule, devices by their `numbers`."""
    schedule = planned.schedule(3, 1, LONG_NS)
    device = schedule.device if numbers is None else np.array(numbers)[schedule.device]
    columns = (schedule.time_ns, device, schedule.change, schedule.factor)
    return [(time, dev, Change(change), factor) for time, dev, change, factor in zip(*columns, strict=True)]


@pytest.mark.parametrize("faults", ENTRIES)
def test_the_cells_together_get_the_faults_of_the_fleet(faults: dict[str, Any]) -> None:
    whole = rows(plan(1, 0, faults))
    assert whole
    parts = [rows(plan(CELLS, cell, faults), FLEET_DEVICES[cell]) for cell in range(CELLS)]
    # Rows of one device stand in the order in which they happen to it, in the cell as in the fleet.
    for cell, part in enumerate(parts):
        assert part == [row for row in whole if row[1] in FLEET_DEVICES[cell]]
    assert sum(map(len, parts)) == len(whole)


def test_everything_at_once_keeps_its_order() -> None:
    faults: dict[str, Any] = {}
    for entry in ENTRIES:
        for key, listed in entry.items():
            faults[key] = [*faults.get(key, []), *listed]
    whole = rows(plan(1, 0, faults))
    for cells in (2, CELLS):
        for cell in range(cells):
            numbers = [
                device for part in FLEET_DEVICES[cell * CELLS // cells : (cell + 1) * CELLS // cells] for device in part
            ]
            numbers.sort()
            assert rows(plan(cells, cell, faults), numbers) == [row for row in whole if row[1] in numbers]


def test_other_cells_are_not_drawn() -> None:
    entry = plan(CELLS, 2, {"lifetimes": [{"each": "node", "mtbf": "50s", "mttr": "20s"}]}).entries[0]
    assert isinstance(entry, DrawnFault)
    assert [one.name for one in entry.components] == ["gpus/4", "gpus/5", "cpus/2"]
    assert [one.devices.tolist() for one in entry.components] == [[0, 1], [2, 3], [4]]


def test_each_cell_fails_as_one_by_a_stream_of_its_own() -> None:
    faults = {"lifetimes": [{"each": "cell", "mtbf": "50s", "mttr": "20s"}]}
    named = []
    for cell in range(CELLS):
        (entry,) = plan(CELLS, cell, faults).entries
        assert isinstance(entry, DrawnFault)
        named += [(one.name, one.devices.tolist()) for one in entry.components]
    assert named == [(f"cell{cell}", [0, 1, 2, 3, 4]) for cell in range(CELLS)]
    assert len({rows(plan(CELLS, cell, faults))[0][0] for cell in range(CELLS)}) == CELLS


def test_the_system_is_that_of_one_cell(tmp_path: Path) -> None:
    text = """\
name: t
model: {name: m, representations: {table: {accuracy: {value: 90%, evidence: assumed}}}}
sla: 10ms
cells: CELLS
workload: {arrivals: {kind: poisson, rate: RATE/s}, sizes: {kind: fixed, size: 100}, duration: 2s}
fleet:
  - {name: a, count: COUNT, devices: {d: {kind: cpu, lanes: 2, service: {distribution: deterministic, mean: 1ms}}}}
autoscaling: [{group: a, measure: utilisation, target: 50%, every: 1s, min: LEAST, max: COUNT}]
"""

    def prepared(cells: int, rate: int, count: int, least: int) -> Any:
        filled = text
        for name, value in (("CELLS", cells), ("RATE", rate), ("COUNT", count), ("LEAST", least)):
            filled = filled.replace(name, str(value))
        (scenario,) = prepare_text(tmp_path, filled)
        return scenario

    several, one = prepared(5, 5_000, 20, 10), prepared(1, 1_000, 4, 2)
    assert several.offered_load == one.offered_load == pytest.approx(1_000 * 1e-3 / 8)
    assert several.expected_queries == 10_000 and several.expected_queries_per_cell == one.expected_queries == 2_000
    assert several.system.scaling == one.system.scaling
    for name in ("node_group", "node_device", "device_lane", "node_path", "late_lanes"):
        assert np.array_equal(getattr(several.system, name), getattr(one.system, name))
    assert np.array_equal(several.view.device_kind, one.view.device_kind)


def test_one_cell_of_one_is_the_experiment() -> None:
    whole = experiment(1, ENTRIES[0])
    assert one_cell(whole) is whole
    part = one_cell(experiment(CELLS, ENTRIES[0]))
    assert [group.count for group in part.fleet] == [2, 1] and part.cells == 1
