"""Events at a given nanosecond, and the order in which the events of one nanosecond happen."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

import simpy

__all__ = ["Clock", "Instant", "Rank", "after", "trigger"]


class Rank(IntEnum):
    """Order of events at one instant; equal ranks go by the order in which they were scheduled.

    SimPy starts processes at 0 and runs the end of a process at 1. A lane that wakes for a part which was just put
    in its queue goes first, so that nothing else of the same instant comes between the two.
    """

    WAKE = 0
    FAULT = 2
    COMPLETION = 3
    TIMER = 4
    ARRIVAL = 5
    STOP = 6


class Clock(simpy.Environment):
    """SimPy's environment with its time as what it is here: an integer number of nanoseconds."""

    @property
    def now(self) -> int:
        """The current time in ns."""
        return self._now  # type: ignore[return-value]


class Instant(simpy.Event):
    """A SimPy event that happens `delay_ns` from now, at its rank within that nanosecond; its value is True."""

    def __init__(self, env: Clock, delay_ns: int, rank: int) -> None:
        # Like simpy.Timeout: the event is triggered from the start, so the attributes are set directly.
        self.env = env
        self.callbacks = []
        self._value = True
        self._ok = True
        env.schedule(self, rank, delay_ns)  # type: ignore[arg-type]


def after(env: Clock, delay_ns: int, rank: int, act: Callable[[], None]) -> Instant:
    """Let `act` happen `delay_ns` from now, at its rank; return the event."""
    event = Instant(env, delay_ns, rank)
    assert event.callbacks is not None
    event.callbacks.append(lambda _: act())
    return event


def trigger(env: Clock, event: simpy.Event, value: bool | None = None) -> None:
    """Let a process that waits for `event` go on at this instant, before anything else of this instant happens."""
    event._ok = True
    event._value = value
    env.schedule(event, Rank.WAKE)  # type: ignore[arg-type]
