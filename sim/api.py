"""The simulator from Python: load an experiment, run it, compare runs, and have the results as data frames."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sim.report.capacity import CapacityReport
from sim.report.capacity_text import render_capacity
from sim.report.difference_table import headline_metrics
from sim.report.difference_table import render as render_differences
from sim.report.differences import Comparison
from sim.report.frames import (
    capacity_frame,
    differences_frame,
    looked_frame,
    metrics_frame,
    queries_frame,
    replications_frame,
    timeline_frame,
)
from sim.report.guard import Judgement, judge_limits, parse_limit
from sim.report.table import Report, render
from sim.report.written import duration_text
from sim.stats.summary import ScenarioSummary
from sim.study.capacity.perform import CapacityRequest, perform_capacity
from sim.study.capacity.question import By, Find, Question
from sim.study.comparing import compare_runs, locate
from sim.study.runs import RunRequest, perform
from sim.study.scenario import Scenario, load_scenarios
from sim.study.study import Progress, Study

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Capacity", "Differences", "Loaded", "Results", "capacity", "compare", "load", "run"]

Settings = Mapping[str, object] | Sequence[str]
"""Keys of an experiment and what to set them to: a mapping, or ``key.path=value`` as on the command line."""

EngineName = Literal["auto", "reference", "compiled"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """An experiment that is valid and ready to run.

    Attributes
    ----------
    experiment : str
        Its file, or the name of one that ships.
    overrides : tuple of str
        ``key.path=value``.
    seed, replications : int or None
        Instead of the file's.
    study : Study
        Its scenarios, laid out.
    """

    experiment: str
    overrides: tuple[str, ...]
    seed: int | None
    replications: int | None
    study: Study = field(repr=False)

    @property
    def name(self) -> str:
        """The name that the experiment gives itself."""
        return self.scenarios[0].experiment.name

    @property
    def scenarios(self) -> tuple[Scenario, ...]:
        """The points of the sweep; one without a sweep."""
        return self.study.scenarios

    def describe(self) -> str:
        """Return in words what would be run: scenarios, paths, queries, evidence and assumptions."""
        first = self.study.prepared[0]
        count = len(self.scenarios)
        lines = [
            self.name,
            f"SLA {duration_text(self.scenarios[0].experiment.sla / 1e6)}; seed {first.seed}; "
            f"{first.replications} replications of {count} scenario{'s' if count > 1 else ''}",
        ]
        for one in self.study.prepared:
            paths = ", ".join(one.view.path_names)
            lines.append(f"  {one.label}: about {one.expected_queries:,.0f} queries over {paths} ({one.evidence})")
        lines += ["Assumptions", *(f"  {line}" for line in self.study.assumptions or ("none",))]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.describe()


@dataclass(frozen=True, eq=False, slots=True)
class Results:
    """What a run gave.

    Attributes
    ----------
    summaries : tuple of ScenarioSummary
        By scenario, in the order of the sweep.
    name : str
        What comparisons call it: its folder, or the experiment where nothing is left.
    directory : Path
        The run directory; one that is removed with this object where none was asked for.
    """

    name: str
    directory: Path
    _report: Report
    _path_names: tuple[tuple[str, ...], ...]
    _kept: tempfile.TemporaryDirectory[str] | None = None

    @property
    def summaries(self) -> tuple[ScenarioSummary, ...]:
        """The merged replications of every scenario."""
        return self._report.summaries

    def report(self, width: int = 100) -> str:
        """Return the table and the verdict that `mprec run` prints."""
        return render(self._report, width)

    def frame(self) -> DataFrame:
        """Return one row a scenario, class and metric: ``value``, ``low`` and ``high``.

        Examples
        --------
        >>> p99 = results.frame().query("metric == 'latency_ms_p99'")  # doctest: +SKIP
        """
        return metrics_frame(self.summaries)

    def replications(self) -> DataFrame:
        """Return one row a scenario, class and replication, with a column a metric."""
        return replications_frame(self.summaries)

    def timeline(self) -> DataFrame:
        """Return one row a scenario, interval of time and metric.

        Raises
        ------
        ValueError
            If the experiment has no ``report: {timeline: ...}``.
        """
        return timeline_frame(self.summaries)

    def queries(self) -> DataFrame:
        """Return one row a query, with times in ns, its latency in ms, its path and its outcome.

        Raises
        ------
        ValueError
            If they were not kept: runs of over 500,000 queries keep them with ``report: {queries: always}`` only.
        """
        return queries_frame(self.directory / "queries.npz", self.summaries, self._path_names)

    def __str__(self) -> str:
        return self.report()


@dataclass(frozen=True, slots=True)
class Differences:
    """How scenarios differ from their baselines.

    Attributes
    ----------
    comparisons : tuple of Comparison
    not_compared : tuple of str
        What only one of the runs has.
    """

    comparisons: tuple[Comparison, ...]
    not_compared: tuple[str, ...]

    def frame(self) -> DataFrame:
        """Return one row a comparison and metric: the difference and the relative change with their intervals."""
        return differences_frame(self.comparisons)

    def judge(self, *limits: str) -> list[Judgement]:
        """Hold limits such as ``"latency_ms_p99 > +2%"`` against every comparison.

        Raises
        ------
        LimitError
            If one cannot be understood.
        """
        return judge_limits([parse_limit(text) for text in limits], self.comparisons)

    def text(self, metrics: Sequence[str] = (), width: int = 100) -> str:
        """Return what `mprec compare` prints; of many comparisons the most important metrics unless some are named."""
        if not metrics and len(self.comparisons) > 2:
            metrics = list(dict.fromkeys(name for one in self.comparisons for name in headline_metrics(one)))
        return render_differences(self.comparisons, self.not_compared, metrics, width)

    def plot(self, folder: str | Path) -> list[Path]:
        """Draw the figure of paired differences into a folder and return its files."""
        from sim.report.figures.differences import plot_differences

        return plot_differences(self.comparisons, Path(folder))

    def __str__(self) -> str:
        return self.text()


@dataclass(frozen=True, slots=True)
class Capacity:
    """The limits that a search found.

    Attributes
    ----------
    answer : CapacityReport
        The answers, the ranking and what the search looked at.
    """

    answer: CapacityReport

    def report(self, width: int = 100) -> str:
        """Return what `mprec capacity` prints."""
        return render_capacity(self.answer, width)

    def frame(self) -> DataFrame:
        """Return one row a scenario, with ``meets`` and ``misses``, the ends of the bracket that was proved."""
        return capacity_frame(self.answer)

    def looked(self) -> DataFrame:
        """Return one row a value that was looked at: what was decided, by which bounds and how many replications."""
        return looked_frame(self.answer)

    def __str__(self) -> str:
        return self.report()


def load(
    experiment: str | Path, *, set: Settings = (), seed: int | None = None, replications: int | None = None
) -> Loaded:
    """Read an experiment and lay its scenarios out; nothing is run.

    Parameters
    ----------
    experiment : str or Path
        An experiment file, or the name of one that ships.
    set : mapping or sequence of str
        Keys of the file and their values, such as ``{"sla": "5ms"}`` or ``["sla=5ms"]``; a value may be anything that
        YAML can say.
    seed, replications : int, optional
        Instead of the file's.

    Raises
    ------
    SpecError
        With every problem, its place and what is allowed.

    Examples
    --------
    >>> load("quickstart", set={"sla": "50ms"}).scenarios[0].label
    'router: random, workload.arrivals.rate: 50/s'
    """
    overrides = tuple(set) if not isinstance(set, Mapping) else tuple(_setting(key, set[key]) for key in set)
    scenarios = load_scenarios(str(experiment), overrides, seed=seed, replications=replications)
    return Loaded(str(experiment), overrides, seed, replications, Study.of(scenarios))


def _setting(key: str, value: object) -> str:
    return f"{key}={value if isinstance(value, str) else json.dumps(value)}"


def run(
    experiment: Loaded | str | Path,
    out: str | Path | None = None,
    *,
    jobs: int = 1,
    engine: EngineName = "auto",
    resume: bool = False,
    store: str | None = None,
    figures: bool = False,
    progress: Progress | None = None,
) -> Results:
    """Run an experiment and return its results.

    Parameters
    ----------
    experiment : Loaded, str or Path
        As from `load`, or what `load` takes.
    out : str or Path, optional
        Run directory to leave, new or empty; by default nothing is left.
    jobs : int
        Processes. Results do not depend on it. In a script that is more than one, call this below
        ``if __name__ == "__main__":``, because processes import the script.
    engine : {"auto", "reference", "compiled"}
        Results do not depend on it.
    resume : bool
        Go on with what was interrupted in `out`.
    store : str, optional
        Folder of finished replications, which are not run again, or ``"none"``; by default that of `mprec run`.
    figures : bool
        Draw the figures of the run directory, too.
    progress : callable, optional
        ``progress(finished, total, what)`` whenever something is done.

    Raises
    ------
    SpecError
        If the experiment is not valid.
    DirectoryInUse
        If `out` holds other things.
    InvariantError
        If a replication breaks a law of queueing.
    PolicyError
        If a policy of one's own fails, or returns what is no path.

    Examples
    --------
    >>> results = run(load("quickstart", replications=3))  # doctest: +SKIP
    >>> results.frame()  # doctest: +SKIP
    """
    loaded = experiment if isinstance(experiment, Loaded) else load(experiment)
    kept = tempfile.TemporaryDirectory(prefix="mprec-") if out is None else None
    directory = Path(kept.name if kept is not None else str(out))
    request = RunRequest(
        loaded.experiment,
        loaded.overrides,
        directory,
        loaded.seed,
        loaded.replications,
        jobs,
        resume,
        engine,
        store=store,
        figures=figures,
    )
    finished = perform(request, progress)
    names = tuple(tuple(one.view.path_names) for one in loaded.study.prepared)
    name = directory.name if kept is None else Path(loaded.experiment).stem
    report = finished.report if kept is None else replace(finished.report, out_dir=None)
    return Results(name, finished.directory, report, names, kept)


def compare(
    baseline: Results | str | Path,
    *others: Results | str | Path,
    within: str | None = None,
    confidence: float | None = None,
) -> Differences:
    """Compare runs with the first, pair by pair where they share their random numbers.

    Parameters
    ----------
    baseline, *others : Results, str or Path
        Results, or run directories by path or by their name under runs/; ``"NAME:LABEL"`` takes the scenarios with that
        label.
    within : str, optional
        Of one run alone: the label that its other scenarios are compared with.
    confidence : float, optional
        Of the intervals, within (0, 1); by default the first run's own.

    Raises
    ------
    SpecError
        If nothing can be compared.
    RunDirectoryError
        If a run cannot be read.

    Examples
    --------
    >>> compare(run("before.yaml"), run("after.yaml")).frame()  # doctest: +SKIP
    >>> compare(run("quickstart"), within="random").text()  # doctest: +SKIP
    """
    found: list[tuple[Path, str, Sequence[str]]] = []
    for one in (baseline, *others):
        if isinstance(one, Results):
            found.append((one.directory, one.name, ()))
            continue
        named = locate(str(one))
        if not named.is_run:
            raise ValueError(f"{one} is an experiment: compare what run({str(one)!r}) returns")
        found.append((named.path, named.path.name, [] if named.label is None else [named.label]))
    names = [name for _, name, _ in found]
    if len(dict.fromkeys(names)) < len({path for path, _, _ in found}):
        found = [(path, f"{name} #{number}", labels) for number, (path, name, labels) in enumerate(found, start=1)]
    comparisons, alone = compare_runs(found, baseline=within, confidence=confidence)
    return Differences(tuple(comparisons), tuple(alone))


def capacity(
    experiment: Loaded | str | Path,
    find: Literal["rate", "nodes", "sla"] = "rate",
    out: str | Path | None = None,
    *,
    attainment: float | None = None,
    confidence: float = 0.95,
    tolerance: float = 0.02,
    groups: Sequence[str] = (),
    by: Literal["price", "energy"] | None = None,
    jobs: int = 1,
    engine: EngineName = "auto",
    store: str | None = None,
) -> Capacity:
    """Search for the highest load, the smallest fleet or the tightest SLA of every scenario, proved on both sides.

    Parameters
    ----------
    experiment : Loaded, str or Path
        As from `load`, or what `load` takes. The search chooses the number of replications itself.
    find : {"rate", "nodes", "sla"}
    out : str or Path, optional
        Directory for the answer, new or empty; by default nothing is left.
    attainment : float, optional
        Least share of queries within the SLA, besides the percentile.
    confidence : float
        That everything that is called proved is right, for each scenario.
    tolerance : float
        Width of the bracket at which the search is content, as a share of its lower end.
    groups, by
        Of ``find="nodes"``: the node groups that are counted, and what the cheapest mix of several is cheapest
        by, the price where nothing is said.
    jobs, engine, store
        As in `run`.

    Raises
    ------
    SpecError
        If the experiment is not valid, or the question does not fit it.

    Examples
    --------
    >>> capacity("quickstart", "rate").frame()  # doctest: +SKIP
    """
    loaded = experiment if isinstance(experiment, Loaded) else load(experiment)
    question = Question(Find(find), attainment, confidence, tolerance, tuple(groups), None if by is None else By(by))
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="mprec-")) if out is None else str(out)
        request = CapacityRequest(
            loaded.experiment,
            question,
            loaded.overrides,
            Path(directory),
            loaded.seed,
            jobs,
            engine,
            store=store,
        )
        report = perform_capacity(request).report
    return Capacity(report if out is not None else replace(report, out_dir=None))
