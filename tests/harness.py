"""Runs a scenario given as YAML text and returns its record: the whole chain but the command line."""

from __future__ import annotations

from pathlib import Path

from sim.engine.record import RunRecord
from sim.study.prepare import PreparedScenario, prepare
from sim.study.replication import run_record
from sim.study.scenario import load_scenarios


def write_trace(folder: Path, stamps_us: list[float], name: str = "arrivals.csv") -> Path:
    """Write arrival times in microseconds to a trace file."""
    file = folder / name
    file.write_text("time\n" + "".join(f"{stamp}\n" for stamp in stamps_us))
    return file


def prepare_text(folder: Path, text: str) -> list[PreparedScenario]:
    file = folder / "experiment.yaml"
    file.write_text(text)
    return list(prepare(load_scenarios(str(file))))


def run_text(folder: Path, text: str, replication: int = 0) -> RunRecord:
    (scenario,) = prepare_text(folder, text)
    return run_record(scenario, replication)
