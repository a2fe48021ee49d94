"""A run says which of the profiles that it stands on were measured on a disturbed machine."""

from __future__ import annotations

import json

import pytest

from sim.study.prepare import prepare
from sim.study.scenario import load_scenarios


@pytest.mark.parametrize(("device", "said"), [("gpu", ["gpu-h200"]), ("cpu", [])])
def test_of_the_devices_that_are_used(device: str, said: list[str]) -> None:
    policy = {"kind": "static", "representation": "table", "device": device}
    keys = {"sweep": {}, "report": {}, "workload.queries": 100, "replications": 1, "policy": policy}
    overrides = [f"{key}={json.dumps(value)}" for key, value in keys.items()]
    overrides.append("fleet.server.devices.cpu.profile=cpu-epyc-1core")
    (prepared,) = prepare(load_scenarios("mprec-kaggle-h200", overrides))
    unfit = [line for line in prepared.assumptions if "unfit" in line]
    assert unfit == [
        f"service times of {name} were measured while something disturbed them, and are marked as unfit"
        for name in said
    ]
