"""What routers know of the nodes: their state as it was some time ago."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from sim.engine.instant import Clock
from sim.serving.state import State
from sim.serving.system import System

__all__ = ["DelayedState"]


class DelayedState:
    """A second state that follows the true one `delay_ns` behind; an empty system before that.

    Changes are noted when they happen and carried out when somebody looks, so nothing is scheduled for them. Which
    paths are in use is known at once.
    """

    def __init__(self, system: System, env: Clock, delay_ns: int, true: State) -> None:
        self.env = env
        self.delay_ns = delay_ns
        self.seen = replace(State.empty(system), usable_paths=true.usable_paths)
        self.changes: deque[tuple[int, memoryview, int, int]] = deque()

    def follow(self, true: memoryview, name: str) -> FollowedArray:
        """Return a stand-in for an array of the true state, whose changes the seen one will follow."""
        return FollowedArray(true, memoryview(getattr(self.seen, name).data), self)

    def catch_up(self) -> None:
        """Bring what is seen to how things were `delay_ns` ago, with all that happened at that instant."""
        until_ns = self.env.now - self.delay_ns
        changes = self.changes
        while changes and changes[0][0] <= until_ns:
            _, seen, index, value = changes.popleft()
            seen[index] = value


class FollowedArray:
    """An array of the true state that notes its changes."""

    __slots__ = ("delayed", "seen", "true")

    def __init__(self, true: memoryview, seen: memoryview, delayed: DelayedState) -> None:
        self.true = true
        self.seen = seen
        self.delayed = delayed

    def __getitem__(self, index: int) -> int:
        """Return the true value."""
        return int(self.true[index])

    def __setitem__(self, index: int, value: int) -> None:
        """Change the true value now, and the seen one after the delay."""
        self.true[index] = value
        self.delayed.changes.append((self.delayed.env.now, self.seen, index, value))
