"""Sets how many nodes of each group a scenario has, and says what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import yaml

from sim.serving.plan import Plan
from sim.spec.binding import problem_at
from sim.spec.problems import Problem, SpecError, nearest_name
from sim.stats.summary import ScenarioSummary
from sim.study.scenario import Scenario

__all__ = ["FleetScale", "mean_power_w"]


@dataclass(frozen=True, slots=True)
class FleetScale:
    """The node groups of a scenario, to be counted anew.

    Attributes
    ----------
    scenario : Scenario
    groups : tuple of str
        Those that are counted, in the order of the fleet.
    """

    scenario: Scenario
    groups: tuple[str, ...]

    @classmethod
    def of(cls, scenario: Scenario, groups: Sequence[str]) -> FleetScale:
        """Return the groups that were asked for; without any, the only group or all of them.

        Raises
        ------
        SpecError
            If there is no group of a name.
        """
        names = [group.name for group in scenario.experiment.fleet]
        unknown = [
            Problem(
                "no such node group",
                key_path="--group",
                value=name,
                allowed=", ".join(names),
                nearest=nearest_name(name, names),
            )
            for name in groups
            if name not in names
        ]
        if unknown:
            raise SpecError(unknown)
        return cls(scenario, tuple(name for name in names if not groups or name in groups))

    def counts(self) -> dict[str, int]:
        """Return how many nodes the file has of each group that is counted."""
        return {group.name: group.count for group in self.scenario.experiment.fleet if group.name in self.groups}

    def changes(self, counts: Mapping[str, int]) -> tuple[str, ...]:
        """Return what sets the counts; a group of 0 nodes is left out of the fleet."""
        fleet = self.scenario.experiment.fleet
        if all(counts.get(group.name, 1) > 0 for group in fleet):
            return tuple(
                f"fleet.{i}.count={counts[group.name]}" for i, group in enumerate(fleet) if group.name in counts
            )
        written = self.scenario.node.child("fleet")
        assert written is not None
        kept = [
            {**item, "count": counts.get(group.name, group.count)}
            for item, group in zip(written.plain(), fleet, strict=True)
            if counts.get(group.name, 1) > 0
        ]
        return (f"fleet={yaml.safe_dump(kept, default_flow_style=True, width=10**9, sort_keys=False).strip()}",)

    def price_usd_per_h(self, plan: Plan) -> dict[str, float]:
        """Return the price of a node of each group.

        Raises
        ------
        SpecError
            If the price of a device is not known.
        """
        return self._of_profiles(plan, "price_usd_per_h", "price")

    def idle_w(self, plan: Plan) -> dict[str, float]:
        """Return what a node of each group takes at least.

        Raises
        ------
        SpecError
            If the power of a device is not known.
        """
        return self._of_profiles(plan, "idle_w", "power")

    def _of_profiles(self, plan: Plan, name: str, what: str) -> dict[str, float]:
        found: dict[str, float] = {}
        problems: list[Problem] = []
        for i, group in enumerate(plan.groups):
            if group.name not in self.groups:
                continue
            values = [getattr(device.profile, name) for device in group.devices]
            for device, value in zip(group.devices, values, strict=True):
                if value is None:
                    problems.append(
                        problem_at(
                            self.scenario.node,
                            ("fleet", i, "devices", device.name),
                            f"the {what} of {device.profile.name} is not known, so mixes cannot be told apart by it",
                            allowed=f"a profile with a {what}, or --group for a single group",
                        )
                    )
            if None not in values:
                found[group.name] = float(sum(values))
        if problems:
            raise SpecError(problems)
        return found


def mean_power_w(summary: ScenarioSummary) -> float | None:
    """Return the mean electrical power of the fleet in W; None where it is not known."""
    energy = summary.metrics["energy_j_per_million_correct"].value
    rate = summary.metrics["correct_predictions_per_s"].value
    return None if energy is None or rate is None else energy * rate / 1e6
