"""An experiment that is laid out again and again with some of its keys set otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.serving.paths import Plan
from sim.serving.system import System
from sim.spec.experiment import Experiment
from sim.spec.source import Node
from sim.stats.devices import SystemView
from sim.study.planning import plan_scenarios
from sim.study.prepare import PreparedScenario, prepare
from sim.study.replication import query_stream
from sim.study.runs import resolved_experiment
from sim.study.scenario import Scenario, load_scenarios
from sim.workload.draw import QueryStream

__all__ = ["LaidOut", "Variable"]


@dataclass(frozen=True, slots=True)
class LaidOut:
    """One scenario with its fleet laid out, ready to be simulated or served for real.

    Attributes
    ----------
    scenario : Scenario
    prepared : PreparedScenario
    plan : Plan
    """

    scenario: Scenario
    prepared: PreparedScenario
    plan: Plan

    @property
    def parameters(self) -> dict[str, Any]:
        """What distinguishes it in the sweep."""
        return self.scenario.parameters

    @property
    def experiment(self) -> Experiment:
        """The validated scenario."""
        return self.scenario.experiment

    @property
    def node(self) -> Node:
        """The YAML it was read from."""
        return self.scenario.node

    @property
    def base_dir(self) -> Path:
        """Folder of its file."""
        return self.scenario.base_dir

    @property
    def system(self) -> System:
        """The fleet as arrays."""
        return self.prepared.system

    @property
    def view(self) -> SystemView:
        """The fleet as metrics see it."""
        return self.prepared.view

    @property
    def drain_ns(self) -> int:
        """How long the clock runs on after the arrivals."""
        return self.prepared.drain_ns

    @property
    def warmup_ns(self) -> int | None:
        """The warm-up that is cut; None where it is chosen from the run."""
        return self.prepared.warmup_ns

    @property
    def time_varying(self) -> bool:
        """Whether the load varies with time."""
        return self.prepared.time_varying

    @property
    def offered_load(self) -> float | None:
        """Work offered over work possible, where that does not depend on choices."""
        return self.prepared.offered_load

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What is taken for granted."""
        return self.prepared.assumptions

    def stream(self, replication: int) -> QueryStream:
        """Return the queries of a replication, those that a simulation of it gets."""
        return query_stream(self.prepared, replication)


@dataclass(frozen=True, slots=True)
class Variable:
    """An experiment file and what the command line sets in it.

    Attributes
    ----------
    reference : str
        Path, or name of an experiment that ships.
    overrides : tuple of str
        ``key.path=value``.
    seed, replications : int or None
        Instead of the file's.
    """

    reference: str
    overrides: tuple[str, ...] = ()
    seed: int | None = None
    replications: int | None = None

    def lay_out(self, more: Sequence[str] = ()) -> list[LaidOut]:
        """Return the scenarios with `more` set as well.

        Raises
        ------
        SpecError
            With every problem of every scenario.
        """
        scenarios = self._scenarios(more)
        plans = plan_scenarios(scenarios)
        return [LaidOut(*one) for one in zip(scenarios, prepare(scenarios, plans), plans, strict=True)]

    def resolved(self, more: Sequence[str] = ()) -> str:
        """Return the experiment with `more` set, as a file that says everything."""
        return resolved_experiment(self._scenarios(more))

    def _scenarios(self, more: Sequence[str]) -> list[Scenario]:
        return load_scenarios(self.reference, (*self.overrides, *more), seed=self.seed, replications=self.replications)
