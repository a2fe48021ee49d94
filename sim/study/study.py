"""A study: the scenarios of an experiment, run for all their replications and summarised."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sim.engine.engines import Engine
from sim.stats.summary import ReplicationResult, ScenarioSummary, summarise
from sim.study.checkpoint import Checkpoint
from sim.study.execute import execute
from sim.study.executor import Executor
from sim.study.gather import Gathered
from sim.study.identity import NoIdentity, code_version, scenario_hash
from sim.study.prepare import PreparedScenario, prepare
from sim.study.rounds import following, goal_of
from sim.study.scenario import Scenario
from sim.study.store import ResultStore
from sim.study.tasks import Task

__all__ = ["Study", "StudyResult"]

Progress = Callable[[int, int, str], None]
"""``progress(finished, total, what)``, called whenever a replication, or a cell of one, is done."""


@dataclass(frozen=True, slots=True)
class StudyResult:
    """The summaries of a finished study, in the order of its scenarios.

    Attributes
    ----------
    summaries : tuple of ScenarioSummary
    records : dict of Task to Path
        Files with the per-query records, by (scenario, replication, cell), where these were kept.
    queries : int
        Queries simulated, over all scenarios and replications.
    engines : tuple of Engine
        Those that ran, of what was not finished before.
    stored : int
        Replications, or cells, that were taken from the store.
    """

    summaries: tuple[ScenarioSummary, ...]
    records: dict[Task, Path]
    queries: int
    engines: tuple[Engine, ...]
    stored: int = 0


@dataclass(frozen=True, slots=True)
class Study:
    """Scenarios, ready to run.

    Attributes
    ----------
    scenarios : tuple of Scenario
    prepared : tuple of PreparedScenario
    """

    scenarios: tuple[Scenario, ...]
    prepared: tuple[PreparedScenario, ...]

    @classmethod
    def of(cls, scenarios: Sequence[Scenario]) -> Study:
        """Prepare `scenarios`.

        Raises
        ------
        SpecError
            With the problems of all of them.
        """
        return cls(tuple(scenarios), prepare(scenarios))

    @property
    def tasks(self) -> list[Task]:
        """Every cell of every replication of every scenario; with `precision`, of the first round of them."""
        return self._tasks([0] * len(self.prepared), [scenario.replications for scenario in self.prepared])

    @property
    def most_tasks(self) -> int:
        """Most tasks that there may be, over all rounds."""
        return sum(scenario.most_replications * scenario.cells for scenario in self.prepared)

    def _tasks(self, first: Sequence[int], end: Sequence[int]) -> list[Task]:
        """Return the cells of the replications of each scenario from `first` to before `end`.

        Replication by replication, so that an interrupted study has seen all scenarios equally often; cell by cell
        within, so that few replications are unfinished at a time.
        """
        return [
            (index, replication, cell)
            for replication in range(min(first), max(end))
            for index, scenario in enumerate(self.prepared)
            if first[index] <= replication < end[index]
            for cell in range(scenario.cells)
        ]

    @property
    def fingerprint(self) -> str:
        """Hash of all that the results depend on: resolved scenarios, profiles, traces, seed and code."""
        content = [
            code_version(),
            [_content_hash(scenario) for scenario in self.prepared],
            [[scenario.parameters, scenario.experiment.model_dump(mode="json")] for scenario in self.scenarios],
            [
                {name: profile["content_hash"] for name, profile in scenario.profiles.items()}
                for scenario in self.prepared
            ],
        ]
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()

    def run(
        self,
        checkpoint: Checkpoint | None = None,
        *,
        store: ResultStore | None = None,
        executor: Executor | None = None,
        keep_records: bool = False,
        engines: Sequence[Engine] | None = None,
        progress: Progress | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> StudyResult:
        """Run what is not finished yet, and summarise.

        Parameters
        ----------
        checkpoint : Checkpoint, optional
            Where finished replications and cells are kept as they come; those it holds already are not run again.
        store : ResultStore, optional
            Where finished ones are kept for other runs; those it holds already are not run again.
        executor : Executor, optional
            Where it is run; in this process by default. The results do not depend on it.
        keep_records : bool
            Save per-query records next to the checkpoint.
        engines : sequence of Engine, optional
            Of each scenario; the reference engine by default. The results do not depend on it.
        progress : callable, optional
        tell : callable, optional
            ``tell(line)`` is told, once a scenario, that the reference engine had to run some of it.
        """
        engines = engines or [Engine.REFERENCE] * len(self.prepared)
        gathered = Gathered(self.prepared, checkpoint, store)
        records: dict[Task, Path] = {}
        if checkpoint is not None:
            checkpoint.check()
            checkpoint.start()
        what = "cells" if any(scenario.cells > 1 for scenario in self.prepared) else "replications"
        finished = total = 0
        used: set[Engine] = set()
        fallen_back: set[int] = set()

        def fall_back(scenario: int, reason: str) -> None:
            if tell is not None and scenario not in fallen_back:
                tell(f"{self.prepared[scenario].label}: {reason}; the reference engine runs it, with the same results")
            fallen_back.add(scenario)

        counts = [0] * len(self.prepared)
        wanted = [scenario.replications for scenario in self.prepared]
        while wanted != counts:
            tasks = self._tasks(counts, wanted)
            counts = wanted
            if checkpoint is not None:
                if keep_records:
                    records |= {task: checkpoint.records_file(task) for task in tasks}
                gathered.resume(tasks, records)
            gathered.take_stored(tasks, records)
            pending = [task for task in tasks if not gathered.has(task)]
            used |= {engines[task[0]] for task in pending}
            total += len(tasks)
            finished += len(tasks) - len(pending)
            if progress is not None:
                progress(finished, total, what)
            for task, part in execute(
                self.prepared, pending, executor=executor, records=records, engines=engines, not_compiled=fall_back
            ):
                gathered.add(task, part, records.get(task))
                finished += 1
                if progress is not None:
                    progress(finished, total, what)
            summaries = self._summarise(gathered.results, counts)
            wanted = following([scenario.experiment for scenario in self.scenarios], summaries)
        if fallen_back:
            used.add(Engine.REFERENCE)
        queries = sum(summary.counts["offered"] for summary in summaries)
        return StudyResult(summaries, records, queries, tuple(sorted(used)), gathered.stored)

    def _summarise(
        self, results: dict[tuple[int, int], ReplicationResult], counts: Sequence[int]
    ) -> tuple[ScenarioSummary, ...]:
        return tuple(
            summarise(
                prepared.parameters,
                prepared.evidence,
                [results[index, replication] for replication in range(count)],
                confidence=scenario.experiment.report.confidence,
                sla_ns=scenario.experiment.sla,
                offered_load=prepared.offered_load,
                time_varying=prepared.time_varying,
                goal=goal_of(scenario.experiment.precision),
                cells=prepared.cells,
            )
            for index, (scenario, prepared, count) in enumerate(zip(self.scenarios, self.prepared, counts, strict=True))
        )

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the scenarios take for granted, each said once."""
        return tuple(dict.fromkeys(line for scenario in self.prepared for line in scenario.assumptions))

    @property
    def profiles(self) -> dict[str, dict[str, str]]:
        """Content hash, evidence and provenance of every profile and model used, by name."""
        profiles: dict[str, dict[str, str]] = {}
        for scenario in self.prepared:
            profiles.update(scenario.profiles)
        return profiles


def _content_hash(scenario: PreparedScenario) -> str | None:
    try:
        return scenario_hash(scenario)
    except NoIdentity:
        return None
