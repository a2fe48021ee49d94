"""The schedule of faults: exact rows for every kind of entry, laws of drawn ones, and what must not shift a draw."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.serving.components import DeviceNumbers
from sim.serving.faults import Change, DrawnFault, FaultPlan, FaultSchedule, plan_faults
from sim.spec.experiment import Experiment
from sim.workload.streams import open_stream
from tests.harness import prepare_text

S = 10**9
LONG_NS = 10_000 * S
DOWN, UP, SLOW, NORMAL, CLOSE, OPEN = Change

GPUS: dict[str, Any] = {
    "name": "gpus",
    "count": 5,
    "rack_size": 2,
    "devices": {"host": "cpu-broadwell", "gpu": "gpu-v100"},
}
CPUS: dict[str, Any] = {"name": "cpus", "count": 3, "devices": {"host": "cpu-broadwell"}}
"""Node n of gpus holds devices 2n (host) and 2n + 1 (gpu), node n of cpus device 10 + n."""

Row = tuple[float, int, Change]


def experiment(fleet: list[dict[str, Any]], **faults: Any) -> Experiment:
    return Experiment.model_validate(
        {
            "name": "t",
            "model": "dlrm-kaggle",
            "sla": "10ms",
            "workload": {"arrivals": {"kind": "poisson", "rate": "1/s"}, "duration": "10000s"},
            "fleet": fleet,
            "faults": faults,
        }
    )


def plan(fleet: list[dict[str, Any]] | None = None, **faults: Any) -> FaultPlan:
    planned = plan_faults(experiment([GPUS, CPUS] if fleet is None else fleet, **faults))
    assert planned is not None
    return planned


def rows(schedule: FaultSchedule) -> list[Row]:
    """Return the schedule as (time in s, device, change)."""
    return [
        (time / S, device, Change(change))
        for time, device, change in zip(
            schedule.time_ns.tolist(), schedule.device.tolist(), schedule.change.tolist(), strict=True
        )
    ]


def drawn(fleet: list[dict[str, Any]] | None = None, **faults: Any) -> list[Row]:
    return rows(plan(fleet, **faults).schedule(1, 0, LONG_NS))


def same(changes: list[tuple[float, Change]], devices: list[int]) -> list[Row]:
    return [(time, device, change) for time, change in changes for device in devices]


# -- which devices --------------------------------------------------------------------------------------

TARGETS: list[tuple[dict[str, Any], list[int]]] = [
    ({}, list(range(13))),
    ({"device": "gpu"}, [1, 3, 5, 7, 9]),
    ({"device": "host"}, [0, 2, 4, 6, 8, 10, 11, 12]),
    ({"group": "gpus"}, list(range(10))),
    ({"group": "cpus"}, [10, 11, 12]),
    ({"group": "cpus", "device": "host"}, [10, 11, 12]),
    ({"group": "gpus", "nodes": [4, 1]}, [2, 3, 8, 9]),
    ({"group": "gpus", "nodes": [4, 1], "device": "gpu"}, [3, 9]),
    ({"group": "gpus", "nodes": "20%"}, [0, 1]),
    ({"group": "gpus", "nodes": "21%"}, [0, 1, 2, 3]),
    ({"group": "gpus", "nodes": "100%"}, list(range(10))),
    ({"group": "cpus", "nodes": 0.5}, [10, 11]),
    ({"group": "gpus", "racks": [0]}, [0, 1, 2, 3]),
    ({"group": "gpus", "racks": [2, 0]}, [0, 1, 2, 3, 8, 9]),
    ({"group": "gpus", "racks": [1, 2], "device": "host"}, [4, 6, 8]),
]


@pytest.mark.parametrize(("where", "devices"), TARGETS)
def test_a_crash_takes_exactly_the_named_devices_down(where: dict[str, Any], devices: list[int]) -> None:
    assert drawn(crashes=[{"at": "3s", "for": "2s", **where}]) == same([(3, DOWN), (5, UP)], devices)


@pytest.mark.parametrize(("where", "devices"), TARGETS)
def test_a_slow_spell_slows_exactly_the_named_devices(where: dict[str, Any], devices: list[int]) -> None:
    schedule = plan(slow=[{"at": "3s", "for": "2s", "factor": 2.5, **where}]).schedule(1, 0, LONG_NS)
    assert rows(schedule) == same([(3, SLOW), (5, NORMAL)], devices)
    assert np.all(schedule.factor == 2.5)


@pytest.mark.parametrize(("share", "count", "nodes"), [("7%", 100, 7), ("29%", 100, 29), ("0.1%", 8, 1)])
def test_a_share_is_rounded_up_by_its_decimals(share: str, count: int, nodes: int) -> None:
    """In binary 0.07 x 100 is more than 7, and 0.29 x 100 less than 29."""
    changes = drawn([{**CPUS, "count": count}], crashes=[{"at": "1s", "group": "cpus", "nodes": share}])
    assert [device for _, device, _ in changes] == list(range(nodes))


def test_devices_are_numbered_as_in_the_system(tmp_path: Path) -> None:
    (scenario,) = prepare_text(
        tmp_path,
        "name: t\nmodel: dlrm-kaggle\nsla: 10ms\n"
        "workload: {arrivals: {kind: poisson, rate: 1/s}, duration: 1s}\n"
        "fleet:\n"
        "  - {name: a, count: 3, devices: {host: cpu-broadwell, gpu: gpu-v100}}\n"
        "  - {name: b, count: 2, devices: {host: cpu-broadwell}}\n"
        "faults: {lifetimes: [{each: node, mtbf: 1s, mttr: 1s}]}\n",
    )
    faults = scenario.fault_plan()
    assert faults is not None
    (entry,) = faults.entries
    starts = scenario.system.node_device
    assert isinstance(entry, DrawnFault)
    components = entry.components
    assert [component.name for component in components] == ["a/0", "a/1", "a/2", "b/0", "b/1"]
    assert [component.devices.tolist() for component in components] == [
        list(range(starts[n], starts[n + 1])) for n in range(5)
    ]


@pytest.mark.parametrize(
    ("spec", "components"),
    [
        ({"each": "cell"}, {"cell": list(range(13))}),
        (
            {"each": "rack", "group": "gpus"},
            {"gpus/rack0": [0, 1, 2, 3], "gpus/rack1": [4, 5, 6, 7], "gpus/rack2": [8, 9]},
        ),
        ({"each": "node", "group": "cpus"}, {"cpus/0": [10], "cpus/1": [11], "cpus/2": [12]}),
        ({"each": "node", "group": "gpus"}, {f"gpus/{n}": [2 * n, 2 * n + 1] for n in range(5)}),
        ({"each": "device", "group": "gpus", "device": "gpu"}, {f"gpus/{n}/gpu": [2 * n + 1] for n in range(5)}),
        (
            {"each": "device", "device": "host"},
            {**{f"gpus/{n}/host": [2 * n] for n in range(5)}, **{f"cpus/{n}/host": [10 + n] for n in range(3)}},
        ),
        (
            {"each": "device", "group": "gpus"},
            {f"gpus/{n}/{name}": [2 * n + slot] for n in range(5) for slot, name in enumerate(("host", "gpu"))},
        ),
    ],
)
def test_components_fail_as_one(spec: dict[str, Any], components: dict[str, list[int]]) -> None:
    described = experiment([GPUS, CPUS], lifetimes=[{"mtbf": "50s", "mttr": "5s", **spec}])
    assert described.faults is not None and described.faults.lifetimes is not None
    found = DeviceNumbers(described.fleet).components(described.faults.lifetimes[0])
    assert {component.name: component.devices.tolist() for component in found} == components
    by_device: dict[int, list[tuple[float, Change]]] = {}
    for time, device, change in drawn(lifetimes=[{"mtbf": "50s", "mttr": "5s", **spec}]):
        by_device.setdefault(device, []).append((time, change))
    histories = []
    for members in components.values():
        assert all(by_device[device] == by_device[members[0]] for device in members)
        histories.append(tuple(by_device[members[0]]))
    # No two components share their draws.
    assert len(set(histories)) == len(components)
    assert sorted(by_device) == sorted(device for members in components.values() for device in members)


# -- exact rows -----------------------------------------------------------------------------------------


def test_without_an_end_a_crash_lasts_to_the_end() -> None:
    assert drawn(crashes=[{"at": "0s", "group": "cpus", "nodes": [2]}]) == [(0, 12, DOWN)]
    schedule = plan(slow=[{"at": "1s", "group": "cpus", "nodes": [2], "factor": 4}]).schedule(1, 0, LONG_NS)
    assert rows(schedule) == [(1, 12, SLOW)] and schedule.factor.tolist() == [4.0]


def test_overlapping_faults_nest_and_factors_multiply() -> None:
    schedule = plan(
        crashes=[
            {"at": "1s", "for": "10s", "group": "gpus", "nodes": [0]},
            {"at": "2s", "for": "3s", "group": "gpus", "nodes": [0], "device": "gpu"},
            {"at": "11s", "for": "1s", "group": "gpus", "nodes": [0], "device": "gpu"},
        ],
        slow=[
            {"at": "3s", "for": "4s", "group": "gpus", "nodes": [0], "device": "gpu", "factor": 2},
            {"at": "4s", "for": "1s", "group": "gpus", "nodes": [0], "device": "gpu", "factor": 3},
        ],
    ).schedule(1, 0, LONG_NS)
    of_gpu = [
        (time, change, factor)
        for (time, device, change), factor in zip(rows(schedule), schedule.factor.tolist(), strict=True)
        if device == 1
    ]
    assert of_gpu == [
        (1, DOWN, 1.0),
        (2, DOWN, 1.0),
        (3, SLOW, 2.0),
        (4, SLOW, 3.0),
        (5, UP, 1.0),
        (5, NORMAL, 3.0),
        (7, NORMAL, 2.0),
        (11, UP, 1.0),
        (11, DOWN, 1.0),
        (12, UP, 1.0),
    ]
    assert [(time, change) for time, device, change in rows(schedule) if device == 0] == [(1, DOWN), (11, UP)]


def test_rows_of_one_time_go_by_entry_and_then_by_device() -> None:
    schedule = drawn(
        maintenance=[{"at": "1s", "group": "gpus", "nodes": [0], "drain": "0s", "down": "9s"}],
        slow=[{"at": "1s", "group": "gpus", "nodes": [0], "factor": 2}],
        crashes=[
            {"at": "1s", "group": "gpus", "nodes": [2], "device": "host"},
            {"at": "1s", "group": "gpus", "nodes": [1, 0], "device": "host"},
        ],
    )
    assert schedule[:7] == [
        (1, 4, DOWN),
        (1, 0, DOWN),
        (1, 2, DOWN),
        (1, 0, SLOW),
        (1, 1, SLOW),
        (1, 0, CLOSE),
        (1, 0, DOWN),
    ]


def test_maintenance_rolls_over_the_nodes_some_at_a_time() -> None:
    """Five nodes, two at once: the last batch has one. The next is closed when this one is back."""
    assert drawn(
        maintenance=[{"at": "10s", "group": "gpus", "at_once": 2, "drain": "5s", "down": "20s"}],
    ) == [
        *same([(10, CLOSE), (15, DOWN)], [0, 1, 2, 3]),
        *((35, device, change) for device in (0, 1, 2, 3) for change in (UP, OPEN)),
        *same([(35, CLOSE), (40, DOWN)], [4, 5, 6, 7]),
        *((60, device, change) for device in (4, 5, 6, 7) for change in (UP, OPEN)),
        *same([(60, CLOSE), (65, DOWN)], [8, 9]),
        *((85, device, change) for device in (8, 9) for change in (UP, OPEN)),
    ]


@pytest.mark.parametrize(
    ("where", "order"),
    [
        ({"group": "gpus", "nodes": [4, 1]}, [[2, 3], [8, 9]]),
        ({"group": "gpus", "nodes": "30%"}, [[0, 1], [2, 3]]),
        ({"group": "gpus", "racks": [1, 2]}, [[4, 5], [6, 7], [8, 9]]),
        ({}, [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10], [11], [12]]),
    ],
)
def test_maintenance_goes_in_the_order_of_the_fleet(where: dict[str, Any], order: list[list[int]]) -> None:
    changes = drawn(maintenance=[{"at": "0s", "drain": "1s", "down": "1s", **where}])
    closed = [(time, device) for time, device, change in changes if change == CLOSE]
    assert closed == [(2.0 * batch, device) for batch, devices in enumerate(order) for device in devices]


def test_what_comes_after_the_end_is_left_out() -> None:
    planned = plan(
        crashes=[{"at": "1s", "for": "9s", "group": "cpus", "nodes": [0]}],
        maintenance=[{"at": "2s", "group": "cpus", "drain": "1s", "down": "3s"}],
        lifetimes=[{"each": "node", "group": "cpus", "mtbf": "2s", "mttr": "1s"}],
    )
    whole = rows(planned.schedule(1, 0, 1_000 * S))
    for until_ns in (0, S, 5 * S, 6 * S - 1, 6 * S, 40 * S):
        expected = [row for row in whole if row[0] * S <= until_ns]
        assert rows(planned.schedule(1, 0, until_ns)) == expected
    assert (6, 10, OPEN) in rows(planned.schedule(1, 0, 6 * S))
    assert (6, 10, OPEN) not in rows(planned.schedule(1, 0, 6 * S - 1))


def test_times_that_do_not_fit_into_64_bits_are_only_late() -> None:
    century = f"{2**62}ns"
    assert drawn(
        crashes=[{"at": "1s", "for": century, "group": "cpus", "nodes": [0]}],
        maintenance=[{"at": "2s", "group": "cpus", "nodes": [1], "drain": century, "down": century}],
    ) == [(1, 10, DOWN), (2, 11, CLOSE)]


def test_where_nothing_happens_in_time_the_schedule_is_empty() -> None:
    empty = FaultSchedule.empty()
    schedule = plan(crashes=[{"at": "2s"}], lifetimes=[{"each": "cell", "mtbf": "9d", "mttr": "1s"}]).schedule(1, 0, S)
    for name in ("time_ns", "device", "change", "factor"):
        assert len(getattr(empty, name)) == len(getattr(schedule, name)) == 0
        full = getattr(plan(crashes=[{"at": "2s"}]).schedule(1, 0, LONG_NS), name)
        assert getattr(empty, name).dtype == getattr(schedule, name).dtype == full.dtype


def test_no_faults_no_plan() -> None:
    described = experiment([CPUS], crashes=[{"at": "1s"}])
    assert plan_faults(described) is not None
    assert plan_faults(described.model_copy(update={"faults": None})) is None


# -- draws ----------------------------------------------------------------------------------------------

NODES = {"each": "node", "group": "gpus", "mtbf": "20s", "mttr": "5s"}
DEVICES = {"each": "device", "mtbf": "30s", "mttr": "5s", "repair": "fixed"}
SPELLS = {"each": "node", "group": "gpus", "mtbf": "10s", "mttr": "5s", "factor": 4}


def equal(a: FaultSchedule, b: FaultSchedule) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("time_ns", "device", "change", "factor"))


def test_the_same_seed_and_replication_give_the_same_schedule_in_any_process() -> None:
    planned = plan(lifetimes=[NODES, DEVICES], slow=[SPELLS])
    first = planned.schedule(7, 3, LONG_NS)
    assert len(first.time_ns) > 1_000
    assert equal(first, planned.schedule(7, 3, LONG_NS))
    assert equal(first, pickle.loads(pickle.dumps(planned)).schedule(7, 3, LONG_NS))
    assert not equal(first, planned.schedule(7, 4, LONG_NS))
    assert not equal(first, planned.schedule(8, 3, LONG_NS))


def test_other_entries_shift_no_draw() -> None:
    alone = drawn(lifetimes=[NODES])
    more = drawn(
        lifetimes=[NODES, DEVICES],
        slow=[SPELLS],
        crashes=[{"at": "1s", "for": "1s"}],
        maintenance=[{"at": "1s", "drain": "1s", "down": "1s"}],
    )
    assert set(alone) < set(more)
    # The second of two equal entries has draws of its own.
    twice = set(drawn(lifetimes=[NODES, NODES]))
    assert set(alone) < twice and len(twice) > 1.5 * len(alone)
    spells = drawn(slow=[SPELLS])
    assert [row for row in more if row[2] in (SLOW, NORMAL)] == spells


def test_failures_and_slow_spells_of_one_law_are_drawn_apart() -> None:
    changes = drawn(lifetimes=[NODES], slow=[{**NODES, "factor": 2}])
    failures = {(time, device) for time, device, change in changes if change in (DOWN, UP)}
    spells = {(time, device) for time, device, change in changes if change in (SLOW, NORMAL)}
    assert len(failures) > 1_000 and len(spells) > 1_000 and failures.isdisjoint(spells)


@pytest.mark.parametrize(
    ("faults", "stream", "device"),
    [
        ({"lifetimes": [DEVICES, NODES]}, "fault.lifetimes.1.gpus/3", 6),
        ({"lifetimes": [{**DEVICES, "repair": "exponential"}]}, "fault.lifetimes.0.gpus/3/gpu", 7),
        ({"lifetimes": [{**NODES, "each": "rack"}]}, "fault.lifetimes.0.gpus/rack1", 6),
        ({"lifetimes": [{"each": "cell", "mtbf": "9s", "mttr": "5s"}]}, "fault.lifetimes.0.cell", 6),
        ({"slow": [{"at": "1s", "factor": 2}, SPELLS]}, "fault.slow.1.gpus/3", 6),
    ],
)
def test_names_of_streams_are_pinned(faults: dict[str, Any], stream: str, device: int) -> None:
    """A change of these names changes every result ever published with a seed and drawn faults."""
    ((_, entries),) = faults.items()
    mtbf_s = float(entries[-1]["mtbf"].removesuffix("s"))
    (u,) = open_stream(2, stream, 5).uniforms(1).tolist()
    expected_s = -math.log1p(-u) * mtbf_s
    of_device = [time for time, d, _ in rows(plan(**faults).schedule(2, 5, LONG_NS)) if d == device]
    assert min(abs(time - expected_s) for time in of_device) < 2e-9


def test_more_nodes_or_groups_shift_no_draw() -> None:
    alone = drawn([GPUS], lifetimes=[NODES])
    assert drawn([GPUS, CPUS], lifetimes=[NODES]) == alone
    more = drawn([{**GPUS, "count": 9}], lifetimes=[NODES])
    assert [row for row in more if row[1] < 10] == alone and len(more) > len(alone)
    # A group before it moves the devices' numbers, and nothing else.
    behind = drawn([CPUS, GPUS], lifetimes=[NODES])
    assert behind == [(time, device + 3, change) for time, device, change in alone]


def test_changes_of_a_device_pair_up() -> None:
    schedule = plan(
        lifetimes=[NODES, DEVICES, {"each": "cell", "mtbf": "100s", "mttr": "10s"}],
        slow=[SPELLS],
        crashes=[{"at": "5s", "for": "50s"}],
        maintenance=[{"at": "1s", "at_once": 3, "drain": "2s", "down": "4s"}],
    ).schedule(1, 0, LONG_NS)
    assert np.all(np.diff(schedule.time_ns) >= 0)
    assert np.all(schedule.factor[np.isin(schedule.change, (SLOW, NORMAL))] == 4.0)
    assert np.all(schedule.factor[~np.isin(schedule.change, (SLOW, NORMAL))] == 1.0)
    deepest = 0
    for device in range(13):
        change = schedule.change[schedule.device == device]
        for begin, end in ((DOWN, UP), (SLOW, NORMAL), (CLOSE, OPEN)):
            depth = np.cumsum((change == begin).astype(int) - (change == end).astype(int))
            assert depth.min() >= 0
            deepest = max(deepest, int(depth.max()))
    assert deepest >= 3  # The node, the device and the cell were down together.


def up_at(schedule: FaultSchedule, time_ns: int, devices: int) -> np.ndarray:
    past = schedule.time_ns <= time_ns
    step = np.where(schedule.change == DOWN, 1.0, -1.0)
    return np.bincount(schedule.device[past], weights=step[past], minlength=devices) == 0


def test_the_share_of_components_that_are_up_is_the_transient_availability() -> None:
    """A(t) = A + (1 - A) exp(-(1/mtbf + 1/mttr) t), all up at 0; five standard errors of a binomial share."""
    n, mtbf, mttr = 8_000, 40.0, 10.0
    schedule = plan(
        [{**CPUS, "count": n}], lifetimes=[{"each": "node", "mtbf": f"{mtbf}s", "mttr": f"{mttr}s"}]
    ).schedule(11, 0, 200 * S)
    steady = mtbf / (mtbf + mttr)
    for t in (1, 4, 8, 16, 200):
        expected = steady + (1 - steady) * math.exp(-(1 / mtbf + 1 / mttr) * t)
        share = float(up_at(schedule, t * S, n).mean())
        assert abs(share - expected) < 5 * math.sqrt(expected * (1 - expected) / n), t


@pytest.mark.parametrize("shape", [0.8, 1.5, 3.0])
def test_the_long_run_availability_is_mtbf_over_mtbf_plus_mttr_whatever_the_shape(shape: float) -> None:
    """Five standard errors of the mean over independent components, taken from their own spread."""
    n, mtbf, mttr = 400, 40.0, 10.0
    until_ns = 20_000 * S
    schedule = plan(
        [{**CPUS, "count": n}],
        lifetimes=[{"each": "node", "mtbf": f"{mtbf}s", "mttr": f"{mttr}s", "shape": shape, "repair": "fixed"}],
    ).schedule(11, 0, until_ns)
    # Time down is the number of whole repairs times mttr, and what is left of one that the end cuts.
    down = np.zeros(n)
    np.add.at(down, schedule.device[schedule.change == UP], schedule.time_ns[schedule.change == UP])
    np.subtract.at(down, schedule.device[schedule.change == DOWN], schedule.time_ns[schedule.change == DOWN])
    down += ~up_at(schedule, until_ns, n) * until_ns
    share = 1 - down / until_ns
    # Renewal theory: a start from new shifts the mean by at most about one cycle over the whole time.
    bias = (mtbf + mttr) * S / until_ns
    assert abs(share.mean() - mtbf / (mtbf + mttr)) < 5 * share.std(ddof=1) / math.sqrt(n) + bias
