"""What cannot be shared out among cells is told before anything runs, where it stands, with what would do."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.spec.problems import SpecError
from sim.study.runs import resolved_experiment
from sim.study.scenario import load_scenarios
from tests.harness import prepare_text

GOOD = """\
name: t
model: {name: m, representations: {table: {accuracy: {value: 90%, evidence: assumed}, bytes: 6GB}}}
sla: 10ms
cells: 4
workload:
  arrivals: {kind: poisson, rate: 100/s}
  sizes: {kind: fixed, size: 400}
  duration: 1s
fleet:
  - name: n
    count: 12
    devices:
      d: {kind: cpu, service: {sizes: [1, 500], service: [[1ms], [2ms]]}}
"""
RULE = "group: n, measure: utilisation, target: 50%, every: 100ms"
RACKS = "    rack_size: 3\n    devices:\n"
DURATION = "  duration: 1s\n"


def test_the_good_ones_are_good(tmp_path: Path) -> None:
    for more in (
        "",
        "router: {kind: power-of-d, d: 3}\n",
        "hedging: {after: 1ms}\n",
        "knowledge: {routers: 50}\nrouter: {kind: round-robin}\n",
        f"autoscaling: [{{{RULE}}}]\n",
        f"autoscaling: [{{{RULE}, min: 4, max: 8, initial: 8}}]\n",
        "faults: {maintenance: [{at: 0s, at_once: 12, drain: 1s, down: 1s}]}\n",
        "faults: {crashes: [{at: 0s, group: n, nodes: [11]}]}\n",
        "binding: {kind: late}\n",
    ):
        (scenario,) = prepare_text(tmp_path, GOOD + more)
        assert scenario.cells == 4 and len(scenario.system.node_group) == 3
        assert scenario.expected_queries == 100 and scenario.expected_queries_per_cell == 25
        if "autoscaling" in more:
            (rule,) = scenario.system.scaling
            assert (rule.nodes, rule.fewest) == (3, 1)
            assert (rule.most, rule.initial) == ((2, 2) if "max" in more else (3, 1))
    assert prepare_text(tmp_path, GOOD.replace("    devices:\n", RACKS))
    (tmp_path / "a.csv").write_text("time\n0\n1\n2\n3\n")
    replayed = GOOD.replace("{kind: poisson, rate: 100/s}", "{kind: trace, file: a.csv}")
    (counted,) = prepare_text(tmp_path, replayed.replace(DURATION, "  queries: 3\n"))
    assert counted.expected_queries == 3


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("cells: 4", "cells: 0", "4:8: cells: has to be at least 1 (got 0"),
        (
            "count: 12",
            "count: 10",
            "11:12: fleet[0].count: 10 nodes cannot be shared out to 4 equal cells (got 10; allowed: a multiple of 4, "
            "such as 8 or 12)",
        ),
        (
            "    count: 12\n",
            "",
            "10:5: fleet[0].count: 1 nodes cannot be shared out to 4 equal cells (allowed: a multiple of 4, such as 4)",
        ),
        (
            DURATION,
            "  queries: 1001\n",
            "8:12: workload.queries: so many queries are over at another time in every cell (got 1001; allowed: "
            "duration, or a trace of arrivals, which is over for all at once)",
        ),
        (
            "    devices:\n",
            RACKS.replace("3", "2"),
            "12:16: fleet[0].rack_size: racks of 2 would reach over the borders of cells, which have 3 nodes of n (got "
            "2; allowed: a divisor of 3)",
        ),
        (
            None,
            "router: {kind: power-of-d, d: 4}\n",
            "14:31: router.d: a router picks among the 3 nodes of its cell (got 4; allowed: at most 3)",
        ),
        (
            None,
            f"autoscaling: [{{{RULE}, min: 3, max: 10, initial: 7}}]\n",
            "autoscaling[0].min: 3 nodes cannot be shared out to 4 equal cells (got 3; allowed: a multiple of 4, such "
            "as 4)",
        ),
        (None, f"autoscaling: [{{{RULE}, max: 10}}]\n", "autoscaling[0].max: 10 nodes cannot be shared out"),
        (None, f"autoscaling: [{{{RULE}, initial: 7}}]\n", "autoscaling[0].initial: 7 nodes cannot be shared out"),
        (None, f"autoscaling: [{{{RULE}, max: 4}}]\n", "autoscaling[0].min: min and max are the same"),
        (
            "count: 12",
            "count: 4",
            "14:10: hedging: a copy goes to another node, and a cell has one",
        ),
        (
            None,
            "remapping: {every: 1s, load_bandwidth: 1GB/s, at_once: 4}\n",
            "remapping.at_once: every cell changes its own nodes, of which it has 3 (got 4; allowed: at most 3)",
        ),
        (
            None,
            "faults: {crashes: [{at: 0s, group: n, nodes: [12]}]}\n",
            "faults.crashes[0].nodes[0]: n has no such node (got 12; allowed: 0 to 11)",
        ),
    ],
)
def test_what_does_not_divide_is_told_at_its_key(tmp_path: Path, old: str | None, new: str, expected: str) -> None:
    text = GOOD + new if old is None else GOOD.replace(old, new)
    if "hedging" in expected:
        text += "hedging: {after: 1ms}\n"
    assert text != GOOD
    with pytest.raises(SpecError) as caught:
        prepare_text(tmp_path, text)
    assert expected in str(caught.value)


def test_all_that_does_not_divide_is_told_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("count: 12", "count: 10").replace(DURATION, "  queries: 5\n")
    with pytest.raises(SpecError) as caught:
        prepare_text(tmp_path, text + f"autoscaling: [{{{RULE}, min: 2}}]\n")
    found = {problem.key_path for problem in caught.value.problems}
    assert found == {"fleet[0].count", "workload.queries", "autoscaling[0].min"}


def test_many_drawn_faults_are_counted_by_cell(tmp_path: Path) -> None:
    """Twelve devices that change twice a microsecond for 1.1 s are 26.4 million changes, 6.6 million a cell."""
    text = GOOD.replace("duration: 1s", "duration: 1s\n  drain: 100ms")
    faults = "faults: {lifetimes: [{each: node, mtbf: 500ns, mttr: 500ns}]}\n"
    assert prepare_text(tmp_path, text + faults)
    with pytest.raises(SpecError, match="devices of a cell would change about 13,200,000 times in a run"):
        prepare_text(tmp_path, text + faults.replace("500", "250"))
    with pytest.raises(SpecError, match="devices would change about 26,400,000 times in a run"):
        prepare_text(tmp_path, text.replace("cells: 4", "cells: 1") + faults)


def test_the_resolved_file_says_the_same(tmp_path: Path) -> None:
    file = tmp_path / "e.yaml"
    file.write_text(GOOD + f"autoscaling: [{{{RULE}}}]\n")
    (scenario,) = load_scenarios(str(file))
    file.write_text(resolved_experiment([scenario]))
    (again,) = load_scenarios(str(file))
    assert again.experiment == scenario.experiment
