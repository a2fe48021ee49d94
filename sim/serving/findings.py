"""What planning finds out about a scenario: its problems, and what it takes for granted."""

from __future__ import annotations

from collections.abc import Sequence

from sim.spec.binding import problem_at
from sim.spec.problems import Problem, SpecError
from sim.spec.source import KeyPath, Node

__all__ = ["Findings"]


class Findings:
    """Collects problems and assumptions while a scenario is planned.

    Parameters
    ----------
    node : Node
        The YAML that the scenario was read from, for the positions of problems.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.problems: list[Problem] = []
        self.assumptions: list[str] = []

    def report(
        self, path: KeyPath, message: str, *, allowed: str | None = None, names: Sequence[str] | None = None
    ) -> None:
        """Note a problem with what stands at `path`."""
        self.problems.append(problem_at(self.node, path, message, allowed=allowed, names=names))

    def assume(self, line: str) -> None:
        """Note what is taken for granted."""
        self.assumptions.append(line)

    def stop_if_broken(self) -> None:
        """Raise a `SpecError` with every problem so far, if there is one."""
        if self.problems:
            raise SpecError(self.problems)
