"""What is wrong with an `optimise` block is told with its place before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.spec.design_space import design_space
from sim.spec.problems import SpecError
from sim.spec.source import parse_yaml
from sim.study.design_check import designs_in, read_question
from sim.study.scenario import asks_for_designs, load_scenarios

GOOD = """\
name: test
model: dlrm-kaggle
sla: 10ms
workload:
  arrivals: {kind: poisson, rate: 100/s}
  sizes: {kind: fixed, size: 100}
  duration: 1s
fleet:
  - {name: t4, devices: {gpu: gpu-t4}}
policy: {kind: mp-rec}
optimise:
"""
CHOICES = "  choices:\n    fleet.t4.count: [1, 2]\n"


def problems(folder: Path, block: str, *overrides: str, text: str = GOOD) -> list[str]:
    file = folder / "e.yaml"
    file.write_text(text + block)
    try:
        read_question(str(file), overrides)
    except SpecError as error:
        return [line.replace(str(folder) + "/", "") for line in str(error).splitlines()]
    return []


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        (
            "  trials: 3\n",
            "e.yaml:12:3: optimise.choices: choices is missing",
        ),
        ("  choices: {}\n", "e.yaml:12:12: optimise.choices: has too few entries"),
        (
            CHOICES + "  trails: 3\n",
            "e.yaml:14:3: optimise.trails: unknown key (allowed: objectives, resolution, constraints",
        ),
        (CHOICES + "  trials: 0\n", "e.yaml:14:11: optimise.trials: has to be at least 1 (got 0)"),
        (
            CHOICES + "  objectives: {latency_ms_p98: min}\n",
            "e.yaml:14:16: optimise.objectives.latency_ms_p98: unknown metric (allowed: latency_ms_p50, ",
        ),
        (
            CHOICES + "  objectives: {latency_ms_p99: least}\n",
            "e.yaml:14:32: optimise.objectives.latency_ms_p99: not one of the known names (got 'least'; allowed: max",
        ),
        (
            CHOICES + "  constraints: [latency_ms_p99 < sla]\n",
            "e.yaml:14:17: optimise.constraints[0]: a constraint is written as METRIC <= LIMIT or METRIC >= LIMIT, "
            "such as latency_ms_p99 <= sla or cost_usd_per_h <= 5 (got 'latency_ms_p99 < sla')",
        ),
        (
            CHOICES + "  constraints: [accuracy_servd >= 78%]\n",
            "e.yaml:14:17: optimise.constraints[0]: unknown metric 'accuracy_servd'; did you mean 'accuracy_served'?",
        ),
        (
            CHOICES + "  constraints: [accuracy_served >= sla]\n",
            "e.yaml:14:17: optimise.constraints[0]: accuracy_served is no latency, so it cannot be held against",
        ),
        (
            CHOICES + "  constraints: [latency_ms_p99 <= 3 parsecs]\n",
            "e.yaml:14:17: optimise.constraints[0]: 'parsecs' is no unit of a duration",
        ),
        ("  choices: {seed: [1, 2]}\n", "e.yaml:12:13: optimise.choices.seed: cannot be chosen"),
        (
            "  choices: {fleet.v100.count: [1]}\n",
            "e.yaml:12:13: optimise.choices.fleet.v100.count: there is nothing at 'v100'",
        ),
        ("  choices: {fleet.t4.count: []}\n", "e.yaml:12:29: optimise.choices.fleet.t4.count: has no values"),
        (
            "  choices: {fleet.t4.count: [1, 1]}\n",
            "e.yaml:12:33: optimise.choices.fleet.t4.count: stands twice (got 1)",
        ),
        ("  choices: {fleet.t4.count: [1, 0]}\n", "e.yaml:12:33: fleet[0].count: has to be at least 1 (got 0)"),
        ("  choices: {policy.margn: [0.1]}\n", "e.yaml:12:13: policy.margn: unknown key (allowed: kind, queue, margin"),
        (
            "  choices: {fleet.t4.devices.gpu: [gpu-t5]}\n",
            "e.yaml:12:36: fleet[0].devices.gpu: unknown device (got 'gpu-t5'",
        ),
        (
            "  choices: {fleet.t4.count: {from: 1, to: 4}}\n",
            "e.yaml:12:29: optimise.choices.fleet.t4.count: step is missing (allowed: {from: 1, to: 8, step: 1})",
        ),
        (
            "  choices: {fleet.t4.count: {from: 4, to: 1, step: 1}}\n",
            "e.yaml:12:29: optimise.choices.fleet.t4.count: has no end, or none that can be reached",
        ),
        (
            "  choices: {sla: {from: 1ms, to: 1s, step: 1ms}}\n",
            "e.yaml:12:18: optimise.choices.sla: from, to and step have to have the same unit",
        ),
        (
            "  choices: {sla: {from: soon, to: 1s, step: 1ms}}\n",
            "e.yaml:12:25: optimise.choices.sla.from: expected a number, with a unit or without (got 'soon')",
        ),
        (
            "  choices: {fleet: [[{name: a, devices: {g: gpu-t4}}]], fleet.t4.count: [1, 2]}\n",
            "e.yaml:12:57: optimise.choices.fleet.t4.count: sets the same as fleet",
        ),
    ],
)
def test_a_problem_is_told_with_its_place(tmp_path: Path, block: str, problem: str) -> None:
    found = problems(tmp_path, block)
    assert len(found) == 1, found
    assert found[0].startswith(problem)


def test_a_good_block_has_no_problems(tmp_path: Path) -> None:
    block = CHOICES + "  constraints: [latency_ms_p99 <= sla, accuracy_served >= 78.8%, latency_ms_p50 <= 3ms]\n"
    assert problems(tmp_path, block) == []


def test_without_a_block_there_is_nothing_to_do(tmp_path: Path) -> None:
    text = GOOD.removesuffix("optimise:\n")
    assert problems(tmp_path, "", text=text) == [
        "e.yaml:1:1: optimise: there is nothing to choose (allowed: optimise: {choices: {...}})"
    ]


def test_a_sweep_is_refused(tmp_path: Path) -> None:
    found = problems(tmp_path, CHOICES + "sweep: {sla: [1ms, 2ms]}\n")
    assert len(found) == 1
    assert found[0].startswith("e.yaml:14:1: sweep: does not go with optimise: every design is one scenario")
    assert problems(tmp_path, CHOICES + "sweep: {sla: [1ms, 2ms]}\n", "sweep={}") == []


def test_what_is_chosen_cannot_be_set(tmp_path: Path) -> None:
    assert problems(tmp_path, CHOICES, "fleet.t4.count=7") == [
        "--set fleet.t4.count:1:1: fleet.t4.count: has no effect: optimise.choices sets fleet.t4.count"
    ]


def test_a_value_that_needs_another_choice_is_no_mistake(tmp_path: Path) -> None:
    # dhe does not exist under the file's own mapping, but it does under another that may be chosen.
    text = GOOD.replace("policy: {kind: mp-rec}", "policy: {kind: static, representation: table}\n").replace(
        "optimise:", "mapping: {kind: explicit, devices: {gpu: [table]}}\noptimise:"
    )
    block = (
        "  choices:\n    policy.representation: [table, dhe]\n"
        "    mapping:\n      both: {kind: explicit, devices: {gpu: [table, dhe]}}\n"
        "      table: {kind: explicit, devices: {gpu: [table]}}\n"
    )
    assert problems(tmp_path, block, text=text) == []
    hybrid = block.replace("[table, dhe]\n", "[table, dhe, hybrid]\n")
    (found,) = problems(tmp_path, hybrid, text=text)
    assert "no path of the fleet suits the policy (kind static, representation hybrid)" in found


def test_other_commands_check_the_shape_of_the_block(tmp_path: Path) -> None:
    file = tmp_path / "e.yaml"
    file.write_text(GOOD + CHOICES + "  trials: 0\n")
    with pytest.raises(SpecError, match=r"e\.yaml:14:11: optimise\.trials: has to be at least 1"):
        load_scenarios(str(file))
    file.write_text(GOOD + CHOICES)
    (scenario,) = load_scenarios(str(file))
    assert scenario.experiment.fleet[0].count == 1
    assert "optimise" not in scenario.experiment.model_dump()


def test_the_values_of_a_choice() -> None:
    root = parse_yaml(
        "{sla: 1ms, a: {b: 1}, optimise: {choices: {sla: {from: 1ms, to: 2ms, step: 0.25ms}, a.b: [2, 1, 0.5],"
        " c: [3, 1, 2], d: [10ms, 1s], e: {x: 1, y: {z: 2}}}}}",
        "e.yaml",
    )
    space = design_space(root)
    assert [choice.labels for choice in space.choices] == [
        ("1ms", "1.25ms", "1.5ms", "1.75ms", "2ms"),
        (2, 1, 0.5),
        (3, 1, 2),
        ("10ms", "1s"),
        ("x", "y"),
    ]
    # Neighbours are alike in a range and in what ascends or descends in one unit; nothing is known of the others.
    assert [choice.ordered for choice in space.choices] == [True, True, False, False, False]
    assert space.size == 5 * 3 * 3 * 2 * 2 == len(set(space.designs()))
    assert space.changes((1, 0, 2, 1, 1)) == ('sla="1.25ms"', "a.b=2", "c=2", 'd="1s"', 'e={"z": 2}')
    assert space.labels((1, 0, 2, 1, 1)) == {"sla": "1.25ms", "a.b": 2, "c": 2, "d": "1s", "e": "y"}


def test_choices_of_an_extended_file_are_replaced_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        GOOD + "  choices: {fleet.t4.count: [1, 2], policy.margin: {low: 0.1, high: 0.5}}\n"
    )
    own = tmp_path / "own.yaml"
    own.write_text("extends: base.yaml\noptimise: {choices: {policy.margin: {none: 0.0}}}\n")
    space = read_question(str(own)).space
    assert {choice.key: choice.labels for choice in space.choices} == {
        "fleet.t4.count": (1, 2),
        "policy.margin": ("none",),
    }


def test_validate_tries_every_value(tmp_path: Path) -> None:
    file = tmp_path / "e.yaml"
    file.write_text(GOOD + CHOICES)
    assert designs_in(str(file)) == 2
    assert designs_in(str(file), ["fleet.t4.count=3"]) == 2
    assert asks_for_designs(str(file)) and not asks_for_designs(str(file), ["sweep={sla: [1ms, 2ms]}"])
    with pytest.raises(SpecError, match=r"has to be at least 1 \(got 0\)"):
        designs_in(str(file), ["optimise.choices={fleet.t4.count: [1, 0]}"])
    file.write_text(GOOD.removesuffix("optimise:\n"))
    assert not asks_for_designs(str(file))
