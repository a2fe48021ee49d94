"""A policy that raises: one of the user's is told in a line, one that ships fails with what it raised, as it is."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sim.engine.engines import Engine
from sim.serving.policies.user import PolicyError
from tests.harness import prepare_text, run_record

TEXT = """\
name: t
model: {name: m, representations: {table: {accuracy: {value: 90%, evidence: assumed}}}}
sla: 10ms
workload: {arrivals: {kind: poisson, rate: 100/s}, sizes: {kind: fixed, size: 7}, queries: 5}
fleet: [{name: n, devices: {d: {kind: cpu, service: {distribution: deterministic, mean: 1ms}}}}]
policy: {kind: static, representation: table, device: d}
"""


def failing(*_: Any) -> int:
    raise ZeroDivisionError("on purpose")


@pytest.mark.parametrize(
    ("module", "raised", "says"),
    [
        ("made_up_policy", PolicyError, "the policy made_up_policy:failing .* raised ZeroDivisionError.* 7 samples"),
        ("sim.serving.policies.made_up", ZeroDivisionError, "^on purpose$"),
    ],
)
def test_who_wrote_a_policy_decides_how_its_failure_is_told(
    module: str, raised: type[Exception], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, ModuleType(module))
    monkeypatch.setattr(failing, "__module__", module)
    (scenario,) = prepare_text(tmp_path, TEXT)
    broken = replace(scenario, system=replace(scenario.system, choose=failing))
    with pytest.raises(raised, match=says):
        run_record(broken, 0, engine=Engine.REFERENCE)
