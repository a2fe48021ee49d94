"""Extra service time of what a lane serves first after it stood idle."""

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
    """

    idle_ns: tuple[int, ...]
    extra_ns: tuple[int, ...]

    def text(self) -> dict[str, list[str]]:
        """Return it as a profile has it."""
        return {"idle": [f"{ns}ns" for ns in self.idle_ns], "extra": [f"{ns}ns" for ns in self.extra_ns]}


def after_idle(spec: AfterIdleSpec | None) -> AfterIdle | None:
    """Return the extra service time that a profile gives, None where it gives none."""
    return None if spec is None else AfterIdle(spec.idle, spec.extra)
