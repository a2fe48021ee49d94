"""Values of a sweep that say the same in two ways are refused, as are those that stand twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.spec.problems import SpecError
from sim.study.scenario import find_experiment, load_scenarios

SWEPT = """\
extends: BASE
sweep:
  workload.arrivals.rate: AXIS
"""


def written(folder: Path, axis: str) -> Path:
    file = folder / "e.yaml"
    file.write_text(SWEPT.replace("AXIS", axis).replace("BASE", str(find_experiment("quickstart"))))
    return file


@pytest.mark.parametrize(
    ("axis", "said"),
    [
        ("[1000/s, 2k/s, 1k/s]", "e.yaml:3:42: sweep.workload.arrivals.rate: says the same as 1000/s"),
        ("[1k/s, 1k/s]", "e.yaml:3:34: sweep.workload.arrivals.rate: stands twice"),
    ],
)
def test_a_value_in_two_notations_is_refused_once(axis: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as raised:
        load_scenarios(str(written(tmp_path, axis)))
    (problem,) = raised.value.problems
    assert said in str(problem)


def test_labels_may_stand_for_the_same(tmp_path: Path) -> None:
    found = load_scenarios(str(written(tmp_path, "{one: 1000/s, other: 1k/s}")))
    assert len({one.label for one in found}) == len(found)
    assert {one.parameters["workload.arrivals.rate"] for one in found} == {"one", "other"}
