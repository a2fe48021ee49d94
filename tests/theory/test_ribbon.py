"""Another simulator's published results: Ribbon's look-up table of instance mixes for MT-WND (SC 2021).

The expected figures are in `tests/data/ribbon_mtwnd_expected.json`, with their source.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from sim.engine.engines import Engine
from sim.profile.library import data_dir
from sim.study.prepare import prepare
from sim.study.scenario import load_scenarios
from tests.harness import differences, run_record

EXPECTED = json.loads((Path(__file__).parents[1] / "data" / "ribbon_mtwnd_expected.json").read_text())
MOST_ON_AVERAGE = 1.0
"""Percentage points of queries within the QoS."""

EACH_ON_REFERENCE = 5
"""The reference engine runs one mix in so many itself, a third of a second each."""


def within_qos_percent(mix: list[int], on_reference: bool) -> float:
    """Run `ribbon-mtwnd.yaml` with another mix of instances; its fleet holds all three types in their order.

    On the reference engine, too, if asked, which must leave the compiled one's record.
    """
    counts = [(name, count) for name, count in zip(EXPECTED["types"], mix, strict=True) if count]
    fleet = ", ".join(
        f"{{name: {name.split('.')[0]}, count: {count}, devices: {{instance: {{profile: ribbon-{name}, beyond: linear, "
        f"size_step: ceil, round_to: 1ms}}}}}}"
        for name, count in counts
    )
    overrides = ["sweep={}", f"fleet=[{fleet}]", "report={}"]
    (scenario,) = prepare(load_scenarios("ribbon-mtwnd", overrides, replications=1))
    record = run_record(scenario, 0, engine=Engine.COMPILED)
    assert not on_reference or not differences(run_record(scenario, 0, engine=Engine.REFERENCE), record)
    assert len(record.arrival_ns) == 10_000
    return 100 * float(
        np.mean((record.finish_ns >= 0) & (record.finish_ns - record.arrival_ns <= scenario.view.sla_ns))
    )


def test_published_instance_mixes(engine: Engine) -> None:
    mixes = EXPECTED["mixes"]
    assert len(mixes) >= 100
    points = {}
    for number, mix in enumerate(mixes):
        on_reference = engine is Engine.REFERENCE and number % EACH_ON_REFERENCE == 0
        points[tuple(mix["instances"])] = within_qos_percent(mix["instances"], on_reference) - mix["within_qos_percent"]
    sizes = np.abs(list(points.values()))
    worst = max(points, key=lambda mix: abs(points[mix]))
    print(f"{len(mixes)} mixes: mean {sizes.mean():.3f} points, worst {points[worst]:+.2f} at {worst}")
    assert sizes.mean() < MOST_ON_AVERAGE


def test_the_shipped_experiment_is_the_published_set_up() -> None:
    text = (data_dir("experiments") / "ribbon-mtwnd.yaml").read_text()
    assert "integer-poisson-ms" in text and "kind: late" in text and "sla: 21ms" in text
