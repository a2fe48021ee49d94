"""Sums that are made while a run goes on are the same on both engines, and keep the laws."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim.engine.engines import Engine
from sim.spec.problems import SpecError
from sim.study.replication import run_totals
from tests.engine.variations import Generated, generated, generated_plain


def differences(one: Any, other: Any, where: tuple[str, ...] = ()) -> Iterator[str]:
    """Where two totals are not the same to the bit."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for name in one:
            yield from differences(one[name], other[name], (*where, str(name)))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for a, b in zip(one, other, strict=True):
            yield from differences(a, b, where)
    elif one != other or type(one) is not type(other):
        yield f"{'.'.join(where)}: {one} and {other}"


def test_the_totals_of_any_scenario_are_the_same_on_both_engines() -> None:
    checked = []

    @settings(max_examples=125, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(generated() | generated_plain(), st.sampled_from([None, None, "1ms", "7ms"]))
    def check(one: Generated, timeline: str | None) -> None:
        if timeline is not None and "duration" in one.document["workload"]:
            one.document["report"] = {"timeline": timeline}
        with tempfile.TemporaryDirectory() as folder:
            try:
                scenario = one.prepare(Path(folder))
                reference = [run_totals(scenario, 0, cell, Engine.REFERENCE) for cell in range(scenario.cells)]
            except SpecError:
                return
            for cell, totals in enumerate(reference):
                compiled = run_totals(scenario, 0, cell, Engine.COMPILED)
                assert totals.violations == compiled.violations == ()
                assert list(differences(totals.to_json_dict(), compiled.to_json_dict())) == []
        checked.append(one)

    check()
    assert len(checked) >= 100
