"""Run directories of every shape, written from made-up summaries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sim.report.rundir import RunDirectory
from sim.report.table import Report
from sim.stats.classes import ClassSummary
from sim.stats.merge import CurvePoint
from sim.stats.summary import ScenarioSummary
from tests.report.test_report import summary

HOSTILE = "<b>\"R&D\"</b> 'a' <script>console.error(1)</script>"

DRAWN = """<?xml version="1.0" encoding="utf-8"?>
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="300pt" height="150pt"
 viewBox="0 0 300 150"><title>How long is a line?</title><defs><style type="text/css">*{stroke-linejoin: round}</style>
<path id="dot" d="M 0 0 L 9 9"/><clipPath id="box"><rect width="300" height="150"/></clipPath></defs>
<g clip-path="url(#box)"><use xlink:href="#dot" x="20" y="20" style="stroke: #000000"/>
<path d="M 10 140 L 290 10" style="fill: none; stroke: #0072B2"/></g></svg>
"""

CURVE = tuple(CurvePoint(p, ms, 0.9 * ms, 1.1 * ms) for p, ms in ((0.5, 2.0), (0.9, 4.0), (0.99, 5.0)))

PROVENANCE = "source: a bench\nlicence: MIT\nnotes: " + "a long note without end " * 30


def write(
    folder: Path,
    summaries: Sequence[ScenarioSummary],
    *,
    name: str = "A made-up run",
    baseline: Any = None,
    comment: str = "# What is asked?\n",
    draw: bool = False,
) -> Path:
    """Write a run directory; with one small figure, unless `draw` leaves them to be drawn."""
    run = RunDirectory(folder)
    report = Report(
        name=name,
        model="dlrm",
        percentile="p99",
        baseline=baseline,
        summaries=tuple(summaries),
        assumptions=("service times of cpu are modelled, not measured", f"{name} is taken to be right"),
        seed=1,
        out_dir=folder,
    )
    run.write_summary(report.to_json_dict())
    run.write_experiment(f"{comment}name: made up\nlong: {'x' * 300}\n")
    run.write_manifest(
        {
            "command": ["mprec", "run", "made up.yaml", "--set", "sla=5ms"],
            "versions": {"python": "3.13", "numpy": "2.0"},
            "profiles": {name: {"content_hash": "0f" * 32, "evidence": "measured", "provenance": PROVENANCE}},
            "fingerprint": "ab" * 32,
            "queries": 123456,
        }
    )
    if not draw:
        (folder / "figures").mkdir()
        (folder / "figures" / "line.svg").write_text(DRAWN)
        (folder / "figures" / "another-line.svg").write_text(DRAWN)
    return folder


def steady(parameters: dict[str, Any], p99_ms: float = 5.0) -> ScenarioSummary:
    return replace(summary(parameters, p99_ms), percentile_curve=CURVE)


def one_scenario(folder: Path) -> Path:
    return write(folder, [steady({})])


def sweep(folder: Path) -> Path:
    grid = [{"policy": p, "workload.arrivals.rate": r} for p in ("base", "other") for r in ("1/s", "2/s")]
    last = summary(grid[3], None, saturated=True)
    return write(folder, [*(steady(one) for one in grid[:3]), last], baseline="base", draw=True)


def with_classes(folder: Path) -> Path:
    scenarios = []
    for order in ("fifo", "earliest-deadline"):
        one = steady({"queue.order": order})
        classes = {
            name: ClassSummary(
                sla_ms=sla_ms,
                saturation=one.saturation,
                counts=one.counts,
                dropped_by_reason={"queue-full": 3},
                measured=one.measured,
                metrics=one.metrics,
                path_mix=one.path_mix,
                waiting_parts=one.waiting_parts,
                percentile_curve=CURVE,
            )
            for name, sla_ms in (("ranking", 4.0), ("filtering", 9.0))
        }
        scenarios.append(replace(one, classes=classes))
    return write(folder, scenarios)


def all_saturated(folder: Path) -> Path:
    return write(folder, [summary({"policy": name}, None, saturated=True) for name in ("a", "b")])


def a_hundred(folder: Path) -> Path:
    scenarios = [
        steady({"policy": f"a policy whose name is long, number {i}", "rate": f"{100 * j}/s"}, 4.0 + i)
        for i in range(10)
        for j in range(1, 11)
    ]
    return write(folder, scenarios, comment="")


def named_like_html(folder: Path) -> Path:
    return write(
        folder, [steady({"policy": HOSTILE, HOSTILE: "$title ${style}"})], name=HOSTILE, comment=f"# {HOSTILE}\n"
    )


SHAPES: dict[str, Callable[[Path], Path]] = {
    "one scenario": one_scenario,
    "sweep": sweep,
    "classes": with_classes,
    "all saturated": all_saturated,
    "a hundred": a_hundred,
    "named like HTML": named_like_html,
}
