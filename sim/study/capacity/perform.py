"""A capacity search from start to end: the experiment's file in, an answer with its files out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sim.report.capacity import CapacityReport, Ranking, RunnerUp, points_csv, ranked, shown, weakest
from sim.report.rundir import RunDirectory
from sim.report.written import duration_text
from sim.spec.problems import Problem, SpecError
from sim.spec.scenario import load_experiment
from sim.stats.decision import Decision
from sim.stats.interval import paired_difference
from sim.study.capacity.answers import Found, answer, more_never_hurts
from sim.study.capacity.fleet import FleetScale
from sim.study.capacity.looking import Point
from sim.study.capacity.question import By, Find, Question
from sim.study.engines import EngineChoice
from sim.study.evaluation import Evaluator
from sim.study.executor import Executor
from sim.study.runs import free_directory, model_names, resolved_experiment
from sim.study.scenario import find_experiment
from sim.study.store import ResultStore, store_folder, taken_line

__all__ = ["CapacityRequest", "FinishedSearch", "find_capacity", "perform_capacity"]

EXPECTED_REPLICATIONS = 400
"""About what a search runs of a scenario; what compiling is weighed against."""


@dataclass(frozen=True, slots=True)
class CapacityRequest:
    """What was asked for.

    Attributes
    ----------
    experiment : str
        Path, or name of an experiment that ships.
    question : Question
    overrides : tuple of str
        ``key.path=value``.
    out : Path or None
        Directory of the answer; by default the first free of runs/NAME-capacity, runs/NAME-capacity-2, ...
    seed, jobs : int or None
    engine : str
    cluster : str or None
        Address of a Dask cluster that runs it.
    store : str or None
        Folder of finished results, ``none``, or what the environment says.
    """

    experiment: str
    question: Question
    overrides: tuple[str, ...] = ()
    out: Path | None = None
    seed: int | None = None
    jobs: int | None = None
    engine: EngineChoice = "auto"
    cluster: str | None = None
    store: str | None = None


@dataclass(frozen=True, slots=True)
class FinishedSearch:
    """A completed search: where it is, what it says, and what it took."""

    directory: Path
    report: CapacityReport
    replications: int
    queries: int


def _tell_nobody(_line: str) -> None:
    pass


def perform_capacity(request: CapacityRequest, tell: Callable[[str], None] = _tell_nobody) -> FinishedSearch:
    """Answer a capacity question, and write the answer into a directory when it is complete.

    Parameters
    ----------
    request : CapacityRequest
    tell : callable
        ``tell(line)`` is told what is known so far, and what takes long.

    Raises
    ------
    SpecError
        If the experiment is not valid, or the question does not fit it.
    DirectoryInUse
        If the directory holds other things.
    InvariantError
        If a replication breaks a law of queueing.
    WorkerLost
        If a process dies.
    RunDirectoryError
        If a file cannot be written.
    BadClusterAddress, ClusterError
        If there is no such cluster.
    """
    path = free_directory(request.out, f"{find_experiment(request.experiment).stem}-capacity", resume=False)
    folder = store_folder(request.store)
    store = None if folder is None else ResultStore(folder, tell=tell)
    executor = _cluster(request, tell)
    try:
        with _evaluator(request, executor, store, tell) as evaluator:
            report = find_capacity(evaluator, request.question, tell)
            experiment = resolved_experiment([evaluator.scenario((), i) for i in range(len(evaluator.points))])
            run, queries = evaluator.replications_run, evaluator.queries_run
            stored = evaluator.replications_stored
    finally:
        if executor is not None:
            executor.close()
        if store is not None:
            store.trim()
    if stored:
        tell(taken_line(stored, "replication", folder))
    report = replace(report, out_dir=path)
    directory = RunDirectory(path)
    directory.write_experiment(experiment)
    directory.write_text("points.csv", points_csv(report))
    from sim.report.figures.capacity import plot_capacity

    plot_capacity(report, path / "figures")
    directory.write_json("capacity.json", report.to_json_dict())
    return FinishedSearch(path, report, run, queries)


def find_capacity(
    evaluator: Evaluator, question: Question, tell: Callable[[str], None] = _tell_nobody
) -> CapacityReport:
    """Answer a capacity question for every scenario of an experiment.

    Parameters
    ----------
    evaluator : Evaluator
        Its points are the scenarios.
    question : Question
    tell : callable
        ``tell(line)`` is told of every look.

    Raises
    ------
    SpecError
        If a scenario is not valid, or the question does not fit it.
    """
    scenarios = [evaluator.scenario((), i) for i in range(len(evaluator.points))]
    prepared = [evaluator.prepared((), i) for i in range(len(evaluator.points))]
    if question.find is Find.NODES:
        scale = FleetScale.of(scenarios[0], question.groups)
        question = replace(question, groups=scale.groups)
    if question.by is not None and (question.find is not Find.NODES or len(question.groups) == 1):
        what = "a single node group" if question.find is Find.NODES else f"the {question.find}"
        raise SpecError(
            [
                Problem(
                    f"{what} has no mixes of nodes to tell apart by {question.by}",
                    key_path="--by",
                    allowed="--find nodes with several groups",
                )
            ]
        )

    def told(scenario: int, point: Point, nodes: dict[str, int]) -> None:
        label = ", ".join(str(value) for value in prepared[scenario].parameters.values())
        tell(_line(label, question, point, nodes))

    found = [answer(evaluator, i, question, told) for i in range(len(evaluator.points))]
    first = scenarios[0].experiment
    slas = dict.fromkeys(
        duration_text(sla / 1e6)
        for scenario in scenarios
        for sla in [one.sla or scenario.experiment.sla for one in scenario.experiment.classes or ()]
        or [scenario.experiment.sla]
    )
    report = CapacityReport(
        name=first.name,
        model=", ".join(model_names(first)),
        find=question.find.value,
        percentile=first.report.percentile,
        slas=tuple(slas),
        attainment=question.attainment,
        confidence=question.confidence,
        tolerance=question.tolerance,
        by=(question.by or By.PRICE).value if len(question.groups) > 1 else "",
        answers=tuple(one.answer for one in found),
        rankings=ranked([one.answer for one in found], question.find.value),
        assumptions=_assumptions(evaluator, question, found),
        evidence=weakest([one.evidence for one in prepared]),
        seed=first.seed,
        out_dir=None,
    )
    rankings = (replace(one, runner_up=_runner_up(report, one, found)) for one in report.rankings)
    return replace(report, rankings=tuple(rankings))


def _line(label: str, question: Question, point: Point, nodes: dict[str, int]) -> str:
    judgement = point.judgement
    where = f"{label}: " if label else ""
    value = " + ".join(f"{number} {group}" for group, number in nodes.items() if number)
    value = value or shown(question.find.value, point.value)
    bounds = ""
    if judgement.excess is not None and judgement.low is not None and judgement.high is not None:
        bounds = f", {judgement.excess:.3g} of the limit [{judgement.low:.3g}, {judgement.high:.3g}]"
    decision = "open" if point.decision is Decision.OPEN else point.decision.value
    return f"{where}{value} {decision}{bounds}; {point.replications} x {point.queries:,.0f} queries"


def _assumptions(evaluator: Evaluator, question: Question, found: Sequence[Found]) -> tuple[str, ...]:
    lines = [line for i in range(len(evaluator.points)) for line in evaluator.prepared((), i).assumptions]
    experiments = [one.looker.experiment for one in found]
    if question.find is Find.NODES and (len(question.groups) == 1 or any(more_never_hurts(one) for one in experiments)):
        lines.append("it is taken that a node more never hurts: fleets that this decides were not run")
    harder = {Find.RATE: "higher load", Find.SLA: "tighter SLA"}.get(question.find)
    if question.find is not Find.NODES:
        lines.append(f"what is missed is taken to be missed at every {harder} too")
    if any(one.looker.steady for one in found):
        lines.append("the load is steady, so runs are made as long as the answer needs, whatever the file says")
    if any(not one.looker.steady for one in found):
        lines.append(
            "load or fleet change with time, so the run as it is written is what is asked about: its percentile, as a "
            "mean over replications"
        )
    return tuple(dict.fromkeys(lines))


def _runner_up(report: CapacityReport, ranking: Ranking, found: Sequence[Found]) -> RunnerUp | None:
    """Set the second of a ranking beside the first, at the value that the first was proved to meet."""
    if len(ranking.order) < 2 or report.by:
        return None
    first, second = ranking.order[:2]
    best, other = found[first], found[second]
    assert best.best is not None and best.answer.meets is not None
    misses = other.answer.misses
    told_apart = misses is not None and (
        misses <= best.answer.meets if report.find == "rate" else misses >= best.answer.meets
    )
    # The tightest SLA may be a percentile, at which nothing was run.
    at = best.best.value if report.find == "sla" else best.answer.meets
    theirs, saturated = other.looker.latency_ms(at, best.best)
    mine = best.best.judgement.latency_ms
    pair = None
    if theirs is not None and mine is not None and not saturated:
        pair = paired_difference(theirs, mine)
    return RunnerUp(first, second, told_apart, at, pair, saturated)


def _evaluator(
    request: CapacityRequest, executor: Executor | None, store: ResultStore | None, tell: Callable[[str], None]
) -> Evaluator:
    return Evaluator(
        request.experiment,
        request.overrides,
        seed=request.seed,
        executor=executor,
        jobs=request.jobs,
        engine=request.engine,
        expected_replications=EXPECTED_REPLICATIONS,
        store=store,
        most_recorded=0,
        leave_out=_swept(request),
        tell=tell,
    )


def _swept(request: CapacityRequest) -> list[str]:
    """Return the axes of the sweep that the search takes the place of."""
    given = [*request.overrides, *([] if request.seed is None else [f"seed={request.seed}"])]
    sweep = load_experiment(find_experiment(request.experiment), given).child("sweep")
    if sweep is None or not isinstance(sweep.value, dict):
        return []
    pattern = {
        Find.RATE: r"(classes\.[^.]+\.)?workload\.arrivals\.rate",
        Find.NODES: r"fleet\.[^.]+\.count",
        Find.SLA: r"sla",
    }[request.question.find]
    return [axis for axis in sweep.value if re.fullmatch(pattern, axis)]


def _cluster(request: CapacityRequest, tell: Callable[[str], None]) -> Executor | None:
    if request.cluster is None:
        return None
    from sim.study.cluster import DaskCluster

    return DaskCluster(request.cluster, tell)
