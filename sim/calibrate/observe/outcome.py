"""The run directory of a session, in the simulator's format, with the profile that it calibrated."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.observe.fitness import MOST_GAP_NS, MOST_LAG, RULE
from sim.calibrate.observe.layout import Variable
from sim.calibrate.observe.profile import idle_over_busy, noted
from sim.calibrate.observe.session import Session
from sim.calibrate.observe.summary import summarised
from sim.calibrate.profile_folder import write_profile
from sim.calibrate.sample_set import write_sample_csv
from sim.engine.record import RunRecord
from sim.report.figures import plot_run
from sim.report.replications import write_replications
from sim.report.rundir import RunDirectory
from sim.report.table import Report

__all__ = ["observation", "write_session"]


def write_session(
    folder: Path,
    variable: Variable,
    session: Session,
    *,
    provenance: Mapping[str, str | int],
    waiting: str,
    manifest: Mapping[str, Any],
) -> Report:
    """Write everything that a session left, and return what is printed.

    Beside the files of `mprec run` there are ``hwprofiles/`` with the calibrated devices and ``samples-DEVICE.csv.xz``;
    `experiment.yaml` holds the calibrated tables, so that simulating it predicts what was observed.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    variable : Variable
        The experiment.
    session : Session
    provenance, waiting, manifest
        What profiles say of where they come from, how workers waited, and what the manifest says beside.

    Raises
    ------
    RunDirectoryError
        If a file cannot be written.
    """
    directory = RunDirectory(folder)
    first = session.scenarios[0].experiment
    report = _report(folder, session)
    about = observation(session, waiting)
    said = noted(provenance, session.overhead_ns, session.fitness.unfit)
    directory.write_experiment(variable.resolved(session.overrides))
    directory.write_summary(report.to_json_dict() | {"observation": about})
    directory.write_metrics(report.summaries)
    write_replications(folder, report.summaries, report.seed)
    _write_queries(directory, session)
    for one in session.devices:
        planned = session.scenarios[0].plan.groups[one.device.group].devices[one.device.slot]
        text = one.text(said, planned.lanes, planned.memory_bytes)
        write_profile(folder / "hwprofiles", text, [table.rows for table in one.tables], replace=True)
        samples = one.samples.with_about(**{key: str(value) for key, value in said.items()})
        write_sample_csv(folder / f"samples-{one.name}.csv.xz", samples)
    directory.write_manifest(
        {
            "experiment": first.name,
            "seed": first.seed,
            "scenarios": len(session.scenarios),
            "replications": first.replications,
            "observation": about | {"blocks": _blocks(session)},
            **manifest,
        }
    )
    plot_run(folder)
    return report


def observation(session: Session, waiting: str) -> dict[str, Any]:
    """Return what distinguishes a run that was observed from one that was simulated, as plain values."""
    return {
        "fit": not session.fitness.unfit,
        "reasons": list(session.fitness.unfit),
        "waiting": waiting,
        "capacity_per_s": session.capacity_per_s,
        "dispatch_overhead_us": {
            name: {f"p{level:g}": float(np.percentile(times, level)) / 1e3 for level in (50, 90, 99)}
            for name, times in session.overhead_ns.items()
        },
        "idle_over_back_to_back": idle_over_busy(session.calibrations),
        "calibration_error": None if session.own_error is None else session.own_error.to_json_dict(),
        "blocks_set_aside": sum(bool(reason) for reason in session.fitness.reasons),
        "blocks_run": len(session.blocks),
        "rule": asdict(RULE) | {"most_lag": MOST_LAG, "most_gap_ns": MOST_GAP_NS},
    }


def _report(folder: Path, session: Session) -> Report:
    first = session.scenarios[0].experiment
    summaries = []
    for number, scenario in enumerate(session.scenarios):
        # Where nothing is left the disturbed blocks are shown, and the run is called unfit.
        shown = session.kept(number) or range(first.replications)
        records = ((replication, session.observed[number, replication].record) for replication in shown)
        summaries.append(summarised(scenario, "measured", records))
    assumptions = [
        *(line for line in session.scenarios[0].assumptions if not line.startswith("service times of")),
        "observed on a real server; the policy was told the service times of the calibration blocks until then",
        *(f"unfit: {reason}" for reason in session.fitness.unfit),
    ]
    return Report(
        name=first.name,
        model=session.scenarios[0].plan.models[0].model.name,
        percentile=first.report.percentile,
        baseline=first.report.baseline,
        summaries=tuple(summaries),
        assumptions=tuple(dict.fromkeys(assumptions)),
        seed=first.seed,
        out_dir=folder,
    )


def _write_queries(directory: RunDirectory, session: Session) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        files = {}
        for (scenario, replication), seen in sorted(session.observed.items()):
            if replication in session.kept(scenario):
                file = Path(scratch) / f"{scenario}-{replication}.npz"
                np.savez(file, **_columns(seen.record, seen.lag_ns))
                files[scenario, replication, 0] = file
        if files:
            directory.write_queries(files)


def _columns(record: RunRecord, lag_ns: NDArray[np.int64]) -> dict[str, Any]:
    return {
        "arrival_ns": record.arrival_ns,
        "size": record.size,
        "start_ns": record.start_ns,
        "finish_ns": record.finish_ns,
        "node": record.node,
        "path": record.path,
        "outcome": record.outcome,
        "lag_ns": lag_ns,
    }


def _blocks(session: Session) -> list[dict[str, Any]]:
    return [
        asdict(block) | {"set_aside": reason}
        for block, reason in zip(session.blocks, session.fitness.reasons, strict=True)
    ]
