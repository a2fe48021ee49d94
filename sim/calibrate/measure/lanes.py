"""Starts lanes, gives all of them the same orders and gathers what they measured."""

from __future__ import annotations

import os
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import TypeVar

from sim.calibrate.measure.blocks import MeasuredBlock
from sim.calibrate.measure.lane import Answer, BlockOrder, Failure, Loaded, LoadOrder, Meeting, Order, run_lane
from sim.calibrate.measure.pacing import Waiting
from sim.calibrate.measure.subject import SubjectSource
from sim.calibrate.measure.visits import Visit
from sim.spec.problems import Problem, SpecError

__all__ = ["LaneFailed", "Lanes", "cores_of_lanes"]

_Wanted = TypeVar("_Wanted", Loaded, MeasuredBlock)


class LaneFailed(RuntimeError):
    """A lane could not do what it was told, or died."""


def cores_of_lanes(lanes: int, threads: int) -> list[tuple[int, ...]]:
    """Cores for each lane: `threads` of them, next to each other, and no core twice.

    Raises
    ------
    SpecError
        If there are not so many cores.
    """
    if not hasattr(os, "sched_getaffinity"):
        return [()] * lanes
    cores = sorted(os.sched_getaffinity(0))
    if lanes * threads > len(cores):
        message = f"{lanes} lanes of {threads} threads need {lanes * threads} cores of their own"
        raise SpecError([Problem(message, value=lanes * threads, allowed=f"at most {len(cores)} on this machine")])
    return [tuple(cores[lane * threads : (lane + 1) * threads]) for lane in range(lanes)]


class Lanes:
    """Processes that measure at the same time; a context manager, which ends them.

    Parameters
    ----------
    source : SubjectSource
        Loads what is measured, in each process.
    cores : sequence of tuple of int
        One a lane.
    waiting : Waiting
        How they wait for a query.
    seed : int
    """

    def __init__(self, source: SubjectSource, cores: Sequence[tuple[int, ...]], waiting: Waiting, seed: int) -> None:
        context = get_context("spawn")
        lanes = len(cores)
        # Kept: its semaphores are gone with the last reference in this process, before a lane has opened them.
        self._meeting = None if lanes == 1 else Meeting(lanes, context.Barrier(lanes), context.Value("q", 0))
        self._connections: list[Connection] = []
        self._processes: list[BaseProcess] = []
        try:
            for lane, own in enumerate(cores):
                mine, theirs = context.Pipe()
                process = context.Process(
                    target=run_lane, args=(theirs, source, lane, own, waiting, seed, self._meeting), daemon=True
                )
                process.start()
                theirs.close()
                self._connections.append(mine)
                self._processes.append(process)
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Lanes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def load(self, representations: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Let every lane load these and nothing else; return the stages of each.

        Raises
        ------
        LaneFailed
        """
        return self._ask(LoadOrder(tuple(representations)), Loaded)[0].stages

    def measure(self, block: int, visits: Sequence[Visit]) -> list[MeasuredBlock]:
        """Let every lane measure a block; return what each measured.

        Raises
        ------
        LaneFailed
        """
        return self._ask(BlockOrder(block, tuple(visits)), MeasuredBlock)

    def _ask(self, order: Order, wanted: type[_Wanted]) -> list[_Wanted]:
        answers: dict[int, _Wanted] = {}
        failures: list[str] = []
        try:
            for connection in self._connections:
                connection.send(order)
        except (BrokenPipeError, ConnectionResetError):
            raise LaneFailed(self._death()) from None
        while len(answers) + len(failures) < len(self._connections):
            # Whichever comes first: when one lane dies the others wait for it and answer nothing.
            for ready in wait(self._connections):
                lane = next(number for number, one in enumerate(self._connections) if one is ready)
                try:
                    answer: Answer = self._connections[lane].recv()
                except (EOFError, ConnectionResetError):
                    raise LaneFailed(self._death()) from None
                if isinstance(answer, Failure):
                    failures.append(answer.message)
                else:
                    assert isinstance(answer, wanted)
                    answers[lane] = answer
        if failures:
            # What the others say is only that one of them left them alone.
            told = [one for one in failures if "BrokenBarrier" not in one] or failures
            raise LaneFailed(told[0])
        return [answers[lane] for lane in sorted(answers)]

    def _death(self) -> str:
        for lane, process in enumerate(self._processes):
            process.join(timeout=0.5)
            if process.exitcode is not None:
                why = "it was killed, perhaps for memory" if process.exitcode == -9 else f"exit code {process.exitcode}"
                return f"the process of lane {lane} died: {why}"
        return "the process of a lane died"

    def _end(self) -> None:
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            process.join(timeout=2)
            if process.is_alive():
                process.terminate()
                process.join()
