"""The engines, by name: the same model with the same answers, for different jobs.

The reference engine is the readable definition; the compiled one is fast, and takes a while to be compiled when it is
first used on a machine. Neither is imported before it is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from sim.engine.record import RunRecord
from sim.engine.reference import Stream, simulate
from sim.engine.rows import Rows, RunEnd
from sim.engine.streaming import end_of, rows_of
from sim.serving.compiled import cache_folder
from sim.serving.faults import FaultSchedule
from sim.serving.system import System

__all__ = ["Engine", "Replay", "compile_engine", "is_compiled", "run_engine", "stream_engine", "why_not_compiled"]

CHUNK = 16_384


class Engine(StrEnum):
    """An engine."""

    REFERENCE = "reference"
    COMPILED = "compiled"


class Replay(Protocol):
    """A replication whose rows are handed on while it runs."""

    @property
    def end(self) -> RunEnd | None:
        """What is known when all rows were taken."""

    def rows(self) -> Iterator[Rows]:
        """Run, and yield what is over."""


class _Recorded:
    """A replication on the reference engine, whose rows are handed on when it is over."""

    def __init__(self, system: System, stream: Stream, drain_ns: int, faults: FaultSchedule | None) -> None:
        self.system = system
        self.record = simulate(system, stream, drain_ns=drain_ns, faults=faults)

    @property
    def end(self) -> RunEnd:
        return end_of(self.record)

    def rows(self) -> Iterator[Rows]:
        return rows_of(self.record, self.system, CHUNK)


def run_engine(
    engine: Engine, system: System, stream: Stream, *, drain_ns: int, faults: FaultSchedule | None = None
) -> RunRecord:
    """Run one replication and return what happened to every query, on whichever engine."""
    if engine is Engine.REFERENCE:
        return simulate(system, stream, drain_ns=drain_ns, faults=faults)
    from sim.engine.compiled.run import simulate as simulate_compiled

    return simulate_compiled(system, stream, drain_ns=drain_ns, faults=faults)


def stream_engine(
    engine: Engine, system: System, stream: Stream, *, drain_ns: int, faults: FaultSchedule | None = None
) -> Replay:
    """Return one replication, to be run while its rows are taken; the reference engine runs it at once."""
    if engine is Engine.REFERENCE:
        return _Recorded(system, stream, drain_ns, faults)
    from sim.engine.compiled.run import Streamed

    return Streamed(system, stream, drain_ns=drain_ns, faults=faults)


def why_not_compiled(system: System) -> str | None:
    """Return why a system cannot run on the compiled engine; None if it can."""
    from sim.engine.compiled.choice import CHOICES, ROUTES, NotCompilable, entry_point

    if system.router.kind not in ROUTES:
        return f"the router {system.router.kind} is not compiled"
    if system.choose not in CHOICES:
        try:
            entry_point(system.choose)
        except NotCompilable as error:
            return f"numba cannot compile the policy {system.choose.__name__}: {error}"
    return None


# -- compiled code on disk ------------------------------------------------------------------------------------


def _marker(plain: bool) -> Path:
    return cache_folder() / ("plain-systems" if plain else "all-systems")


def is_compiled(system: System) -> bool:
    """Whether the code that a system needs was compiled on this machine before."""
    from sim.engine.compiled.plain import is_plain

    return _marker(is_plain(system)).exists()


def compile_engine(system: System) -> None:
    """Compile what a system needs, and keep it on disk."""
    from sim.engine.compiled.run import compile_for

    compile_for(system)
    from sim.engine.compiled.plain import is_plain

    _marker(is_plain(system)).touch()
