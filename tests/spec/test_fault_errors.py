"""Faults that cannot be are told before anything runs, each at its place in the file."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from sim.spec.experiment import ExperimentFile
from sim.spec.problems import SpecError
from sim.spec.schema import json_schema
from sim.spec.source import parse_yaml
from sim.study.runs import resolved_experiment
from sim.study.scenario import load_scenarios
from tests.harness import prepare_text

LENGTH = "  duration: 100s\n"
GOOD = f"""\
name: t
model: dlrm-kaggle
sla: 100ms
workload:
  arrivals: {{kind: poisson, rate: 100/s}}
  sizes: {{kind: fixed, size: 400}}
{LENGTH}\
fleet:
  - {{name: gpus, count: 8, rack_size: 3, devices: {{host: cpu-broadwell, gpu: gpu-v100}}}}
  - {{name: cpus, count: 2, devices: {{host: cpu-broadwell}}}}
"""
EXAMPLE = """\
faults:
  crashes:
    - {at: 30s, for: 10s, group: gpus, nodes: 10%}
    - {at: 40s, group: gpus, nodes: [3, 7], device: gpu}
    - {at: 50s, for: 5s, group: gpus, racks: [0]}
    - {at: 60s, for: 1s}
  lifetimes:
    - {each: node, group: gpus, mtbf: 10min, mttr: 30s}
    - {each: device, group: gpus, device: gpu, mtbf: 1h, mttr: 5min, shape: 1.5, repair: fixed}
    - {each: rack, group: gpus, mtbf: 30d, mttr: 1h}
    - {each: cell, mtbf: 90d, mttr: 10min}
  slow:
    - {at: 10s, for: 20s, group: gpus, nodes: [0], factor: 3}
    - {each: node, group: gpus, mtbf: 1min, mttr: 5s, factor: 4}
  maintenance:
    - {at: 10s, group: gpus, at_once: 2, drain: 5s, down: 20s, racks: [1]}
"""

UNITS = "write one of ns, us, ms, s, min, h, d, such as 10ms"
NO_GROUP = "no group of the fleet is called that (got 'gpu'; allowed: gpus, cpus); did you mean 'gpus'?"
TOO_LATE = "is after the end of the run, arrivals and drain, so it would never happen"
SHARE = "a fraction has to be more than 0 and at most 1 (100%)"
NO_RACKS = "cpus is not in racks"
WITH_RACKS = "allowed: with rack_size in the group"

# The mark ! stands before what the problem is about, and is taken out.
SHAPES = [
    (
        "faults: !{}",
        "faults: no faults are given: write crashes, lifetimes, slow or maintenance, or leave faults out",
    ),
    ("faults: {crashes: ![]}", "faults.crashes: has too few entries"),
    (
        "faults: {!crash: [{at: 1s}]}",
        "faults.crash: unknown key (allowed: crashes, lifetimes, slow, maintenance); did you mean 'crashes'?",
    ),
    (
        "faults: {crashes: [{at: 1s, !fore: 2s}]}",
        "faults.crashes[0].fore: unknown key (allowed: group, nodes, racks, at, for, device); did you mean 'for'?",
    ),
    (
        "faults: {crashes: [{at: 1s, !lasts: 2s}]}",
        "faults.crashes[0].lasts: unknown key (allowed: group, nodes, racks, at, for, device)",
    ),
    ("faults: {crashes: [!{for: 1s}]}", "faults.crashes[0].at: at is missing"),
    (
        "faults: {crashes: [{at: !1m}]}",
        f"faults.crashes[0].at: 'm' is no unit of a duration: {UNITS} (got '1m')",
    ),
    (
        "faults: {crashes: [{at: 1s, for: !0s}]}",
        "faults.crashes[0].for: a duration has to be more than zero (got '0s')",
    ),
    ("faults: {lifetimes: [!{each: node, mtbf: 1h}]}", "faults.lifetimes[0].mttr: mttr is missing"),
    ("faults: {lifetimes: [!{each: node, mttr: 1h}]}", "faults.lifetimes[0].mtbf: mtbf is missing"),
    (
        "faults: {lifetimes: [{each: !pod, mtbf: 1h, mttr: 1s}]}",
        "faults.lifetimes[0].each: not one of the known names (got 'pod'; allowed: device, node, rack, cell)",
    ),
    (
        "faults: {lifetimes: [{each: node, mtbf: 1h, mttr: 1s, shape: !0}]}",
        "faults.lifetimes[0].shape: has to be at least 0.1 (got 0)",
    ),
    (
        "faults: {lifetimes: [{each: node, mtbf: 1h, mttr: 1s, repair: !never}]}",
        "faults.lifetimes[0].repair: not one of the known names (got 'never'; allowed: exponential, fixed)",
    ),
    ("faults: {slow: [!{each: node, mtbf: 1h, factor: 2}]}", "faults.slow[0].mttr: mttr is missing"),
    ("faults: {slow: [!{each: node, mttr: 1h, factor: 2}]}", "faults.slow[0].mtbf: mtbf is missing"),
    (
        "faults: {slow: [{!at: 1s, each: node, mtbf: 1h, mttr: 1s, factor: 2}]}",
        "faults.slow[0].at: does not go with the keys beside it",
    ),
    ("faults: {slow: [!{at: 1s, for: 1s}]}", "faults.slow[0].factor: factor is missing"),
    ("faults: {slow: [{at: 1s, factor: !1}]}", "faults.slow[0].factor: has to be more than 1.0 (got 1)"),
    (
        "faults: {slow: [{each: node, mtbf: 1h, mttr: 1s, factor: !1001}]}",
        "faults.slow[0].factor: has to be at most 1000.0 (got 1001)",
    ),
]
TARGETS = [
    (
        "faults: {crashes: [{at: 1s, group: gpus, nodes: [0], racks: ![1]}]}",
        "faults.crashes[0].racks: nodes and racks both say which nodes are meant; leave one of them out",
    ),
    (
        "faults: {crashes: [{at: 1s, nodes: ![0]}]}",
        "faults.crashes[0].nodes: nodes are numbered in a group: say in which",
    ),
    (
        "faults: {crashes: [{at: 1s, racks: ![0]}]}",
        "faults.crashes[0].racks: racks are numbered in a group: say in which",
    ),
    (
        "faults: {crashes: [{at: 1s, group: gpus, nodes: !0%}]}",
        f"faults.crashes[0].nodes: {SHARE} (got '0%')",
    ),
    (
        "faults: {crashes: [{at: 1s, group: gpus, nodes: !101%}]}",
        f"faults.crashes[0].nodes: {SHARE} (got '101%')",
    ),
    (
        "faults: {crashes: [{at: 1s, group: gpus, nodes: !1}]}",
        "faults.crashes[0].nodes: nodes are a list of numbers, such as [0, 3], or a share of the group, such as 10% "
        "(got 1)",
    ),
    ("faults: {crashes: [{at: 1s, group: gpus, nodes: ![]}]}", "faults.crashes[0].nodes: has too few entries"),
    (
        "faults: {crashes: [{at: 1s, group: gpus, nodes: [1, !-1]}]}",
        "faults.crashes[0].nodes[1]: has to be at least 0 (got -1)",
    ),
    (
        "faults: {crashes: [{at: 1s, group: gpus, nodes: ![1, 2, 1]}]}",
        "faults.crashes[0].nodes: has numbers twice: 1",
    ),
    (
        "faults: {lifetimes: [{each: node, group: gpus, device: !gpu, mtbf: 1h, mttr: 1s}]}",
        "faults.lifetimes[0].device: with each: node all devices go together; write each: device (got 'gpu')",
    ),
    (
        "faults: {slow: [{each: cell, device: !gpu, mtbf: 1h, mttr: 1s, factor: 2}]}",
        "faults.slow[0].device: with each: cell all devices go together; write each: device (got 'gpu')",
    ),
    (
        "faults: {lifetimes: [{each: cell, group: !gpus, mtbf: 1h, mttr: 1s}]}",
        "faults.lifetimes[0].group: a cell has nodes of all groups; leave group out (got 'gpus')",
    ),
]
FLEET = [
    ("faults: {crashes: [{at: 1s, group: !gpu}]}", f"faults.crashes[0].group: {NO_GROUP}"),
    (
        "faults: {lifetimes: [{each: node, group: !gpu, mtbf: 1h, mttr: 1s}]}",
        f"faults.lifetimes[0].group: {NO_GROUP}",
    ),
    ("faults: {slow: [{at: 1s, group: !gpu, factor: 2}]}", f"faults.slow[0].group: {NO_GROUP}"),
    (
        "faults: {maintenance: [{at: 1s, group: !gpu, drain: 1s, down: 1s}]}",
        f"faults.maintenance[0].group: {NO_GROUP}",
    ),
    (
        "faults: {crashes: [{at: 1s, group: gpus, nodes: [7, !8]}]}",
        "faults.crashes[0].nodes[1]: gpus has no such node (got 8; allowed: 0 to 7)",
    ),
    (
        "faults: {crashes: [{at: 1s, group: gpus, racks: [2, !3]}]}",
        "faults.crashes[0].racks[1]: gpus has no such rack (got 3; allowed: 0 to 2)",
    ),
    (
        "faults: {crashes: [{at: 1s, group: cpus, racks: ![0]}]}",
        f"faults.crashes[0].racks: {NO_RACKS} ({WITH_RACKS})",
    ),
    (
        "faults: {maintenance: [{at: 1s, group: cpus, racks: ![0], drain: 1s, down: 1s}]}",
        f"faults.maintenance[0].racks: {NO_RACKS} ({WITH_RACKS})",
    ),
    (
        "faults: {lifetimes: [{each: !rack, group: cpus, mtbf: 1h, mttr: 1s}]}",
        f"faults.lifetimes[0].each: {NO_RACKS} (got 'rack'; {WITH_RACKS})",
    ),
    (
        "faults: {lifetimes: [{each: !rack, mtbf: 1h, mttr: 1s}]}",
        f"faults.lifetimes[0].each: {NO_RACKS} (got 'rack'; {WITH_RACKS})",
    ),
    (
        "faults: {crashes: [{at: 1s, group: cpus, device: !gpu}]}",
        "faults.crashes[0].device: no device of cpus is called that (got 'gpu'; allowed: host)",
    ),
    (
        "faults: {crashes: [{at: 1s, device: !gpus}]}",
        "faults.crashes[0].device: no device of the fleet is called that (got 'gpus'; allowed: host, gpu); "
        "did you mean 'gpu'?",
    ),
    (
        "faults: {slow: [{each: device, device: !hots, mtbf: 1h, mttr: 1s, factor: 2}]}",
        "faults.slow[0].device: no device of the fleet is called that (got 'hots'; allowed: host, gpu); "
        "did you mean 'host'?",
    ),
    (
        "faults: {maintenance: [{at: 1s, group: gpus, at_once: !9, drain: 1s, down: 1s}]}",
        "faults.maintenance[0].at_once: more nodes at once than are to be maintained (got 9; allowed: at most 8)",
    ),
    (
        "faults: {maintenance: [{at: 1s, group: gpus, nodes: 20%, at_once: !3, drain: 1s, down: 1s}]}",
        "faults.maintenance[0].at_once: more nodes at once than are to be maintained (got 3; allowed: at most 2)",
    ),
    (
        "faults: {maintenance: [{at: 1s, group: gpus, racks: [2], at_once: !3, drain: 1s, down: 1s}]}",
        "faults.maintenance[0].at_once: more nodes at once than are to be maintained (got 3; allowed: at most 2)",
    ),
]
LENGTHS = [
    (
        "faults: {crashes: [{at: !101001ms}]}",
        f"faults.crashes[0].at: {TOO_LATE} (got '101001ms'; allowed: up to 101s)",
    ),
    ("faults: {slow: [{at: !2min, factor: 2}]}", f"faults.slow[0].at: {TOO_LATE} (got '2min'; allowed: up to 101s)"),
    (
        "faults: {maintenance: [{at: !2min, drain: 1s, down: 1s}]}",
        f"faults.maintenance[0].at: {TOO_LATE} (got '2min'; allowed: up to 101s)",
    ),
    (
        # 18 devices, two changes in every 150 us of 101 s.
        "faults: {lifetimes: [{each: device, mtbf: !100us, mttr: 50us}]}",
        "faults.lifetimes[0].mtbf: devices would change about 24,240,000 times in a run "
        "(got '100us'; allowed: at most 10,000,000 changes)",
    ),
]


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(SpecError) as error:
        prepare_text(folder, text)
    return [str(problem).removeprefix(f"{folder / 'experiment.yaml'}:") for problem in error.value.problems]


@pytest.mark.parametrize(("marked", "expected"), [*SHAPES, *TARGETS, *FLEET, *LENGTHS])
def test_message_and_place(marked: str, expected: str, tmp_path: Path) -> None:
    line, column = GOOD.count("\n") + 1, marked.index("!") + 1
    assert problems(tmp_path, GOOD + marked.replace("!", "") + "\n") == [f"{line}:{column}: {expected}"]


def test_all_problems_of_the_faults_are_told_at_once(tmp_path: Path) -> None:
    text = GOOD + (
        "faults:\n"
        "  crashes: [{at: 200s, group: gpus, nodes: [9, 10]}, {at: 1s, group: tpus}]\n"
        "  lifetimes: [{each: rack, group: cpus, mtbf: 1h, mttr: 1s}]\n"
        "  slow: [{at: 1s, factor: 2, device: tpu}]\n"
        "  maintenance: [{at: 1s, group: cpus, at_once: 3, drain: 1s, down: 1s}]\n"
        "policy: {kind: static, representation: table, device: tpu}\n"
    )
    places = [problem.split(": ")[1] for problem in problems(tmp_path, text)]
    assert places == [
        "faults.crashes[0].at",
        "faults.crashes[0].nodes[0]",
        "faults.crashes[0].nodes[1]",
        "faults.crashes[1].group",
        "faults.lifetimes[0].each",
        "faults.slow[0].device",
        "faults.maintenance[0].at_once",
        "policy.device",
    ]


def test_the_end_of_the_run_itself_is_not_too_late(tmp_path: Path) -> None:
    """Faults go before the stop of the same instant."""
    assert prepare_text(tmp_path, GOOD + "faults: {crashes: [{at: 101s}]}\n")
    drained = GOOD.replace(LENGTH, LENGTH + "  drain: 2s\n")
    assert prepare_text(tmp_path, drained + "faults: {crashes: [{at: 102s}]}\n")
    (problem,) = problems(tmp_path, drained + "faults: {crashes: [{at: 103s}]}\n")
    assert "allowed: up to 102s" in problem


def test_all_nodes_may_be_maintained_at_once(tmp_path: Path) -> None:
    assert prepare_text(
        tmp_path, GOOD + "faults: {maintenance: [{at: 1s, group: gpus, at_once: 8, drain: 1s, down: 1s}]}\n"
    )


def test_no_time_is_too_late_where_the_run_ends_with_a_number_of_queries(tmp_path: Path) -> None:
    counted = GOOD.replace(LENGTH, "  queries: 10\n")
    assert counted != GOOD
    assert prepare_text(tmp_path, counted + "faults: {crashes: [{at: 30d}]}\n")


def test_the_example_is_good_also_by_the_schema(tmp_path: Path) -> None:
    validator = jsonschema.Draft202012Validator(json_schema(ExperimentFile))
    assert list(validator.iter_errors(parse_yaml(GOOD + EXAMPLE, "e.yaml").plain())) == []
    assert list(validator.iter_errors(parse_yaml(GOOD + "faults: {crashes: [{for: 1s}]}", "e.yaml").plain()))
    (scenario,) = prepare_text(tmp_path, GOOD + EXAMPLE)
    assert (plan := scenario.fault_plan()) is not None and len(plan.entries) == 11


def test_without_the_key_there_is_no_plan(tmp_path: Path) -> None:
    (scenario,) = prepare_text(tmp_path, GOOD)
    assert scenario.fault_plan() is None


def test_the_resolved_file_says_the_same_faults(tmp_path: Path) -> None:
    file = tmp_path / "e.yaml"
    file.write_text(GOOD + EXAMPLE)
    (scenario,) = load_scenarios(str(file))
    file.write_text(resolved_experiment([scenario]))
    (again,) = load_scenarios(str(file))
    assert scenario.experiment.faults is not None and again.experiment.faults == scenario.experiment.faults
