"""What is measured: something that is loaded once, is given inputs, and serves them stage by stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

__all__ = ["Cell", "Served", "Subject", "SubjectSource"]


class Cell(NamedTuple):
    """A representation at a query size."""

    representation: str
    size: int


class Served(NamedTuple):
    """How long one query took: in all, and in each of the subject's stages."""

    total_ns: int
    stage_ns: Sequence[int]


class Subject(Protocol):
    """One representation, loaded.

    Attributes
    ----------
    stages : tuple of str
        Names of what `serve` times within a query, as in `sim.calibrate.sample_set.STAGES` but for "total".
    apart : tuple of str
        Names of what `time_apart` times.
    """

    stages: tuple[str, ...]
    apart: tuple[str, ...]

    def renew(self, block: int) -> None:
        """Draw the inputs of a block anew; the same block gets the same."""

    def take(self, size: int) -> Any:
        """Return inputs of a query of `size` that were not used for long; not timed."""

    def serve(self, inputs: Any) -> Served:
        """Serve a query to the end of its answer; timed."""

    def time_apart(self, inputs: Any) -> Sequence[int]:
        """Do what is no part of a query with the inputs of one that was served; return the times in ns."""


Subjects: TypeAlias = Mapping[str, Subject]


class SubjectSource(Protocol):
    """Loads subjects in the process that measures; what it holds is sent there, so that it must be small."""

    def load(self, representations: Sequence[str], lane: int) -> Subjects:
        """Load these and nothing else; those of an earlier call are gone.

        Parameters
        ----------
        representations : sequence of str
        lane : int
            Number of the lane, from 0: lanes draw inputs of their own.
        """
