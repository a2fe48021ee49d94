"""What is to be compared: runs that are there, by their directory or name, and experiments that are run for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from sim.report.comparison import check_baseline
from sim.report.differences import Comparison, Side, changed_keys, compare_across, compare_within
from sim.report.json_files import read_summary
from sim.report.replications import ReplicationsOfRun, read_replications
from sim.report.rundir import RunDirectoryError, check_finished, encoded, find_run, is_finished
from sim.spec.problems import Problem, SpecError, nearest_name
from sim.study.runs import RunRequest, perform
from sim.study.scenario import find_experiment, load_scenarios, shipped_experiments
from sim.study.study import Progress, Study

__all__ = ["Compared", "check_draws", "compare_runs", "is_measured", "locate", "obtain", "read_sides", "run_names"]

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Compared:
    """A run or an experiment as it was named, and the scenarios of it that are meant.

    Attributes
    ----------
    path : Path
        A run directory, or the file of an experiment.
    is_run : bool
    name : str
        How it was named.
    label : str or None
        A label of the sweep that scenarios must have.
    """

    path: Path
    is_run: bool
    name: str
    label: str | None


def locate(reference: str) -> Compared:
    """Find what ``REFERENCE`` or ``REFERENCE:LABEL`` names: a run directory, a run under runs/, or an experiment.

    Raises
    ------
    SpecError
        If there is none.
    RunDirectoryError
        If there is only a folder of that name, whose run is not finished or which holds none.
    """
    splits = [end for end, character in enumerate(reference) if character == ":"]
    ways = [(reference[:end], reference[end + 1 :] or None) for end in (len(reference), *splits) if end > 0]
    for name, label in ways:
        for path in (Path(name), Path("runs") / name):
            if is_finished(path):
                return Compared(path, True, name, label)
        if Path(name).is_file() or name in shipped_experiments():
            return Compared(find_experiment(name), False, name, label)
    for name, _ in ways:
        if find_run(name).is_dir():
            check_finished(find_run(name))
    runs = [file.parent.name for file in Path("runs").glob("*/summary.json")]
    names = sorted({*runs, *shipped_experiments()})
    raise SpecError(
        [
            Problem(
                message="no such run or experiment",
                key_path="",
                value=reference,
                allowed="a run directory, the name of one under runs/, an experiment file or one that ships; "
                "each may be followed by :LABEL of its sweep",
                nearest=nearest_name(reference.partition(":")[0], names),
            )
        ]
    )


def run_names(runs: Sequence[tuple[Path, str]]) -> list[str]:
    """Return what to call run directories: as they were named, shortened to the last part where that is clear."""
    short = [Path(name).stem if Path(name).is_file() else Path(name).name or name for _, name in runs]
    if len(set(short)) == len({path.resolve() for path, _ in runs}):
        return short
    return [str(path) for path, _ in runs]


def is_measured(one: Compared) -> bool:
    """Return whether this is a run of a real server, as `mprec calibrate observe` leaves it."""
    return one.is_run and "observation" in read_summary(one.path)


def check_draws(runs: Sequence[Path]) -> None:
    """Refuse runs that are not the same but for their service draws, and so cannot be averaged.

    Raises
    ------
    RunDirectoryError
        If two differ in more, or not at all, or that cannot be told.
    """
    if len(runs) < 2:
        return
    counts = {len(read_summary(run)["scenarios"]) for run in runs}
    if len(counts) > 1:
        raise RunDirectoryError(f"{runs[0]} and the others are not of the same scenarios")
    found = [(run, _experiments(run, *counts)) for run in runs]
    for (run, theirs), (other, ours) in combinations(found, 2):
        if None in theirs or None in ours:
            raise RunDirectoryError(f"whether {run} and {other} are of the same experiment cannot be told any more")
        changed = dict.fromkeys(text for pair in zip(theirs, ours, strict=True) for text in changed_keys(*pair))
        more = [text for text in changed if not text.startswith("service_seed")]
        if more:
            raise RunDirectoryError(f"{run} and {other} cannot be averaged: {', '.join(more)}")
        if not changed:
            raise RunDirectoryError(f"{run} and {other} have the same service draws; give each its own service_seed")


def obtain(
    all_of_them: Sequence[Compared],
    request: RunRequest,
    progress: Progress | None = None,
    tell: Tell = lambda _line: None,
) -> list[Path]:
    """Run the experiments among what is compared, and return all run directories.

    Experiments get the seed and the number of replications of the first that is named, unless the request says
    otherwise, so that they can be paired.

    Parameters
    ----------
    all_of_them : sequence of Compared
    request : RunRequest
        What else is asked of the runs; its `experiment` and `out` do not count. With `resume` a run of the same that
        was interrupted goes on.
    progress, tell : callable
        As in `sim.study.runs.perform`.

    Raises
    ------
    SpecError, RunDirectoryError, WorkerLost, InvariantError
        As in `sim.study.runs.perform`. All experiments are read before any is run.
    """
    seed, replications = _in_common(all_of_them[0], request)
    common = replace(request, seed=seed, replications=replications)
    problems: list[Problem] = []
    for one in all_of_them:
        if not one.is_run:
            try:
                _study(one, common)
            except SpecError as error:
                problems += error.problems
    if problems:
        raise SpecError(problems)
    return [one.path if one.is_run else _run(one, common, progress, tell) for one in all_of_them]


def _in_common(first: Compared, request: RunRequest) -> tuple[int | None, int | None]:
    """Return the seed and the number of replications that every experiment gets."""
    if first.is_run:
        kept = _replications(first.path)
        seed, replications = kept.seed, max(len(one.numbers) for one in kept.scenarios)
    else:
        overrides = request.overrides
        scenario = load_scenarios(str(first.path), overrides, seed=request.seed, replications=request.replications)[0]
        seed, replications = scenario.experiment.seed, scenario.experiment.replications
    return (
        seed if request.seed is None else request.seed,
        replications if request.replications is None else request.replications,
    )


def _study(one: Compared, request: RunRequest) -> Study:
    return Study.of(
        load_scenarios(str(one.path), request.overrides, seed=request.seed, replications=request.replications)
    )


def _run(one: Compared, request: RunRequest, progress: Progress | None, tell: Tell) -> Path:
    out = _unfinished(one, request) if request.resume else None
    asked = replace(request, experiment=str(one.path), out=out, resume=out is not None)
    finished = perform(asked, progress, tell)
    tell(f"{one.name}: run in {finished.directory}")
    return finished.directory


def _unfinished(one: Compared, request: RunRequest) -> Path | None:
    """Return the run directory where exactly this was interrupted; None if there is none."""
    fingerprint = _study(one, request).fingerprint
    for marker in sorted(Path("runs").glob(f"{one.path.stem}*/replications/fingerprint")):
        if marker.read_text(encoding="utf-8") == fingerprint:
            return marker.parent.parent
    return None


def _replications(run: Path) -> ReplicationsOfRun:
    kept = read_replications(run)
    if kept is None:
        raise RunDirectoryError(
            f"{run} was made by a version that kept no values by replication; run {run / 'experiment.yaml'} again"
        )
    return kept


def read_sides(run: Path, name: str, labels: Sequence[str] = ()) -> list[Side]:
    """Return the scenarios of a run directory that have all of these labels.

    Raises
    ------
    RunDirectoryError
        If it cannot be read, or is of a version that kept no values by replication.
    SpecError
        If no scenario has them.
    """
    # No font has what of a folder's name is no text.
    name = encoded(name).decode()
    summary, kept = read_summary(run), _replications(run)
    if len(kept.scenarios) != len(summary["scenarios"]):
        raise RunDirectoryError(f"{run}: summary.json and replications.json are not of the same run")
    experiments = _experiments(run, len(kept.scenarios))
    sides = [
        Side.of(name, entry, own, seed=kept.seed, percentile=summary["percentile"], experiment=experiment)
        for entry, own, experiment in zip(summary["scenarios"], kept.scenarios, experiments, strict=True)
    ]
    for label in labels:
        sides = _labelled(sides, name, label)
    return sides


def _labelled(sides: Sequence[Side], name: str, label: str) -> list[Side]:
    chosen = [
        replace(side, chosen=side.chosen | {key for key, value in side.parameters.items() if str(value) == label})
        for side in sides
        if label in (side.label, *map(str, side.parameters.values()))
    ]
    if not chosen:
        known = list(dict.fromkeys(str(value) for side in sides for value in side.parameters.values()))
        allowed = ", ".join(known) or "none: it has no sweep"
        message = f"no scenario of {name} is called that"
        raise SpecError([Problem(message, value=label, allowed=allowed, nearest=nearest_name(label, known))])
    return chosen


def _experiments(run: Path, scenarios: int) -> list[dict[str, Any] | None]:
    """Return every scenario of a run as plain values; None where its file says something else by now."""
    try:
        found = load_scenarios(str(run / "experiment.yaml"))
    except (SpecError, OSError):
        found = []
    if len(found) != scenarios:
        return [None] * scenarios
    return [one.experiment.model_dump(mode="json", by_alias=True, exclude_none=True) for one in found]


def compare_runs(
    runs: Sequence[tuple[Path, str, Sequence[str]]], *, baseline: str | None = None, confidence: float | None = None
) -> tuple[list[Comparison], list[str]]:
    """Compare runs with the first, or the scenarios of one run with a baseline.

    Parameters
    ----------
    runs : sequence of (Path, str, sequence of str)
        Run directories, what each is called, and the labels that its scenarios must have.
    baseline : str, optional
        Of one run alone: a label of its sweep; by default its own `report.baseline`.
    confidence : float, optional
        Of the intervals, within (0, 1); by default the first run's own.

    Returns
    -------
    list of Comparison
    list of str
        What is not compared.

    Raises
    ------
    RunDirectoryError
        If a run cannot be read.
    SpecError
        If nothing can be compared, or a label or the baseline is not there.
    """
    (first, name, labels), *others = runs
    sides = read_sides(first, name, labels)
    if not others:
        return _within(first, name, sides, baseline, confidence), []
    found: list[Comparison] = []
    alone: list[str] = []
    for path, other, other_labels in others:
        theirs = read_sides(path, other, other_labels)
        some, rest = compare_across(sides, theirs, confidence)
        if not some:
            message = f"{name} and {other} have no scenario in common: {'; '.join(rest)}"
            raise SpecError([Problem(message, allowed="equal parameters, or one scenario each, as by NAME:LABEL")])
        found += some
        alone += rest
    return found, alone


def _within(
    run: Path, name: str, sides: Sequence[Side], baseline: str | None, confidence: float | None
) -> list[Comparison]:
    chosen = read_summary(run).get("baseline") if baseline is None else baseline
    labels = ", ".join(dict.fromkeys(str(value) for side in sides for value in side.parameters.values()))
    allowed = f"--baseline with one of: {labels}" if labels else "another run to compare it with: it has no sweep"
    if chosen is None:
        raise SpecError([Problem(f"{name} alone has nothing to be compared with", allowed=allowed)])
    try:
        check_baseline([side.parameters for side in sides], chosen)
    except ValueError as error:
        raise SpecError([Problem(str(error), value=chosen, key_path="--baseline")]) from error
    found = compare_within(sides, chosen, confidence)
    if not found:
        raise SpecError(
            [Problem(f"no scenario of {name} differs from the baseline only", value=chosen, allowed=allowed)]
        )
    return found
