"""Extra service time of what a lane serves after it stood idle."""

from __future__ import annotations

from dataclasses import dataclass

from sim.spec.device import AfterIdleSpec

__all__ = ["AfterIdle", "after_idle"]


@dataclass(frozen=True, slots=True)
class AfterIdle:
    """Extra service time by how long the lane was idle: linear between points and from 0 to the first, then constant.

    Attributes
    ----------
    idle_ns : tuple of int
        Idle times, which increase, in ns.
    extra_ns : tuple of int
        Extra service time after each, in ns.
    carry : float
        Share of the idle time that counted for what the lane served last which counts again for what it serves next;
        from 0, where one service warms a lane, to below 1.
    """

    idle_ns: tuple[int, ...]
    extra_ns: tuple[int, ...]
    carry: float = 0.0

    def text(self) -> dict[str, list[str] | float]:
        """Return it as a profile has it."""
        points = {"idle": [f"{ns}ns" for ns in self.idle_ns], "extra": [f"{ns}ns" for ns in self.extra_ns]}
        return {**points, "carry": self.carry} if self.carry else {**points}


def after_idle(spec: AfterIdleSpec | None) -> AfterIdle | None:
    """Return the extra service time that a profile gives, None where it gives none."""
    return None if spec is None else AfterIdle(spec.idle, spec.extra, spec.carry)
