"""Evaluates an experiment again and again with some of its keys set otherwise, and repeats nothing that it ran.

A search asks for many small runs: this keeps what is laid out, what is finished and the worker processes between them.
Replication k of every variant draws the same random numbers, so that variants can be compared pair by pair.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Protocol, Self

from sim.engine.engines import Engine, why_not_compiled
from sim.spec.binding import bind
from sim.spec.experiment import Experiment
from sim.spec.scenario import SweepPoint, expand_sweep, load_experiment, overridden
from sim.spec.source import Node
from sim.stats.summary import ReplicationResult, ScenarioSummary, summarise
from sim.study.engines import EngineChoice, choose_engines
from sim.study.execute import execute
from sim.study.executor import Executor, InProcess, local_executor
from sim.study.gather import Gathered
from sim.study.identity import NoIdentity, code_version, scenario_hash
from sim.study.prepare import PreparedScenario, prepare
from sim.study.scenario import Scenario, find_experiment
from sim.study.store import ResultStore
from sim.study.tasks import Task

__all__ = ["Asked", "Evaluated", "Evaluator", "Kept"]

WITHOUT_EFFECT = ("name", "replications", "precision")
"""Keys of an experiment that no replication depends on."""


class Kept(Protocol):
    """Where finished replications outlive the process."""

    def load(self, key: str, replication: int) -> ReplicationResult | None:
        """Return a replication of the scenario with this content hash; None if it is not there."""

    def save(self, key: str, replication: int, result: ReplicationResult) -> None:
        """Keep a finished replication."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A variant to be evaluated.

    Attributes
    ----------
    changes : tuple of str
        ``key.path=value``, applied after the sweep, so that a swept key can be changed too.
    replications : int
        The first so many.
    point : int
        Index into `Evaluator.points`.
    """

    changes: tuple[str, ...]
    replications: int
    point: int = 0


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What a variant gave.

    Attributes
    ----------
    changes : tuple of str
    scenario : Scenario
    prepared : PreparedScenario
    summary : ScenarioSummary
        With intervals of the experiment's own confidence.
    results : tuple of ReplicationResult
        One per replication, in their order: entries of one index share their random numbers between variants.
    """

    changes: tuple[str, ...]
    scenario: Scenario
    prepared: PreparedScenario
    summary: ScenarioSummary
    results: tuple[ReplicationResult, ...]


@dataclass(frozen=True, slots=True)
class _Variant:
    """A variant, laid out; variants with the same `key` are the same simulation."""

    scenario: Scenario
    prepared: PreparedScenario
    key: str


def _tell_nobody(_line: str) -> None:
    pass


class Evaluator:
    """Runs variants of an experiment; a context manager, which ends its worker processes.

    Parameters
    ----------
    reference : str
        Path of the experiment file, or the name of one that ships.
    overrides : sequence of str
        ``key.path=value``, applied before the sweep is expanded, as by ``--set``.
    seed : int, optional
        Instead of the file's.
    executor : Executor, optional
        Where it is run; the caller closes it. The results do not depend on it.
    jobs : int, optional
        Without an executor: local processes; by default as many as there are cores, where that is worth starting them.
    engine : {"auto", "reference", "compiled"}
        The results do not depend on it.
    expected_replications : int
        How many replications the whole search is thought to need: what ``auto`` weighs compiling against.
    kept : Kept, optional
        Where finished replications outlive the process.
    store : ResultStore, optional
        Finished replications of whatever was run before, this experiment or another.
    most_recorded : int, optional
        Replications of more queries than this are added up as they go, which is many times as fast and gives
        percentiles within 0.1%; by default as in `mprec run`.
    leave_out : collection of str
        Axes of the sweep that are left out, because the search itself sets their keys.
    tell : callable
        ``tell(line)`` says what takes long, and what cannot be done as asked.

    Raises
    ------
    SpecError
        If the file, an override or the sweep is not valid.

    Examples
    --------
    >>> with Evaluator("quickstart", leave_out=["workload.arrivals.rate"]) as evaluator:  # doctest: +SKIP
    ...     evaluator.evaluate(["workload.arrivals.rate=120/s"], replications=5).summary.metrics["latency_ms_p99"]
    """

    def __init__(
        self,
        reference: str,
        overrides: Sequence[str] = (),
        *,
        seed: int | None = None,
        executor: Executor | None = None,
        jobs: int | None = None,
        engine: EngineChoice = "auto",
        expected_replications: int = 200,
        kept: Kept | None = None,
        store: ResultStore | None = None,
        most_recorded: int | None = None,
        leave_out: Collection[str] = (),
        tell: Callable[[str], None] = _tell_nobody,
    ) -> None:
        self.file = find_experiment(reference)
        given = [*overrides, *([] if seed is None else [f"seed={seed}"])]
        root = load_experiment(self.file, given)
        sweep = root.child("sweep")
        self._written = None if sweep is None else sweep.plain()
        self.points: tuple[SweepPoint, ...] = tuple(expand_sweep(_without_axes(root, leave_out)))
        self._own = local_executor(jobs) if executor is None else None
        self._executor: Executor = executor or self._own or InProcess()
        self.engine = engine
        self.expected_replications = expected_replications
        self.most_recorded = most_recorded
        self.replications_run = 0
        self.replications_stored = 0
        self.queries_run = 0
        self._tell = tell
        self._kept = kept
        self._store = store
        self._variants: dict[tuple[int, tuple[str, ...]], _Variant] = {}
        self._results: dict[tuple[str, int], ReplicationResult] = {}
        self._compiled: bool | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the worker processes that were started here."""
        if self._own is not None:
            self._own.close()

    def scenario(self, changes: Sequence[str] = (), point: int = 0) -> Scenario:
        """Return a variant, validated.

        Raises
        ------
        SpecError
            If a change is no override, or what it makes is not valid.
        """
        node = self.points[point].node
        for change in changes:
            node = overridden(node, change)
        return Scenario(
            dict(self.points[point].parameters),
            bind(node, Experiment),
            node,
            self.file.resolve().parent,
            self._written,
        )

    def prepared(self, changes: Sequence[str] = (), point: int = 0) -> PreparedScenario:
        """Return a variant, laid out.

        Raises
        ------
        SpecError
            With every problem of it.
        """
        return self._variant(tuple(changes), point).prepared

    def evaluate(self, changes: Sequence[str] = (), replications: int = 10, *, point: int = 0) -> Evaluated:
        """Run the first `replications` of a variant, those of them that are not finished already.

        Raises
        ------
        SpecError
            If the variant is not valid; nothing was run then.
        InvariantError
            If a replication breaks a law of queueing.
        WorkerLost
            If a process dies. What was finished is not run again.
        """
        (evaluated,) = self.evaluate_all([Asked(tuple(changes), replications, point)])
        return evaluated

    def evaluate_all(self, asked: Iterable[Asked]) -> list[Evaluated]:
        """Do what `evaluate` does for several variants at once, their replications side by side."""
        asked = list(asked)
        variants = [self._variants_of(one) for one in asked]
        self._run_missing(asked, variants)
        return [self._evaluated(one, variant) for one, variant in zip(asked, variants, strict=True)]

    def _variants_of(self, asked: Asked) -> _Variant:
        return self._variant(tuple(asked.changes), asked.point)

    def _variant(self, changes: tuple[str, ...], point: int) -> _Variant:
        found = self._variants.get((point, changes))
        if found is None:
            scenario = self.scenario(changes, point)
            (prepared,) = prepare([scenario])
            prepared = replace(prepared, most_recorded=self.most_recorded)
            found = _Variant(scenario, prepared, _content_hash(scenario, prepared))
            self._variants[point, changes] = found
        return found

    def _run_missing(self, asked: Sequence[Asked], variants: Sequence[_Variant]) -> None:
        wanted: dict[str, tuple[_Variant, int]] = {}
        for one, variant in zip(asked, variants, strict=True):
            _, most = wanted.get(variant.key, (variant, 0))
            wanted[variant.key] = (variant, max(most, one.replications))
        scenarios: list[PreparedScenario] = []
        keys: list[str] = []
        tasks: list[Task] = []
        for key, (variant, most) in wanted.items():
            missing = [number for number in range(most) if not self._has(variant, number)]
            if missing:
                tasks += [(len(keys), number, cell) for number in missing for cell in range(variant.prepared.cells)]
                scenarios.append(variant.prepared)
                keys.append(key)
        if not tasks:
            return
        gathered = Gathered(scenarios, None)
        for task, part in execute(scenarios, tasks, executor=self._executor, engines=self._engines(scenarios)):
            gathered.add(task, part)
            scenario, replication, _ = task
            result = gathered.results.pop((scenario, replication), None)
            if result is not None:
                self._take(keys[scenario], scenarios[scenario], replication, result)

    def _has(self, variant: _Variant, replication: int) -> bool:
        key = variant.key
        if (key, replication) in self._results:
            return True
        found = None if self._kept is None else self._kept.load(key, replication)
        if found is None and self._store is not None:
            stored = self._store.find(variant.prepared, replication)
            if isinstance(stored, ReplicationResult):
                found = stored
                self.replications_stored += 1
        if found is None:
            return False
        self._results[key, replication] = found
        return True

    def _take(self, key: str, prepared: PreparedScenario, replication: int, result: ReplicationResult) -> None:
        self._results[key, replication] = result
        self.replications_run += 1
        self.queries_run += result.counts["offered"]
        if self._kept is not None:
            self._kept.save(key, replication, result)
        if self._store is not None:
            self._store.keep(prepared, replication, result)

    def _engines(self, scenarios: Sequence[PreparedScenario]) -> list[Engine]:
        """Return the engine of each scenario; `auto` is decided once, for the whole search."""
        if self._compiled is None:
            whole = [replace(scenarios[0], replications=self.expected_replications)]
            (first,) = choose_engines(
                self.engine,
                whole,
                jobs=self._executor.workers,
                tell=self._tell,
                elsewhere=self._executor.is_elsewhere,
            )
            self._compiled = first is Engine.COMPILED
        compiled = [self._compiled and why_not_compiled(one.system) is None for one in scenarios]
        return [Engine.COMPILED if one else Engine.REFERENCE for one in compiled]

    def _evaluated(self, asked: Asked, variant: _Variant) -> Evaluated:
        results = tuple(self._results[variant.key, number] for number in range(asked.replications))
        experiment, prepared = variant.scenario.experiment, variant.prepared
        summary = summarise(
            prepared.parameters,
            prepared.evidence,
            results,
            confidence=experiment.report.confidence,
            sla_ns=experiment.sla,
            offered_load=prepared.offered_load,
            time_varying=prepared.time_varying,
            cells=prepared.cells,
        )
        return Evaluated(tuple(asked.changes), variant.scenario, prepared, summary, results)


def _without_axes(root: Node, leave_out: Collection[str]) -> Node:
    """Return the experiment without some axes of its sweep, and without the sweep where no other is left."""
    sweep = root.child("sweep")
    if sweep is None or not isinstance(sweep.value, dict):
        return root
    axes = {key: axis for key, axis in sweep.value.items() if key not in leave_out}
    if len(axes) == len(sweep.value):
        return root
    rest = {key: child for key, child in root.value.items() if key != "sweep"}
    return replace(root, value={**rest, **({"sweep": replace(sweep, value=axes)} if axes else {})})


def _content_hash(scenario: Scenario, prepared: PreparedScenario) -> str:
    """Hash all that a replication depends on but its number; the report counts, as it says what is measured."""
    content: dict[str, Any] = scenario.experiment.model_dump(mode="json")
    for name in WITHOUT_EFFECT:
        content.pop(name, None)
    try:
        simulated = scenario_hash(prepared)
    except NoIdentity:
        # A policy whose source is not to be had: within this search, what its file says has to do.
        simulated = str(scenario.base_dir)
    profiles = {name: profile["content_hash"] for name, profile in prepared.profiles.items()}
    everything = [code_version(), simulated, content, profiles, prepared.most_recorded]
    return hashlib.sha256(json.dumps(everything, sort_keys=True, default=str).encode()).hexdigest()
