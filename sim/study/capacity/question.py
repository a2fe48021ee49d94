"""What a capacity search is asked, and how sure and how exact its answer has to be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["MOST_LOOKS", "MOST_MIX_LOOKS", "By", "Find", "Question"]

MOST_LOOKS = 40
"""Decisions that the search for one scenario may take; the risk of an error is shared out to them."""

MOST_MIX_LOOKS = 160
"""The same where several node groups are mixed, of which there are many more."""


class Find(StrEnum):
    """What is looked for."""

    RATE = "rate"
    NODES = "nodes"
    SLA = "sla"


class By(StrEnum):
    """What makes one mix of nodes cheaper than another."""

    PRICE = "price"
    ENERGY = "energy"


@dataclass(frozen=True, slots=True)
class Question:
    """A question and its precision.

    Attributes
    ----------
    find : Find
    attainment : float or None
        Least share of queries within the SLA, besides the percentile; within (0, 1).
    confidence : float
        That everything the search calls proved is right, for each scenario.
    tolerance : float
        Width of the bracket at which the search is content, as a share of its lower end.
    groups : tuple of str
        Node groups whose counts are looked for.
    by : By or None
        For several groups: what is to be least; the price, where nothing is said.
    most_replications : int
        Of one point.
    most_queries : int
        Of one replication, where a run may be made longer.
    """

    find: Find
    attainment: float | None = None
    confidence: float = 0.95
    tolerance: float = 0.02
    groups: tuple[str, ...] = ()
    by: By | None = None
    most_replications: int = 400
    most_queries: int = 2_000_000

    @property
    def risk(self) -> float:
        """Probability of an error that each decision may have, so that all of them together keep the confidence."""
        return (1.0 - self.confidence) / self.most_looks

    @property
    def most_looks(self) -> int:
        """Decisions that the search for one scenario may take."""
        return MOST_MIX_LOOKS if self.find is Find.NODES and len(self.groups) != 1 else MOST_LOOKS
