"""Slow and fast spells of a device: how the service times of a lane depend on those before."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

from sim.spec.device import SpellsSpec

__all__ = ["Spells", "spells"]


@dataclass(frozen=True, slots=True)
class Spells:
    """Correlation of the service times of a lane.

    The normal score of a service time, the standard normal quantile at its level, has the correlation
    ``sum(share * exp(-k / services))`` with that of the k-th service before it on the same lane.

    Attributes
    ----------
    share : tuple of float
        Shares of the variance of the scores, each above 0, together below 1.
    services : tuple of float
        After so many services the part of each share falls to 1/e; they increase.
    """

    share: tuple[float, ...]
    services: tuple[float, ...]

    def correlation(self, lag: int) -> float:
        """Correlation of the normal scores of two services of a lane that are `lag` apart, 1 or more."""
        return sum(share * exp(-lag / services) for share, services in zip(self.share, self.services, strict=True))

    def text(self) -> dict[str, list[float]]:
        """Return it as a profile has it."""
        return {"share": list(self.share), "services": list(self.services)}


def spells(spec: SpellsSpec | None) -> Spells | None:
    """Return the spells that a profile gives, None where it gives none."""
    return None if spec is None else Spells(spec.share, spec.services)
