"""Files that experiments name: beside the file that names them, whoever extends it; `.yaml` and `.yml` alike."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from sim.profile.library import list_devices
from sim.spec.experiment import Experiment
from sim.spec.files import PROFILES, TABLES
from sim.spec.problems import SpecError
from sim.spec.scenario import axis_values, labelled
from sim.spec.source import parse_yaml
from sim.study.prepare import prepare
from sim.study.runs import resolved_experiment
from sim.study.scenario import load_scenarios

BASE = """\
name: test
model: shape.yml
sla: 10ms
workload:
  arrivals: {kind: trace, file: arrivals.csv, unit: ms}
  sizes: {kind: trace, file: sizes.csv}
  queries: 3
fleet:
  - name: hw
    devices:
      named: mine.yaml
      used: {profile: mine.yaml}
      inline:
        {kind: cpu, memory: 8GB, lanes: 1, evidence: modelled, service: {own: {table: {table: times.csv}}}}
policy: {kind: fastest}
"""
OWN = "name: own\nrepresentations: {table: {accuracy: {value: 70%, evidence: assumed}, bytes: 1GB}}\n"
DEVICE = "kind: cpu\nmemory: 8GB\nlanes: 1\nevidence: modelled\nservice: {own: {table: {table: times.csv}}}\n"
FILES = {
    "base.yaml": BASE,
    "shape.yml": OWN,
    "mine.yaml": DEVICE,
    "times.csv": "size,0.5\n1,1000\n3,1000\n",
    "arrivals.csv": "time\n0\n1\n2\n",
    "sizes.csv": "size\n1\n2\n3\n",
}


@pytest.fixture
def common(tmp_path: Path) -> Path:
    folder = tmp_path / "common"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


def extending(tmp_path: Path, text: str) -> Path:
    (tmp_path / "own").mkdir(exist_ok=True)
    file = tmp_path / "own" / "e.yaml"
    file.write_text(text)
    return file


def test_files_are_beside_the_file_that_names_them(common: Path, tmp_path: Path) -> None:
    (scenario,) = prepare(load_scenarios(str(extending(tmp_path, "extends: ../common/base.yaml\n"))))
    assert scenario.workload.queries == 3
    # What stands beside the extending file is not what the extended one meant.
    for name in FILES:
        (tmp_path / "own" / name).write_text("not this one")
    assert len(prepare(load_scenarios(str(tmp_path / "own" / "e.yaml")))) == 1


def test_a_chain_of_folders_is_followed(common: Path, tmp_path: Path) -> None:
    (tmp_path / "between").mkdir()
    (tmp_path / "between" / "b.yaml").write_text("extends: ../common/base.yaml\nmodel: between.yaml\n")
    (tmp_path / "between" / "between.yaml").write_text(OWN)
    (scenario,) = load_scenarios(str(extending(tmp_path, "extends: ../between/b.yaml\n")))
    assert scenario.experiment.model == "../between/between.yaml"
    assert scenario.experiment.workload.arrivals.file == "../common/arrivals.csv"


def test_a_sweep_of_files_is_beside_the_file_that_it_stands_in(common: Path, tmp_path: Path) -> None:
    (common / "more.csv").write_text("time\n0\n5\n9\n")
    with (common / "base.yaml").open("a") as base:
        base.write("sweep: {workload.arrivals.file: {few: arrivals.csv, more: more.csv}, model: [shape.yml]}\n")
    scenarios = load_scenarios(str(extending(tmp_path, "extends: ../common/base.yaml\n")))
    assert [one.parameters["workload.arrivals.file"] for one in scenarios] == ["few", "more"]
    assert len(prepare(scenarios)) == 2


def test_what_is_not_beside_the_extended_file_is_beside_the_extending_one(common: Path, tmp_path: Path) -> None:
    file = extending(tmp_path, "extends: ../common/base.yaml\n")
    (common / "arrivals.csv").rename(tmp_path / "own" / "arrivals.csv")
    assert len(prepare(load_scenarios(str(file)))) == 1


def test_the_resolved_experiment_runs_from_anywhere(
    common: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (common / "base.yaml").open("a") as base:
        base.write("sweep: {workload.arrivals.file: [arrivals.csv]}\n")
    text = resolved_experiment(load_scenarios(str(extending(tmp_path, "extends: ../common/base.yaml\n"))))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "experiment.yaml").write_text(text)
    monkeypatch.chdir(elsewhere)
    (scenario,) = load_scenarios("experiment.yaml")
    assert len(prepare([scenario])) == 1
    assert scenario.parameters == {"workload.arrivals.file": "../common/arrivals.csv"}
    device = yaml.safe_load(text)["fleet"][0]["devices"]["inline"]
    assert device["service"]["own"]["table"]["table"] == str(common.resolve() / "times.csv")


def test_values_of_an_axis_are_called_alike_where_it_is_resolved() -> None:
    axis = parse_yaml("[{}, '', [], 5, {kind: trace, file: a.csv}]", "e.yaml")
    called = [label for label, _ in axis_values("key", axis, [])]
    assert called == [label for label, _ in labelled(axis.plain())] == ["{}", "''", "[]", 5, "kind=trace file=a.csv"]


def test_the_table_of_an_inline_device_is_beside_the_experiment_or_here(
    common: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(prepare(load_scenarios(str(common / "base.yaml")))) == 1
    monkeypatch.chdir(tmp_path)
    (common / "times.csv").write_text("size,0.5\n1,2000\n3,2000\n")
    (common / "mine.yaml").write_text(DEVICE.replace("times.csv", "../times.csv"))
    (common / "times.csv").rename(tmp_path / "times.csv")
    assert len(prepare(load_scenarios(str(common / "base.yaml")))) == 1
    (tmp_path / "times.csv").rename(tmp_path / "gone.csv")
    (common / "mine.yaml").write_text(DEVICE.replace("times.csv", "../gone.csv"))
    with pytest.raises(SpecError, match=r"base\.yaml:\d+:\d+: .*cannot read the table file"):
        prepare(load_scenarios(str(common / "base.yaml")))


def test_profiles_ending_in_yml_are_found_by_name_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("hwprofiles/devices").mkdir(parents=True)
    Path("hwprofiles/devices/short.yml").write_text(DEVICE)
    assert "short" in list_devices()


def test_every_key_that_may_name_a_file_is_known() -> None:
    """A key that `sim.spec.files` does not know would be looked for beside the wrong file where it is extended."""
    schema = Experiment.model_json_schema()
    parts = [part.get("properties", {}) for part in (schema, *schema["$defs"].values())]
    described = [(name, key.get("description", "")) for part in parts for name, key in part.items()]
    tables = {name for name, text in described if "CSV file" in text}
    profiles = {name for name, text in described if re.search(r"path of \w+ file", text)}
    assert (tables, profiles) == (set(TABLES), set(PROFILES))
