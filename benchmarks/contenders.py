"""What is compared, by name, and how each of them is run once on a subject.

What a contender needs is imported when it is run, so that each process loads its own and no other.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.outcome import Outcome
    from benchmarks.system import Subject

__all__ = ["CONTENDERS", "ENGINES", "Contender"]


@dataclass(frozen=True, slots=True)
class Contender:
    """Something that is compared.

    Attributes
    ----------
    title : str
        What the table calls it.
    run : callable
        Draws the queries of the subject, runs them and measures.
    package : str or None
        Optional package that it needs.
    """

    title: str
    run: Callable[[Subject], Outcome]
    package: str | None = None

    def missing(self) -> str | None:
        """Return why it cannot run here, if its package is not installed."""
        if self.package is None or importlib.util.find_spec(self.package) is not None:
            return None
        return f"not available: {self.package} is not installed (pip install -e '.[dev]')"


def _draw(subject: Subject) -> Outcome:
    from benchmarks.outcome import Outcome
    from benchmarks.system import stream

    queries = 0
    for chunk in stream(subject.prepared).chunks():
        queries += len(chunk.arrival_ns)
    return Outcome(queries)


def _compiled(subject: Subject) -> Outcome:
    from benchmarks.compiled_engine import compiled
    from benchmarks.outcome import outcome_of_result

    return outcome_of_result(compiled(subject.prepared, 0))


def _reference(subject: Subject) -> Outcome:
    from benchmarks.outcome import outcome_of_result
    from benchmarks.system import faults, stream
    from sim.engine.reference import simulate
    from sim.stats.summary import reduce_record

    prepared = subject.prepared
    record = simulate(prepared.system, stream(prepared), drain_ns=prepared.drain_ns, faults=faults(prepared))
    result = reduce_record(
        record,
        prepared.view,
        replication=0,
        warmup_ns=prepared.warmup_ns,
        time_varying=prepared.time_varying,
        timeline_ns=prepared.timeline_ns,
    )
    return outcome_of_result(result, record)


def _plain(subject: Subject, serve: Callable[[Any, Any], Any], *, keeps_times: bool) -> Outcome:
    """Run a hand-written model: `serve` takes a dispatcher and the queries, and returns the records."""
    from benchmarks.outcome import outcome_of_records
    from benchmarks.plain_dispatch import Dispatcher
    from benchmarks.system import DEVICES, path_tables, queries_of, stream

    view = subject.prepared.view
    paths = path_tables(subject.described)
    dispatcher = Dispatcher(subject.nodes, DEVICES, paths, view.sla_ns, keeps_times=keeps_times)
    records = serve(dispatcher, queries_of(stream(subject.prepared)))
    return outcome_of_records(records, [path.accuracy for path in paths], view.path_names, view.sla_ns)


def _simpy(subject: Subject) -> Outcome:
    from benchmarks.plain_simpy import PlainModel

    return _plain(subject, lambda d, queries: PlainModel(d, d.power_of_two).run(queries), keeps_times=False)


def _simpy_tuned(subject: Subject) -> Outcome:
    from benchmarks.plain_simpy import TunedModel

    return _plain(subject, lambda d, queries: TunedModel(d, d.power_of_two).run(queries), keeps_times=True)


def _ciw(subject: Subject) -> Outcome:
    from benchmarks.plain_ciw import run

    count = subject.prepared.workload.queries
    assert count is not None
    return _plain(subject, lambda d, queries: run(d, d.power_of_two, queries, count), keeps_times=True)


def _salabim(subject: Subject) -> Outcome:
    from benchmarks.plain_salabim import run

    return _plain(subject, lambda d, queries: run(d, d.power_of_two, queries), keeps_times=True)


def _salabim_tuned(subject: Subject) -> Outcome:
    from benchmarks.plain_salabim import LeanDevice, run

    return _plain(subject, lambda d, queries: run(d, d.power_of_two, queries, LeanDevice), keeps_times=True)


CONTENDERS = {
    "drawing": Contender("drawing alone", _draw),
    "compiled": Contender("compiled engine", _compiled),
    "reference": Contender("reference engine", _reference),
    "simpy": Contender("plain SimPy", _simpy, "simpy"),
    "simpy-tuned": Contender("tuned SimPy", _simpy_tuned, "simpy"),
    "ciw": Contender("plain Ciw", _ciw, "ciw"),
    "salabim": Contender("plain salabim", _salabim, "salabim"),
    "salabim-tuned": Contender("tuned salabim", _salabim_tuned, "salabim"),
}
"""By the name that options use, in the order of the table."""

ENGINES = ("reference", "compiled")
"""Contenders that take any scenario."""
