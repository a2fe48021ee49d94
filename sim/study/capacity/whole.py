"""Finds the smallest whole number of nodes that meets the SLA, beside the largest that is proved to miss it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from sim.stats.decision import Decision
from sim.study.capacity.bracket import Bracket
from sim.study.capacity.looking import Point

__all__ = ["whole_bracketed"]

REACH = 1024
"""How many times the nodes that it begins with are tried at most."""


def whole_bracketed(
    look: Callable[[float], Point],
    looks_left: Callable[[], int],
    *,
    start: int,
    step: int = 1,
    too_few: int = 0,
    most: int | None = None,
) -> Bracket:
    """Search for the smallest count that meets; it is taken that more nodes never do worse.

    Parameters
    ----------
    look : callable
        ``look(count)`` decides, or leaves it open.
    looks_left : callable
    start : int
        Where to begin; above `too_few`.
    step : int
        Counts are multiples of it.
    too_few : int
        A count that is known to be too small.
    most : int, optional
        No larger count is tried.
    """
    most = start * REACH if most is None else most
    decided: dict[int, Decision] = {}
    misses, meets = too_few, 0
    while looks_left() > 0:
        met = [count for count, one in decided.items() if one is Decision.MEETS]
        missed = [count for count, one in decided.items() if one is Decision.MISSES]
        misses = max([too_few, *missed])
        meets = min(met, default=0)
        if not decided:
            count = max(start, too_few + step)
        elif not met:
            # An open count may be as near as it gets; beyond it the steps are small.
            last = max(decided)
            count = last + max(step, last // 4 // step * step) if decided[last] is Decision.OPEN else 2 * last
            if count > most:
                count = most // step * step
                if count in decided:
                    break
        else:
            known = sorted(count for count in {misses, meets, *decided} if misses <= count <= meets)
            gaps = [(b - a, a) for a, b in pairwise(known) if b - a > step]
            if not gaps:
                break
            size, below = gaps[-1]
            count = below + max(step, size // 2 // step * step)
        decided[count] = look(count).decision
    reached = bool(meets) and meets - misses <= step
    return Bracket(meets or None, misses or None, meets or None, reached, contradictory=bool(meets) and misses >= meets)
