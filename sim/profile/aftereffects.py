"""Extra service time of what a lane serves by what it did before: stood idle, or served many samples."""

from __future__ import annotations

from dataclasses import dataclass

from sim.spec.device import AfterIdleCurves, AfterIdleSpec, AfterSizeSpec

__all__ = ["AfterIdle", "AfterSize", "after_idle", "after_size"]


@dataclass(frozen=True, slots=True)
class AfterIdle:
    """Extra service time by how long the lane was idle: linear between points and from 0 to the first, then constant.

    Of so many samples it is ``extra_ns + samples * per_sample_ns``.

    Attributes
    ----------
    idle_ns : tuple of int
        Idle times, which increase, in ns.
    extra_ns : tuple of int
        Extra service time after each, in ns.
    carry : float
        Share of the idle time that counted for what the lane served last which counts again for what it serves next;
        from 0, where one service warms a lane, to below 1.
    per_sample_ns : tuple of int
        Extra service time after each for every sample of what is served, in ns; empty where there is none.
    """

    idle_ns: tuple[int, ...]
    extra_ns: tuple[int, ...]
    carry: float = 0.0
    per_sample_ns: tuple[int, ...] = ()

    @property
    def at(self) -> tuple[int, ...]:
        """The idle times."""
        return self.idle_ns

    @property
    def typical_ns(self) -> int:
        """Nothing: tables are of lanes that were not idle."""
        return 0

    def text(self) -> dict[str, list[str] | float]:
        """Return it as a profile has it."""
        found: dict[str, list[str] | float] = {
            "idle": [f"{ns}ns" for ns in self.idle_ns],
            "extra": [f"{ns}ns" for ns in self.extra_ns],
        }
        if self.per_sample_ns:
            found["per_sample"] = [f"{ns}ns" for ns in self.per_sample_ns]
        if self.carry:
            found["carry"] = self.carry
        return found


@dataclass(frozen=True, slots=True)
class AfterSize:
    """Extra service time by the samples that the lane served before: linear between points, as in `AfterIdle`.

    Attributes
    ----------
    size : tuple of int
        Samples, which increase.
    extra_ns : tuple of int
        Extra service time after each, in ns.
    typical_ns : int
        What the path's own service times hold of it, because they were measured among others: taken off again.
    carry : float
        Share of the samples that counted for what the lane served last which counts again for what it serves next.
    """

    size: tuple[int, ...]
    extra_ns: tuple[int, ...]
    typical_ns: int = 0
    carry: float = 0.0

    @property
    def at(self) -> tuple[int, ...]:
        """The samples."""
        return self.size

    @property
    def per_sample_ns(self) -> tuple[int, ...]:
        """Nothing: what the size of the query itself changes is not modelled."""
        return ()

    def text(self) -> dict[str, list[int] | list[str] | str | float]:
        """Return it as a profile has it."""
        return {
            "size": list(self.size),
            "extra": [f"{ns}ns" for ns in self.extra_ns],
            "typical": f"{self.typical_ns}ns",
            "carry": self.carry,
        }


def after_idle(spec: AfterIdleCurves | None) -> tuple[AfterIdle, ...]:
    """Return the extra service times after idle time that a profile gives, which are added up."""
    given = () if spec is None else (spec,) if isinstance(spec, AfterIdleSpec) else spec
    return tuple(AfterIdle(one.idle, one.extra, one.carry, one.per_sample) for one in given)


def after_size(spec: AfterSizeSpec | None) -> AfterSize | None:
    """Return the extra service time after many samples that a profile gives, None where it gives none."""
    return None if spec is None else AfterSize(spec.size, spec.extra, spec.typical, spec.carry)
