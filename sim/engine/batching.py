"""A queue whose parts are served in batches: one line a path, and when a line is ready to be served.

A line is ready when it is full or overdue. It is full when, in its order, as many parts as a batch may hold are
there, or the next one would be more samples than a batch may hold, or the samples are exactly as many. It is overdue
when its oldest part has waited for the timeout. Of several ready lines the one goes first whose next part would, were
there one line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop

from sim.engine.instant import Clock, Rank, after
from sim.engine.station import Line, Part, Queue

__all__ = ["BatchQueue"]


class BatchQueue(Queue):
    """Parts that wait for a batch, and the idle lanes that would take one.

    Parameters
    ----------
    limit : int
        Most parts that may wait, beyond those that idle lanes are gathering; -1 is unbounded.
    new_line : callable
        Makes an empty line.
    env : Clock
    queries, samples : int
        Most parts and samples in a batch; 0 samples is no limit.
    timeout_ns : int
        How long a line that is not full waits for more.
    """

    __slots__ = ("env", "new_line", "queries", "samples", "timeout_ns")

    def __init__(
        self, limit: int, new_line: Callable[[], Line], env: Clock, *, queries: int, samples: int, timeout_ns: int
    ) -> None:
        super().__init__(limit, Lines(new_line))
        self.env = env
        self.queries = queries
        self.samples = samples
        self.timeout_ns = timeout_ns

    def has_room(self) -> bool:
        """Whether one more part may join: those that idle lanes gather need no place to wait."""
        return self.limit < 0 or len(self.waiting) < self.limit + len(self.idle) * self.queries

    def wake_lanes(self) -> None:
        """A part has joined: wake a lane if a line is ready, and look again when the part is overdue."""
        self.wake_if_ready()
        if self.timeout_ns > 0:
            after(self.env, self.timeout_ns, Rank.TIMER, self.wake_if_ready)

    def wake_if_ready(self) -> None:
        """Wake the most preferred idle lane if a line is ready."""
        if self.idle and self.ready() is not None:
            heappop(self.idle)[1].wake()

    def ready(self) -> Line | None:
        """Return the line to serve now, or None."""
        waiting = self.waiting
        assert isinstance(waiting, Lines)
        found: Line | None = None
        first: tuple[int, int] | None = None
        for line in waiting.lines.values():
            if len(line) and (self.is_full(line) or self.is_overdue(line)):
                place = _place(next(iter(line)))
                if first is None or place < first:
                    found, first = line, place
        return found

    def is_full(self, line: Line) -> bool:
        """Whether no more parts would fit in a batch of this line."""
        if len(line) >= self.queries:
            return True
        if self.samples == 0:
            return False
        samples = 0
        for part in line:
            samples += part.size
            if samples >= self.samples:
                return True
        return False

    def is_overdue(self, line: Line) -> bool:
        """Whether the oldest part of the line has waited for the timeout."""
        if self.timeout_ns == 0:
            return True
        return min(part.enqueue_ns for part in line) + self.timeout_ns <= self.env.now

    def fits(self, line: Line, parts: int, samples: int) -> bool:
        """Whether the next part of the line fits in a batch that holds so many parts and samples already."""
        if not len(line) or parts >= self.queries:
            return False
        return self.samples == 0 or samples + next(iter(line)).size <= self.samples


class Lines:
    """Several lines, one a path, whose parts have their places in one queue."""

    def __init__(self, new_line: Callable[[], Line]) -> None:
        self.new_line = new_line
        self.lines: dict[int, Line] = {}
        self.added = 0

    def append(self, part: Part) -> None:
        """Add a part to the line of its path."""
        if part.path not in self.lines:
            self.lines[part.path] = self.new_line()
        part.serial = self.added
        self.added += 1
        self.lines[part.path].append(part)

    def popleft(self) -> Part:
        """Remove and return the part that is to be served next."""
        return min(
            (line for line in self.lines.values() if len(line)), key=lambda line: _place(next(iter(line)))
        ).popleft()

    def pop(self) -> Part:
        """Remove and return the part that was added last."""
        last = max(self, key=lambda part: part.serial)
        return self.lines[last.path].pop()

    def remove(self, part: Part) -> None:
        """Remove a part, wherever it stands."""
        self.lines[part.path].remove(part)

    def __len__(self) -> int:
        """Return the number of parts."""
        return sum(map(len, self.lines.values()))

    def __iter__(self) -> Iterator[Part]:
        """Yield the parts, line by line."""
        for line in self.lines.values():
            yield from line


def _place(part: Part) -> tuple[int, int]:
    """Return what parts of several lines are compared by."""
    return part.key, part.serial
