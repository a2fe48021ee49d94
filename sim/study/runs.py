"""A run from start to end: the experiment's file in, a run directory out."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from sim._version import __version__
from sim.report.figures import plot_run
from sim.report.replications import write_replications
from sim.report.rundir import RunDirectory, RunDirectoryError, check_writable
from sim.report.table import Report
from sim.report.warmup_file import write_warmup
from sim.spec.experiment import Experiment
from sim.spec.files import file_paths, find_file
from sim.spec.scenario import labelled
from sim.study.checkpoint import Checkpoint
from sim.study.engines import EngineChoice, choose_engines
from sim.study.executor import open_executor
from sim.study.planning import check_baseline_named
from sim.study.scenario import Scenario, find_experiment, load_scenarios
from sim.study.store import ResultStore, store_folder, taken_line
from sim.study.study import Progress, Study, StudyResult
from sim.study.trace import TraceRequest, take_trace

__all__ = [
    "DirectoryInUse",
    "FinishedRun",
    "RunRequest",
    "free_directory",
    "manifest_of",
    "model_names",
    "perform",
    "resolved_experiment",
    "write_results",
]

KEPT_QUERIES = 500_000
"""`report.queries: auto` keeps per-query records of runs up to this many queries."""

PACKAGES = ("mprec-sim", "numpy", "scipy", "simpy", "numba", "pydantic", "matplotlib")


class DirectoryInUse(ValueError):
    """The run directory asked for holds something else, or cannot be written to."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What was asked for.

    Attributes
    ----------
    experiment : str
        Path, or name of an experiment that ships.
    overrides : tuple of str
        ``key.path=value``.
    out : Path or None
        Run directory; by default the first free of runs/NAME, runs/NAME-2, ...
    seed, replications : int or None
        Instead of the file's.
    jobs : int or None
        Processes; by default as many as there are cores, where the work is worth starting them.
    resume : bool
        Go on with what the run directory holds.
    engine : str
        ``reference``, ``compiled``, or ``auto`` for whichever is expected to be done first.
    figures : bool
        Draw them; ``mprec plot`` can do so later.
    cluster : str or None
        Address of a Dask cluster that runs it; see `sim.study.cluster.DaskCluster`.
    store : str or None
        Folder of finished results, ``none``, or what the environment says; see `sim.study.store.store_folder`.
    trace : TraceRequest or None
        A window of a replication to be written to ``trace.json``.
    """

    experiment: str
    overrides: tuple[str, ...] = ()
    out: Path | None = None
    seed: int | None = None
    replications: int | None = None
    jobs: int | None = None
    resume: bool = False
    engine: EngineChoice = "auto"
    figures: bool = True
    cluster: str | None = None
    store: str | None = None
    trace: TraceRequest | None = None


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A completed run: where it is and what it says."""

    directory: Path
    report: Report


def _tell_nobody(_line: str) -> None:
    pass


def perform(
    request: RunRequest, progress: Progress | None = None, tell: Callable[[str], None] = _tell_nobody
) -> FinishedRun:
    """Run an experiment into a run directory.

    Nothing is written before everything is known to be valid. If the run is interrupted, the directory keeps the
    replications that are finished, and the same request with `resume` completes it.

    Parameters
    ----------
    request : RunRequest
    progress : callable, optional
    tell : callable
        ``tell(line)`` is told what takes long before anything is simulated, and which engine cannot be used.

    Raises
    ------
    SpecError
        If the experiment is not valid.
    DirectoryInUse
        If the run directory holds other things.
    CheckpointMismatch
        If what is to be resumed was another experiment.
    InvariantError
        If a replication breaks a law of queueing.
    WorkerLost
        If a process dies.
    RunDirectoryError
        If a file cannot be written.
    BadClusterAddress, ClusterError
        If there is no such cluster.
    """
    started = datetime.now(UTC)
    wall_s, cpu_s = time.perf_counter(), _cpu_s()
    scenarios = load_scenarios(
        request.experiment, request.overrides, seed=request.seed, replications=request.replications
    )
    check_baseline_named(scenarios)
    study = Study.of(scenarios)
    directory = RunDirectory(
        free_directory(request.out, find_experiment(request.experiment).stem, resume=request.resume)
    )
    checkpoint = Checkpoint(directory.path / "replications", study.fingerprint)
    trace = None if request.trace is None else take_trace(request.trace, study.prepared)
    keep = _keeps_records(study)
    folder = store_folder(request.store)
    store = None if folder is None else ResultStore(folder, tell=tell)
    with checkpoint.kept():
        with open_executor(request.jobs, request.cluster, tell) as executor:
            engines = choose_engines(
                request.engine,
                study.prepared,
                jobs=min(executor.workers, study.most_tasks),
                tell=tell,
                elsewhere=executor.is_elsewhere,
            )
            result = study.run(
                checkpoint,
                store=store,
                executor=executor,
                keep_records=keep,
                engines=engines,
                progress=progress,
                tell=tell,
            )
        if store is not None:
            store.trim()
        if result.stored:
            what = "cell" if any(scenario.cells > 1 for scenario in study.prepared) else "replication"
            tell(taken_line(result.stored, what, folder))
        report = write_results(directory, study, result)
        if request.figures:
            plot_run(directory.path)
        if trace is not None:
            directory.write_trace(trace.text)
        directory.write_manifest(
            {
                **manifest_of(study, result),
                "engines": result.engines,
                "stored": result.stored,
                **({} if trace is None else {"trace": trace.about}),
                "command": ["mprec", *sys.argv[1:]],
                "started": started.isoformat(timespec="seconds"),
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
                "wall_s": round(time.perf_counter() - wall_s, 3),
                "cpu_s": round(_cpu_s() - cpu_s, 3),
            }
        )
        checkpoint.remove()
    return FinishedRun(directory.path, report)


def free_directory(out: Path | None, name: str, *, resume: bool) -> Path:
    """Return a run directory, which is new, empty, or to be resumed.

    Parameters
    ----------
    out : Path or None
        The one that is asked for; by default the first free of runs/NAME, runs/NAME-2, ...
    name : str
    resume : bool
        Whether one that was interrupted is to be gone on with.

    Raises
    ------
    DirectoryInUse
        If the one asked for holds other things or cannot be written to, or there is none to resume.
    """
    try:
        path = _free_directory(out, name, resume)
        check_writable(path)
    except RunDirectoryError as error:
        raise DirectoryInUse(f"{error}; choose another --out") from error
    except OSError as error:
        # A name that no system has, or a folder that may not be read.
        raise DirectoryInUse(f"{error.filename}: {error.strerror}; choose another --out") from error
    return path


def _free_directory(out: Path | None, name: str, resume: bool) -> Path:
    if out is not None:
        path = out
        if path.exists() and not path.is_dir():
            raise DirectoryInUse(f"{path} is a file; choose another --out")
        begun = _is_unfinished(path)
        if path.is_dir() and any(path.iterdir()) and not (resume and begun):
            if begun:
                raise DirectoryInUse(f"{path} is not empty; --resume completes an interrupted run there")
            none = " and holds no interrupted run to resume" if resume else ""
            raise DirectoryInUse(f"{path} is not empty{none}; choose another --out")
        return path
    taken = []
    for number in count(1):
        path = Path("runs") / (name if number == 1 else f"{name}-{number}")
        if not path.exists():
            break
        taken.append(path)
    if not resume:
        return path
    unfinished = [former for former in taken if _is_unfinished(former)]
    if not unfinished:
        raise DirectoryInUse(
            f"there is no interrupted run of {name} under runs/ to resume; "
            "name it with --out, or begin one without --resume"
        )
    return unfinished[-1]


def _is_unfinished(path: Path) -> bool:
    return (path / "replications" / "fingerprint").exists()


def _keeps_records(study: Study) -> bool:
    choice = study.scenarios[0].experiment.report.queries
    if choice != "auto":
        return choice == "always"
    return sum(scenario.expected_queries * scenario.most_replications for scenario in study.prepared) <= KEPT_QUERIES


def write_results(directory: RunDirectory, study: Study, result: StudyResult) -> Report:
    """Write everything but the figures and the manifest; return what is printed."""
    first = study.scenarios[0].experiment
    report = Report(
        name=first.name,
        model=", ".join(model_names(first)),
        percentile=first.report.percentile,
        baseline=first.report.baseline,
        summaries=result.summaries,
        assumptions=study.assumptions,
        seed=first.seed,
        out_dir=directory.path,
    )
    directory.write_experiment(resolved_experiment(study.scenarios))
    directory.write_summary(report.to_json_dict())
    directory.write_metrics(result.summaries)
    write_replications(directory.path, result.summaries, first.seed)
    if all(summary.timeline is not None for summary in result.summaries):
        directory.write_timeline(result.summaries)
    write_warmup(directory.path, result.summaries)
    if result.records:
        directory.write_queries(result.records)
    return report


def model_names(experiment: Experiment) -> list[str]:
    """Return the names of the models that are asked, each once."""
    asked = [experiment.model if one.model is None else one.model for one in experiment.classes or ()]
    asked = asked or [experiment.model]
    return list(dict.fromkeys(model if isinstance(model, str) else model.name or "inline" for model in asked))


def resolved_experiment(scenarios: Sequence[Scenario]) -> str:
    """Return the experiment as YAML that says everything: what was extended, set and left to defaults.

    It runs as it is: files of traces, of IDs, of profiles and of models are named by their whole path. The comment that
    its file begins with is kept.
    """
    scenario = scenarios[0]
    content = scenario.experiment.model_dump(mode="json", by_alias=True, exclude_none=True)
    if scenario.sweep is not None:
        content["sweep"] = deepcopy(scenario.sweep)
        for axis in {path[1]: None for path in file_paths({"sweep": scenario.sweep})}:
            # By labels, so that they stay as they are.
            content["sweep"][axis] = dict(labelled(content["sweep"][axis]))
    for path in list(file_paths(content)):
        holder: Any = content
        for step in path[:-1]:
            holder = holder[step]
        file = find_file(holder[path[-1]], scenario.base_dir)
        if file is not None:
            holder[path[-1]] = str(file.resolve())
    comment = "".join(f"# {line}\n" if line else "#\n" for line in scenario.comment)
    return comment + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


def manifest_of(study: Study, result: StudyResult) -> dict[str, Any]:
    """Return what a run was made with, but for its command and times."""
    return {
        "experiment": study.scenarios[0].experiment.name,
        "seed": study.scenarios[0].experiment.seed,
        "replications": study.scenarios[0].experiment.replications,
        "scenarios": len(study.scenarios),
        "queries": result.queries,
        "fingerprint": study.fingerprint,
        "profiles": study.profiles,
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "platform": platform.platform(),
    }


def _version(package: str) -> str | None:
    if package == "mprec-sim":
        return __version__
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu_s() -> float:
    """Return the CPU time of this process and of its finished children, in seconds."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
