"""The JSON Schema accepts what we ship and refuses what the reader refuses."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from sim.profile.library import data_dir
from sim.spec.experiment import ExperimentFile
from sim.spec.schema import json_schema
from sim.spec.source import load_yaml

SCHEMA = json_schema(ExperimentFile)


def problems(document: Any) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(document)]


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("file", sorted(data_dir("experiments").glob("*.yaml")), ids=lambda file: file.stem)
def test_shipped_experiments_are_valid(file: Any) -> None:
    assert problems(load_yaml(file).plain()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"slaa": "10ms"},
        {"sla": "10 parsecs"},
        {"policy": {"kind": "mp-wreck"}},
        {"workload": {"arrivals": {"kind": "poisson", "rate": "10"}, "duration": "1s"}},
        {"replications": 0},
    ],
)
def test_bad_values_are_refused(change: dict[str, Any]) -> None:
    good = load_yaml(data_dir("experiments") / "quickstart.yaml").plain()
    assert problems(good) == []
    assert problems(good | change) != []


def test_required_keys_are_required_unless_another_file_is_extended() -> None:
    assert problems({"name": "x"}) != []
    assert problems({"name": "x", "extends": "other.yaml"}) == []
