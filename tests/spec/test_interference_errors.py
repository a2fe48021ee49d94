"""Interference that is impossible, or that could never act, is told before anything runs; and what it stands on."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.profile.library import list_interference
from sim.spec.problems import SpecError
from sim.study.planning import plan_scenarios
from sim.study.scenario import load_scenarios
from tests.harness import prepare_text

GOOD = """\
name: t
model: wnd
sla: 10ms
workload:
  arrivals: {kind: poisson, rate: 100/s}
  sizes: {kind: fixed, size: 400}
  queries: 10
policy: {kind: static, representation: table}
fleet:
  - name: n
    count: 2
    devices:
      one: {profile: {kind: cpu, service: {distribution: exponential, mean: 1ms}}}
      many: {profile: kairos-r5n.large, lanes: 20}
"""


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("interference: {}\n", "15:15: interference.slowdown: slowdown is missing"),
        ("interference: {devices: [many]}\n", "15:15: interference.slowdown: slowdown is missing"),
        ("interference: {slowdown: 2}\n", "15:26: interference.slowdown: expected a list (got 2)"),
        ("interference: {slowdown: []}\n", "15:26: interference.slowdown: has too few entries"),
        (
            "interference: {slowdown: [2, 3]}\n",
            "15:26: interference.slowdown: the first factor is that of a lane that is busy alone, which is 1",
        ),
        ("interference: {slowdown: [1, 0.5]}\n", "15:30: interference.slowdown[1]: has to be at least 1.0 (got 0.5)"),
        (
            "interference: {slowdown: broadwell-dlrm-rcm1}\n",
            "15:26: interference.slowdown: unknown interference profile (got "
            "'broadwell-dlrm-rcm1'; allowed: broadwell-dlrm-rmc1, broadwell-dlrm-rmc2, broadwell-dlrm-rmc3); "
            "did you mean 'broadwell-dlrm-rmc1'?",
        ),
        (
            "interference: {slowdown: [1, 2], devices: [many, mani]}\n",
            "15:50: interference.devices[1]: no device of the fleet is called 'mani' (got 'mani'; allowed: many, one, "
            "n/one, n/many); did you mean 'many'?",
        ),
        (
            "interference: {slowdown: nothing, devices: [gpu]}\n",
            "15:45: interference.devices[0]: no device of the fleet is called 'gpu'",
        ),
        (
            "interference: {slowdown: nothing, devices: [gpu]}\n",
            "15:26: interference.slowdown: unknown interference profile (got 'nothing'",
        ),
        (
            "interference: {slowdown: [1, 1.0]}\n",
            "15:26: interference.slowdown: every factor is 1, so no lane slows another (allowed: a factor above 1)",
        ),
        (
            "interference: {slowdown: [1, 2], devices: [one]}\n",
            "15:26: interference.slowdown: lanes slow each other from 2 busy ones on, and no device that it applies to "
            "has so many (allowed: a device with 2 lanes or more)",
        ),
        (
            "interference: {slowdown: broadwell-dlrm-rmc1, devices: [n/one]}\n",
            "15:26: interference.slowdown: lanes slow each other from 3 busy ones on",
        ),
    ],
)
def test_message(more: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as error:
        prepare_text(tmp_path, GOOD + more)
    assert expected in str(error.value)
    # The same is told by `mprec validate`, which does not prepare.
    with pytest.raises(SpecError) as error:
        plan_scenarios(load_scenarios(str(tmp_path / "experiment.yaml")))
    assert expected in str(error.value)


def test_plain_factors_are_an_assumption(tmp_path: Path) -> None:
    (scenario,) = prepare_text(
        tmp_path,
        GOOD
        + "interference: {slowdown: [1, 2], devices: [many]}\nmapping: {kind: explicit, devices: {many: [table]}}\n",
    )
    assert scenario.evidence == "modelled"
    assert "slowdown of busy lanes is assumed" in scenario.assumptions
    # The policy expects nothing, but the router that is left out counts queries only.
    assert not any("expect service times" in line for line in scenario.assumptions)


OWN = "evidence: measured\nprovenance: {source: own}\nslowdown: [1, 1.5]\n"


def test_a_file_of_factors_is_beside_the_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (tmp_path / "own.yaml").write_text(OWN)
    (scenario,) = prepare_text(tmp_path, GOOD + "interference: {slowdown: own.yaml, devices: [many]}\n")
    assert "busy lanes slow each other as in own (measured), whatever they serve" in scenario.assumptions
    assert "interference own" in scenario.profiles
    (tmp_path / "own.yaml").rename(elsewhere / "own.yaml")
    (again,) = prepare_text(tmp_path, GOOD + "interference: {slowdown: own.yaml, devices: [many]}\n")
    assert again.profiles == scenario.profiles
    (elsewhere / "own.yaml").write_text(OWN.replace("1.5", "0.5"))
    with pytest.raises(SpecError, match=r"own\.yaml:3:15: slowdown\[1\]: has to be at least 1\.0"):
        prepare_text(tmp_path, GOOD + "interference: {slowdown: own.yaml, devices: [many]}\n")


@pytest.mark.parametrize("name", list_interference())
def test_a_measured_slowdown_is_named_with_its_evidence(name: str, tmp_path: Path) -> None:
    (scenario,) = prepare_text(
        tmp_path,
        GOOD.replace("{kind: static, representation: table}", "{kind: fastest}")
        + f"interference: {{slowdown: {name}}}\nmapping: {{kind: explicit, devices: {{many: [table]}}}}\n",
    )
    assert scenario.evidence == "measured"
    assert f"busy lanes slow each other as in {name} (measured), whatever they serve" in scenario.assumptions
    assert "more than 14 busy lanes of many are slowed as 14 are" in scenario.assumptions
    assert any("expect service times that no other lane slows" in line for line in scenario.assumptions)
    assert "boringlee24" in scenario.profiles[f"interference {name}"]["provenance"]


def test_only_the_named_devices_interfere_and_offered_load_counts_it(tmp_path: Path) -> None:
    text = GOOD + "mapping: {kind: explicit, devices: {many: [table]}}\n"
    (alone,) = prepare_text(tmp_path, text)
    (slowed,) = prepare_text(tmp_path, text + "interference: {slowdown: [1, 1.5, 2], devices: [n/many]}\n")
    full = alone.system.lane_speed[0]
    assert slowed.system.lane_speed[0] == full
    assert slowed.system.lane_speed[1:4].tolist() == [full, round(full / 1.5), full / 2]
    assert (slowed.system.lane_speed[3:21] == full / 2).all()
    assert slowed.system.lane_speed.tolist() == slowed.system.lane_speed[:21].tolist() * 2
    assert alone.offered_load is not None
    assert slowed.offered_load == 2 * alone.offered_load
