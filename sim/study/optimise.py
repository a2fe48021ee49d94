"""A search over designs from start to end: an experiment file in, a front and a run directory a point out."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sim._version import __version__
from sim.engine.audit import InvariantError
from sim.report.designs import DesignPoint, DesignReport
from sim.report.rundir import RunDirectory, encoded, written_whole
from sim.report.table import EVIDENCE
from sim.spec.design_space import Design
from sim.spec.problems import SpecError
from sim.stats.dominance import Contender, in_steps, stand
from sim.stats.merge import Metric
from sim.stats.summary import ReplicationResult
from sim.study.checkpoint import Checkpoint
from sim.study.cluster import ClusterError
from sim.study.design_check import DesignQuestion, read_question
from sim.study.design_search import Learnt, search
from sim.study.engines import EngineChoice
from sim.study.evaluation import Asked, Evaluated, Evaluator
from sim.study.executor import open_executor
from sim.study.objectives import Met, all_metrics
from sim.study.runs import DirectoryInUse, free_directory, manifest_of, model_names, write_results
from sim.study.scenario import find_experiment
from sim.study.store import ResultStore, store_folder, taken_line
from sim.study.study import Progress, Study, StudyResult
from sim.study.workers import WorkerLost

__all__ = ["FinishedSearch", "SearchRequest", "perform_search"]

LOST_WITH_THE_SEARCH = (SpecError, WorkerLost, ClusterError, OSError, MemoryError)
"""What ends a search; any other exception is one design's own."""


SIGNIFICANT = 11
"""Digits of an objective that count."""


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What was asked for; as `RunRequest`, which has these fields too."""

    experiment: str
    overrides: tuple[str, ...] = ()
    out: Path | None = None
    seed: int | None = None
    replications: int | None = None
    jobs: int | None = None
    resume: bool = False
    engine: EngineChoice = "auto"
    cluster: str | None = None
    store: str | None = None


@dataclass(frozen=True, slots=True)
class FinishedSearch:
    """A finished search: where it is and what it says."""

    directory: Path
    report: DesignReport


def _tell_nobody(_line: str) -> None:
    pass


class _KeptReplications:
    """Finished replications in a folder, one file each, so that an interrupted search repeats none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, key: str, replication: int) -> ReplicationResult | None:
        file = self._file(key, replication)
        if not file.exists():
            return None
        return ReplicationResult.from_json_dict(json.loads(file.read_text(encoding="utf-8")))

    def save(self, key: str, replication: int, result: ReplicationResult) -> None:
        with written_whole(self._file(key, replication)) as stream:
            stream.write(json.dumps(result.to_json_dict()).encode())

    def _file(self, key: str, replication: int) -> Path:
        return self._folder / f"{key}-r{replication}.json"


@dataclass
class _Tried:
    """A design that was tried: what it gave, or why it gave nothing."""

    number: int
    design: Design
    status: str = "feasible"
    why: str = ""
    evaluated: Evaluated | None = None
    metrics: dict[str, Metric] = field(default_factory=dict)


def perform_search(
    request: SearchRequest, progress: Progress | None = None, tell: Callable[[str], None] = _tell_nobody
) -> FinishedSearch:
    """Search the designs of an experiment.

    Nothing is written before everything is known to be valid. If the search is interrupted, the directory keeps the
    replications that are finished, and the same request with `resume` completes it: what comes out is what had come
    out without the interruption.

    Parameters
    ----------
    request : SearchRequest
    progress : callable, optional
    tell : callable
        ``tell(line)`` is told what takes long, and of designs that fail.

    Raises
    ------
    SpecError
        If the experiment, or a value of a choice, is not valid.
    OptimiserMissing
        If not all designs are to be tried, and Optuna is not installed.
    DirectoryInUse
        If the directory holds other things.
    CheckpointMismatch
        If what is to be resumed was another search.
    WorkerLost
        If a process dies.
    RunDirectoryError
        If a file cannot be written.
    BadClusterAddress, ClusterError
        If there is no such cluster.
    """
    started = datetime.now(UTC)
    question = read_question(request.experiment, _settings(request))
    proposals = search(
        question.space,
        trials=question.spec.trials,
        objectives=len(question.wanted.objectives),
        seed=question.spec.seed,
    )
    name = f"{find_experiment(request.experiment).stem}-designs"
    if request.resume and request.out is not None and (request.out / "optimise.json").exists():
        raise DirectoryInUse(f"{request.out} holds a finished search; choose another --out")
    path = free_directory(request.out, name, resume=request.resume)
    checkpoint = Checkpoint(path / "replications", _fingerprint(question))
    checkpoint.check()
    total = min(question.spec.trials, question.space.size)
    folder = store_folder(request.store)
    store = None if folder is None else ResultStore(folder, tell=tell)
    with checkpoint.kept():
        with (
            open_executor(request.jobs, request.cluster, tell) as executor,
            Evaluator(
                request.experiment,
                request.overrides,
                seed=request.seed,
                executor=executor,
                engine=request.engine,
                expected_replications=total * question.experiment.replications,
                kept=_KeptReplications(checkpoint.folder),
                store=store,
                tell=tell,
            ) as evaluator,
        ):
            run = _Run(question, evaluator, RunDirectory(path), tell)
            checkpoint.start()
            if progress is not None:
                progress(0, total, "designs")
            while batch := proposals.propose(min(question.spec.batch, total - len(run.tried))):
                proposals.learn(run.try_designs(batch))
                if progress is not None:
                    progress(len(run.tried), total, "designs")
                if len(run.tried) >= total:
                    break
            run.settle_front(progress)
        if store is not None:
            store.trim()
        if evaluator.replications_stored:
            tell(taken_line(evaluator.replications_stored, "replication", folder))
        report = run.report(proposals.name)
        _write(path, report, started)
        checkpoint.remove()
    return FinishedSearch(path, report)


def _settings(request: SearchRequest) -> list[str]:
    given = [*request.overrides]
    if request.seed is not None:
        given.append(f"seed={request.seed}")
    if request.replications is not None:
        given.append(f"replications={request.replications}")
    return given


def _fingerprint(question: DesignQuestion) -> str:
    """Hash what decides which designs are tried and what comes of them, as far as the file says it."""
    content = json.dumps([__version__, question.written], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()


class _Run:
    """The designs that were tried, and the directories that they left."""

    def __init__(
        self, question: DesignQuestion, evaluator: Evaluator, directory: RunDirectory, tell: Callable[[str], None]
    ) -> None:
        self.tried: list[_Tried] = []
        self._question = question
        self._evaluator = evaluator
        self._directory = directory
        self._tell = tell

    def try_designs(self, designs: Sequence[Design]) -> list[Learnt]:
        """Run designs side by side, and return what they say to the search."""
        first = len(self.tried) + 1
        batch = [_Tried(first + i, design) for i, design in enumerate(designs)]
        self._evaluate(batch, self._question.experiment.replications)
        self.tried += batch
        return [self._learnt(one) for one in batch]

    def settle_front(self, progress: Progress | None) -> None:
        """Run what is on the front, or may be, for the replications that the file asks for it."""
        more = self._question.spec.front_replications
        if more is None or more <= self._question.experiment.replications:
            return
        standing = self._standing()
        leading = [one for one in self.tried if standing.get(one.number, ("", None))[0] in ("front", "undecided")]
        step = self._question.spec.batch
        for begin in range(0, len(leading), step):
            if progress is not None:
                progress(begin, len(leading), "front")
            self._evaluate(leading[begin : begin + step], more)

    def _evaluate(self, batch: Sequence[_Tried], replications: int) -> None:
        asked: list[tuple[_Tried, Asked]] = []
        for one in batch:
            try:
                self._evaluator.prepared(self._changes(one, replications))
            except SpecError as error:
                one.status, one.why = "impossible", _in_one_line(error)
            else:
                asked.append((one, Asked(self._changes(one, replications), replications)))
        try:
            results = self._evaluator.evaluate_all([ask for _, ask in asked])
        except LOST_WITH_THE_SEARCH:
            raise
        except Exception:
            # One of them failed; which, and what the others give, is seen one by one. Nothing finished is repeated.
            for one, ask in asked:
                self._evaluate_alone(one, ask)
            return
        for (one, _), evaluated in zip(asked, results, strict=True):
            self._take(one, evaluated)

    def _evaluate_alone(self, one: _Tried, asked: Asked) -> None:
        try:
            (evaluated,) = self._evaluator.evaluate_all([asked])
        except LOST_WITH_THE_SEARCH:
            raise
        except Exception as error:
            law = "the simulator broke one of its own laws: " if isinstance(error, InvariantError) else ""
            one.status, one.why = "failed", f"{law}{type(error).__name__}: {_in_one_line(error)}"
            one.evaluated, one.metrics = None, {}
            self._tell(f"point {one.number} failed: {one.why}")
            return
        self._take(one, evaluated)

    def _changes(self, one: _Tried, replications: int) -> tuple[str, ...]:
        title = f"{self._question.experiment.name}, point {one.number}"
        settings = (f"name={json.dumps(title)}", f"replications={replications}")
        return (*self._question.space.changes(one.design), *settings)

    def _take(self, one: _Tried, evaluated: Evaluated) -> None:
        """Note what a design gave, and leave its run directory."""
        one.evaluated = evaluated
        one.metrics = all_metrics(evaluated.summary, evaluated.prepared)
        one.status, one.why = self._judged(one, evaluated)
        study = Study((evaluated.scenario,), (evaluated.prepared,))
        queries = sum(result.counts["offered"] for result in evaluated.results)
        result = StudyResult((evaluated.summary,), {}, queries, ())
        directory = RunDirectory(self._directory.path / _run_name(one.number))
        write_results(directory, study, result)
        directory.write_manifest(
            {**manifest_of(study, result), "design": self._question.space.labels(one.design), "command": _command()}
        )

    def _judged(self, one: _Tried, evaluated: Evaluated) -> tuple[str, str]:
        """Return the status of a design that ran, and why it is not feasible."""
        for objective in self._question.wanted.objectives:
            metric = one.metrics.get(objective.metric)
            if metric is None or metric.value is None:
                reason = "there is none" if metric is None else metric.reason
                return "infeasible", f"{objective.metric}: {reason}"
        met = {
            constraint.text: constraint.met(one.metrics, evaluated.summary)
            for constraint in self._question.wanted.constraints
        }
        missed = [text for text, answer in met.items() if answer is Met.MISSES]
        if missed:
            return "infeasible", f"not {'; not '.join(missed)}"
        return ("close" if Met.CLOSE in met.values() else "feasible"), ""

    def _learnt(self, one: _Tried) -> Learnt:
        wanted = self._question.wanted
        if one.evaluated is None:
            return Learnt((None,) * len(wanted.objectives), (1.0,) * len(wanted.constraints))
        summary = one.evaluated.summary
        values = [one.metrics[o.metric].value if o.metric in one.metrics else None for o in wanted.objectives]
        return Learnt(
            tuple(
                # The search is not to chase differences that do not count.
                None if value is None else in_steps(o.sign * value, o.resolution)
                for o, value in zip(wanted.objectives, values, strict=True)
            ),
            tuple(constraint.violation(one.metrics, summary) for constraint in wanted.constraints),
        )

    def _standing(self) -> dict[int, tuple[str, int | None]]:
        """Return where the feasible designs stand, and which speaks against them, by their numbers."""
        feasible = [one for one in self.tried if one.status in ("feasible", "close")]
        contenders = [
            Contender(
                tuple(
                    tuple(o.sign * _without_rounding(value or 0.0) for value in one.metrics[o.metric].values)
                    for o in self._question.wanted.objectives
                ),
                one.status == "feasible",
            )
            for one in feasible
        ]
        steps = [objective.resolution for objective in self._question.wanted.objectives]
        verdicts = stand(contenders, self._question.experiment.report.confidence, steps)
        return {
            one.number: (verdict.standing.value, None if verdict.by is None else feasible[verdict.by].number)
            for one, verdict in zip(feasible, verdicts, strict=True)
        }

    def report(self, how: str) -> DesignReport:
        """Return what the search found."""
        question, standing = self._question, self._standing()
        wanted = question.wanted
        shown = dict.fromkeys([*(o.metric for o in wanted.objectives), *(c.metric for c in wanted.constraints)])
        ran = [one.evaluated for one in self.tried if one.evaluated is not None]
        points = [
            DesignPoint(
                number=one.number,
                labels=question.space.labels(one.design),
                status=one.status,
                why=one.why,
                replications=0 if one.evaluated is None else one.evaluated.summary.replications,
                metrics={name: one.metrics[name] for name in shown if name in one.metrics},
                standing=standing.get(one.number, ("", None))[0],
                by=standing.get(one.number, ("", None))[1],
                run=None if one.evaluated is None else _run_name(one.number),
            )
            for one in self.tried
        ]
        experiment = question.experiment
        return DesignReport(
            name=experiment.name,
            model=", ".join(model_names(experiment)),
            objectives=tuple((o.metric, o.direction) for o in wanted.objectives),
            resolution={o.metric: o.resolution for o in wanted.objectives if o.resolution},
            constraints=tuple(c.text.strip() for c in wanted.constraints),
            choices={choice.key: list(choice.labels) for choice in question.space.choices},
            points=tuple(points),
            designs=question.space.size,
            search=how,
            seed=experiment.seed,
            search_seed=question.spec.seed,
            confidence=experiment.report.confidence,
            assumptions=tuple(dict.fromkeys(line for one in ran for line in one.prepared.assumptions)),
            evidence=min((one.prepared.evidence for one in ran), key=EVIDENCE.index, default="none"),
            out_dir=self._directory.path,
        )


def _without_rounding(value: float) -> float:
    """Return a value without its last digits: what only the order of adding makes of it is no difference."""
    return float(f"{value:.{SIGNIFICANT}g}")


def _run_name(number: int) -> str:
    return f"points/{number:04d}"


def _in_one_line(error: BaseException) -> str:
    return "; ".join(str(error).splitlines())


def _command() -> list[str]:
    return ["mprec", *sys.argv[1:]]


def _write(path: Path, report: DesignReport, started: datetime) -> None:
    """Write the points, the figure and, last, what says that the search is finished."""
    from sim.report.figures.pareto import plot_front

    with written_whole(path / "points.csv") as stream:
        stream.write(encoded(report.to_csv()))
    plot_front(report, path / "figures")
    finished = datetime.now(UTC)
    times = {
        "command": _command(),
        "version": __version__,
        "started": started.isoformat(timespec="seconds"),
        "finished": finished.isoformat(timespec="seconds"),
    }
    content = json.dumps(report.to_json_dict(), indent=1, ensure_ascii=False, allow_nan=False)
    with written_whole(path / "optimise.json") as stream:
        stream.write(encoded(content + "\n"))
    with written_whole(path / "manifest.json") as stream:
        stream.write((json.dumps(times, indent=1) + "\n").encode())
