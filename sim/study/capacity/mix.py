"""Finds the cheapest mix of node groups that meets the SLA."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sim.stats.decision import Decision
from sim.study.capacity.looking import Point

__all__ = ["Mix", "MixSearch"]

Mix = tuple[int, ...]
"""Nodes of each group."""

DOUBLINGS = 10
"""How often a count is doubled in search of one that meets."""


@dataclass
class MixSearch:
    """A search over mixes, in which what is proved about one mix spares looking at others.

    Where a node more never hurts, a mix that has at least as many nodes of every group as one that meets, meets, and
    one that has at most as many as one that misses, misses. Most routers send unlike nodes queries however slow they
    are; there nothing is taken from another mix, and costs alone say what need not be looked at.

    Attributes
    ----------
    look : callable
        ``look(mix)`` decides about a mix, or leaves it open.
    cost : callable
        ``cost(mix, point)`` of one that was looked at.
    least : mapping of int to float
        By group: what a node of it costs at least.
    start : Mix
    step : int
        Counts are multiples of it.
    monotone : bool
        Whether a node more is taken never to hurt.
    looks_left : callable
    fewest : Mix
        Least nodes of each group: 0 where the fleet may be without it.
    """

    look: Callable[[Mix], Point]
    cost: Callable[[Mix, Point], float]
    least: Mapping[int, float]
    start: Mix
    step: int
    monotone: bool
    looks_left: Callable[[], int]
    fewest: Mix
    decided: dict[Mix, Decision] = field(default_factory=dict)
    costs: dict[Mix, float] = field(default_factory=dict)

    @property
    def best(self) -> Mix | None:
        """The cheapest mix that is proved to meet."""
        return min(self.costs, key=lambda mix: (self.costs[mix], mix), default=None)

    @property
    def best_cost(self) -> float:
        """What it costs; infinity where there is none."""
        return min(self.costs.values(), default=float("inf"))

    def unresolved(self) -> list[Mix]:
        """Return the mixes that may be cheaper than the best and were left open."""
        return sorted(
            mix
            for mix, decision in self.decided.items()
            if decision is Decision.OPEN and self.at_least(mix) < self.best_cost
        )

    def at_least(self, mix: Mix) -> float:
        """Return what a mix costs at least."""
        return sum(count * self.least[group] for group, count in enumerate(mix))

    def run(self) -> None:
        """Search until nothing that may be cheaper is left, or no more decisions may be taken."""
        groups = len(self.start)
        for group in range(groups):
            self._alone(group)
        if self.best is None:
            self._together()
        if self.best is not None:
            self._prefixes((), groups)

    def _alone(self, group: int) -> None:
        """Find the fewest nodes of one group that meet without the others."""

        def mix(count: int) -> Mix:
            return tuple(count if other == group else least for other, least in enumerate(self.fewest))

        count = max(self.start[group], self.step)
        for _ in range(DOUBLINGS):
            if self.at_least(mix(count)) >= self.best_cost or self._decide(mix(count)) is Decision.MEETS:
                break
            count *= 2
        self._fewest(mix, count, self.fewest[group])

    def _together(self) -> None:
        """Where no group does alone: find a multiple of the mix in the file that does."""
        for power in range(DOUBLINGS):
            if self._decide(tuple(count * 2**power for count in self.start)) is Decision.MEETS:
                return

    def _prefixes(self, prefix: Mix, groups: int) -> None:
        """Go through the counts of all groups but the last, and find the fewest nodes of that for each."""
        if len(prefix) == groups - 1:
            left = self.best_cost - self.at_least((*prefix, 0))
            most = _most_below(left / self.least[groups - 1], self.step) if self.least[groups - 1] > 0 else 0
            if most >= self.fewest[groups - 1]:
                self._fewest(lambda last: (*prefix, last), most, self.fewest[groups - 1])
            return
        count = self.fewest[len(prefix)]
        while self.at_least((*prefix, count, *self.fewest[len(prefix) + 1 :])) < self.best_cost:
            self._prefixes((*prefix, count), groups)
            if self.looks_left() <= 0 or self.least[len(prefix)] <= 0:
                return
            count += self.step

    def _fewest(self, mix: Callable[[int], Mix], most: int, least: int) -> None:
        """Find the fewest nodes of one group, between these, that meet."""
        if not self.monotone:
            for count in range(least, most + 1, self.step):
                if sum(mix(count)) and self._decide(mix(count)) is Decision.MEETS:
                    return
            return
        if not sum(mix(most)) or self._decide(mix(most)) is not Decision.MEETS:
            return
        low, high = least - self.step, most
        while high - low > self.step:
            middle = low + max(self.step, (high - low) // 2 // self.step * self.step)
            if sum(mix(middle)) and self._decide(mix(middle)) is Decision.MEETS:
                high = middle
            else:
                low = middle

    def _decide(self, mix: Mix) -> Decision:
        known = self.decided.get(mix) or self._implied(mix)
        if known is not None:
            return known
        if self.looks_left() <= 0:
            return Decision.OPEN
        point = self.look(mix)
        self.decided[mix] = point.decision
        if point.decision is Decision.MEETS:
            self.costs[mix] = self.cost(mix, point)
        return point.decision

    def _implied(self, mix: Mix) -> Decision | None:
        if not self.monotone:
            return None
        for other, decision in self.decided.items():
            pairs = list(zip(mix, other, strict=True))
            if decision is Decision.MISSES and all(mine <= its for mine, its in pairs):
                return Decision.MISSES
            if decision is Decision.MEETS and all(mine >= its for mine, its in pairs):
                return Decision.MEETS
        return None


def _most_below(limit: float, step: int) -> int:
    """Return the largest multiple of `step` that is below `limit`; negative where none is."""
    whole = int(limit // step) * step
    return whole if whole < limit else whole - step
