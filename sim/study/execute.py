"""Runs the tasks of scenarios; what is finished when something goes wrong is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sim.engine.engines import Engine
from sim.report.rundir import written_whole
from sim.serving.policies.user import is_own
from sim.study.executor import Executor, InProcess
from sim.study.prepare import PreparedScenario
from sim.study.replication import Part, run_task
from sim.study.shipping import Parcel, with_laws
from sim.study.tasks import Task, expected_s

__all__ = ["execute"]


def _tell_nobody(_scenario: int, _reason: str) -> None:
    pass


def execute(
    scenarios: Sequence[PreparedScenario],
    tasks: Sequence[Task],
    *,
    executor: Executor | None = None,
    records: dict[Task, Path] | None = None,
    engines: Sequence[Engine] | None = None,
    not_compiled: Callable[[int, str], None] = _tell_nobody,
) -> Iterator[tuple[Task, Part]]:
    """Run `tasks` and yield each with its result as it finishes, in any order.

    The results do not depend on `executor`: a cell of a replication is a function of its scenario and its numbers.

    Parameters
    ----------
    scenarios : sequence of PreparedScenario
    tasks : sequence of (scenario, replication, cell)
        `scenario` is an index into `scenarios`.
    executor : Executor, optional
        Where they are run; in this process by default, and where that is sooner done than starting another.
    records : dict of Task to Path, optional
        Where to save the per-query records of a task.
    engines : sequence of Engine, optional
        Of each scenario; the reference engine by default.
    not_compiled : callable
        ``not_compiled(scenario, reason)`` is told of every task that the compiled engine could not run; the reference
        engine did.

    Raises
    ------
    WorkerLost
        When a worker is lost for good. What was yielded before is sound, and all that was finished is yielded.
    """
    records = records or {}
    of_scenarios = tuple(engines or [Engine.REFERENCE] * len(scenarios))
    if executor is None or _is_sooner_done_here(executor, scenarios, tasks, of_scenarios):
        executor = InProcess()
    if executor.shares_files:
        work = _Work(tuple(scenarios), records, of_scenarios)
        finished = executor.run(_run, work, tasks)
    else:
        finished = _elsewhere(executor, _Work(with_laws(scenarios), records, of_scenarios), tasks)
    for task, (part, reason) in finished:
        if reason is not None:
            not_compiled(task[0], reason)
        yield task, part


def _is_sooner_done_here(
    executor: Executor, scenarios: Sequence[PreparedScenario], tasks: Sequence[Task], engines: Sequence[Engine]
) -> bool:
    """Whether starting what does the tasks, or sending a single one there, would take longer than doing them."""
    if not executor.shares_files:
        return False
    at_once = min(executor.workers, len(tasks))
    if at_once <= 1:
        return True
    saved_s = expected_s(scenarios, tasks, engines) * (1 - 1 / at_once)
    return saved_s < executor.starting_s


@dataclass(frozen=True, slots=True)
class _Work:
    """What every task needs."""

    scenarios: tuple[PreparedScenario, ...]
    records: dict[Task, Path]
    engines: tuple[Engine, ...]


Outcome = tuple[Part, str | None]


def _run(work: _Work, task: Task) -> Outcome:
    scenario, replication, cell = task
    return run_task(work.scenarios[scenario], replication, cell, work.records.get(task), work.engines[scenario])


def _elsewhere(executor: Executor, work: _Work, tasks: Sequence[Task]) -> Iterator[tuple[Task, Outcome]]:
    """Run tasks where no file of this machine is; records come back with the results and are written here."""
    functions = [scenario.system.choose for scenario in work.scenarios]
    parcel = Parcel(work, [one for one in functions if is_own(one)])
    for task, (outcome, content) in executor.run(_run_elsewhere, parcel, tasks):
        if content is not None:
            with written_whole(work.records[task]) as stream:
                stream.write(content)
        yield task, outcome


def _run_elsewhere(parcel: Parcel, task: Task) -> tuple[Outcome, bytes | None]:
    work: _Work = parcel.open()
    if task not in work.records:
        return _run(work, task), None
    with TemporaryDirectory(prefix="mprec-") as folder:
        file = Path(folder) / work.records[task].name
        scenario, replication, cell = task
        outcome = run_task(work.scenarios[scenario], replication, cell, file, work.engines[scenario])
        return outcome, file.read_bytes()
