"""Gathers finished tasks into replications: cells in the order of their numbers, whatever order they finish in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sim.stats.summary import ReplicationResult
from sim.stats.totals import Totals
from sim.study.checkpoint import Checkpoint
from sim.study.prepare import PreparedScenario
from sim.study.replication import Part
from sim.study.store import ResultStore
from sim.study.tasks import Task

__all__ = ["Gathered"]


@dataclass
class _Cells:
    """The cells of one replication, as they come.

    Sums of fractions depend on their order in the last digits, so a cell that comes before its turn is kept until then.
    """

    merged: Totals | None = None
    following: int = 0
    early: dict[int, Totals] = field(default_factory=dict)

    def add(self, cell: int, totals: Totals) -> None:
        self.early[cell] = totals
        while self.following in self.early:
            one = self.early.pop(self.following)
            self.merged = one if self.merged is None else self.merged + one
            self.following += 1


class Gathered:
    """The finished replications of a study, and what there is of others.

    Parameters
    ----------
    scenarios : sequence of PreparedScenario
    checkpoint : Checkpoint or None
        Where everything that is added is kept.
    store : ResultStore or None
        Where it is kept for other runs.

    Attributes
    ----------
    stored : int
        Tasks whose results were in the store.
    """

    def __init__(
        self,
        scenarios: Sequence[PreparedScenario],
        checkpoint: Checkpoint | None,
        store: ResultStore | None = None,
    ) -> None:
        self.stored = 0
        self._store = store
        self.results: dict[tuple[int, int], ReplicationResult] = {}
        self._scenarios = scenarios
        self._checkpoint = checkpoint
        self._cells: dict[tuple[int, int], _Cells] = {}
        self._finished: set[Task] = set()

    def resume(self, tasks: Iterable[Task], records: Mapping[Task, Path]) -> None:
        """Take what the checkpoint holds; where records are kept, what has lost its own is not finished."""
        assert self._checkpoint is not None
        results = self._checkpoint.load()
        cells = set(self._checkpoint.cells())
        lost = {task[:2] for task in tasks if task in records and not records[task].exists()}
        self.results = {key: result for key, result in results.items() if key not in lost}
        for task in tasks:
            if task[:2] in self.results:
                self._finished.add(task)
            elif task in cells and (task not in records or records[task].exists()):
                self._add_cell(task, self._checkpoint.load_cell(task))

    def take_stored(self, tasks: Iterable[Task], records: Mapping[Task, Path]) -> None:
        """Take what the store holds of tasks that are not finished."""
        if self._store is None:
            return
        before = len(self._finished)
        missing = [task for task in tasks if task not in self._finished]
        # Records are kept with the cells, so a replication of several that has them is not kept as a whole.
        wholes = {task[:2]: None for task in missing if self._scenarios[task[0]].cells == 1 or task not in records}
        for scenario, replication in wholes:
            prepared = self._scenarios[scenario]
            of_one = records.get((scenario, replication, 0))
            whole = self._store.find(prepared, replication, records=of_one)
            if isinstance(whole, ReplicationResult):
                self._finished.update((scenario, replication, cell) for cell in range(prepared.cells))
                self._cells.pop((scenario, replication), None)
                self._complete(scenario, replication, whole)
        for task in missing:
            if task not in self._finished and self._scenarios[task[0]].cells > 1:
                part = self._store.find(self._scenarios[task[0]], *task[1:], records.get(task))
                if isinstance(part, Totals):
                    if self._checkpoint is not None:
                        self._checkpoint.save_cell(task, part)
                    self._add_cell(task, part)
        self.stored += len(self._finished) - before

    def has(self, task: Task) -> bool:
        """Return whether `task` is finished."""
        return task in self._finished

    def add(self, task: Task, part: Part, records: Path | None = None) -> None:
        """Keep what `task` left, and its per-query records where there are some."""
        scenario, replication, cell = task
        prepared = self._scenarios[scenario]
        if isinstance(part, ReplicationResult):
            self._finished.add(task)
            self._complete(scenario, replication, part)
            if self._store is not None:
                self._store.keep(prepared, replication, part, records=records)
            return
        if self._checkpoint is not None:
            self._checkpoint.save_cell(task, part)
        if self._store is not None:
            self._store.keep(prepared, replication, part, cell, records)
        self._add_cell(task, part)
        whole = self.results.get((scenario, replication))
        if whole is not None and self._store is not None and records is None:
            self._store.keep(prepared, replication, whole)
            for one in range(prepared.cells):
                self._store.drop(prepared, replication, one)

    def _add_cell(self, task: Task, totals: Totals) -> None:
        scenario, replication, cell = task
        self._finished.add(task)
        cells = self._cells.setdefault((scenario, replication), _Cells())
        cells.add(cell, totals)
        if cells.following == self._scenarios[scenario].cells:
            assert cells.merged is not None
            del self._cells[scenario, replication]
            view = self._scenarios[scenario].view
            self._complete(scenario, replication, cells.merged.result(view, replication))

    def _complete(self, scenario: int, replication: int, result: ReplicationResult) -> None:
        if self._checkpoint is not None:
            self._checkpoint.save(scenario, replication, result)
        self.results[scenario, replication] = result
