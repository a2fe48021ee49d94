"""Binding: what the policy is told of the paths it chooses among, its pick, and the service times that follow."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from operator import index

import numpy as np
from numpy.typing import NDArray

from sim.engine.instant import Clock
from sim.engine.station import Lane, Part
from sim.serving.compiled import jit
from sim.serving.estimate import estimate_paths
from sim.serving.lookup import expected_ns, service_ns
from sim.serving.policies.base import DROP
from sim.serving.policies.user import is_own, policy_raised, policy_returned
from sim.serving.spells import next_level
from sim.serving.state import State
from sim.serving.system import System

__all__ = ["NO_USABLE_PATH", "Binder", "ChoiceSet"]

NO_USABLE_PATH = -2
"""Returned instead of a pick where every path of the node is out of use."""


@dataclass(frozen=True, slots=True)
class ChoiceSet:
    """The paths that the policy chooses among at one place, with room for their estimates."""

    first: int
    accuracy: NDArray[np.float64]
    service_ns: NDArray[np.int64]
    wait_ns: NDArray[np.int64]


def _choice_set(system: System, first: int, end: int) -> ChoiceSet:
    count = end - first
    return ChoiceSet(
        first,
        system.path_accuracy[first:end].copy(),
        np.zeros(count, dtype=np.int64),
        np.zeros(count, dtype=np.int64),
    )


class Binder:
    """Asks the policy for a path, and looks up how long parts take on it.

    Attributes
    ----------
    node_choices : list of ChoiceSet
        By group * models + model: the paths that the policy chooses among on a node.
    device_choices : dict of (group * models + model, slot) to ChoiceSet
        The same where the device is given, as it is under late binding.
    restricted : set of int
        Nodes some of whose paths are out of use; the policy is shown the others alone.
    """

    def __init__(self, system: System, state: State, env: Clock) -> None:
        self.system = system
        self.state = state
        self.env = env
        self.choose = jit(system.choose) if system.compiles else system.choose
        self.class_parameters: list[NDArray[np.float64]] = list(system.policy_parameters)
        self.unit_of_path: list[int] = system.services.unit_of_service.tolist()
        self.node_choices = [
            _choice_set(system, int(first), int(end))
            for first, end in zip(system.group_path[:-1], system.group_path[1:], strict=True)
        ]
        self.device_choices = self._device_choices() if system.late_lanes is not None else {}
        self.node_device: list[int] = system.node_device.tolist()
        self.restricted: set[int] = set()
        spells = system.spells
        self.spell_of_device = [
            (own, spells.decay[first:end], spells.weight[first:end]) if end > first else None
            for own, (first, end) in zip(spells.own.tolist(), pairwise(spells.first.tolist()), strict=True)
        ]

    def _device_choices(self) -> dict[tuple[int, int], ChoiceSet]:
        """Return the paths of each (group * models + model, slot): what there is when the device is given."""
        system = self.system
        slots: list[int] = system.paths[:, 0].tolist()
        choices = {}
        for cell in range(len(system.group_path) - 1):
            rows = range(int(system.group_path[cell]), int(system.group_path[cell + 1]))
            for slot in sorted({slots[row] for row in rows}):
                mine = [row for row in rows if slots[row] == slot]
                choices[cell, slot] = _choice_set(system, mine[0], mine[-1] + 1)
        return choices

    def pick(self, choice: ChoiceSet, node: int, size: int, time_left_ns: int, query_class: int) -> int:
        """Return the policy's pick among the paths of `choice` on `node`; DROP or NO_USABLE_PATH without one."""
        system = self.system
        if system.uses_estimates:
            state = self.state
            services = system.services
            estimate_paths(
                size,
                self.env.now,
                system.sees_queue,
                self.node_device[node],
                choice.first,
                system.paths,
                system.device_lane,
                state.idle_lanes,
                state.waiting_parts,
                state.waiting_work_ns,
                state.lane_until_ns,
                services.index,
                services.grid,
                choice.service_ns,
                choice.wait_ns,
            )
        if node in self.restricted:
            return self._pick_usable(choice, node, size, time_left_ns, query_class)
        return self._choose(size, time_left_ns, choice.accuracy, choice.service_ns, choice.wait_ns, query_class)

    def _pick_usable(self, choice: ChoiceSet, node: int, size: int, time_left_ns: int, query_class: int) -> int:
        """Show the policy only those paths of `choice` that are in use."""
        system = self.system
        first = int(system.group_path[system.node_group[node] * system.models])
        place = int(system.node_path[node]) + choice.first - first
        rows = np.flatnonzero(self.state.usable_paths[place : place + len(choice.accuracy)])
        if not len(rows):
            return NO_USABLE_PATH
        pick = self._choose(
            size, time_left_ns, choice.accuracy[rows], choice.service_ns[rows], choice.wait_ns[rows], query_class
        )
        return pick if pick == DROP else int(rows[pick])

    def _choose(
        self,
        size: int,
        time_left_ns: int,
        accuracy: NDArray[np.float64],
        service_ns: NDArray[np.int64],
        wait_ns: NDArray[np.int64],
        query_class: int,
    ) -> int:
        parameters = self.class_parameters[query_class]
        try:
            answer = self.choose(size, time_left_ns, accuracy, service_ns, wait_ns, parameters)
        except (Exception, SystemExit) as error:
            # Code of others may fail in any way, and is not to end what asks it; what ships shows where it failed.
            if not is_own(self.system.choose):
                raise
            raise policy_raised(self.system.choose, error, size, len(accuracy)) from error
        try:
            pick = index(answer)
        except TypeError:
            pick = NO_USABLE_PATH
        if not DROP <= pick < len(accuracy):
            raise policy_returned(self.system.choose, answer, size, len(accuracy))
        return pick

    def look_up(self, part: Part, choice: ChoiceSet, pick: int, estimated: bool) -> None:
        """Give the part its path, and its true and expected service times.

        `estimated` says that `choice` holds the policy's estimate for a part of this very size.
        """
        system = self.system
        part.path = choice.first + pick
        if estimated and system.uses_estimates and not system.knows_service:
            self.time(part, part.size, int(choice.service_ns[pick]))
        else:
            self.time(part, part.size)

    def enter_spell(self, part: Part, samples: int, lane: Lane) -> None:
        """Let the true service time of what a lane begins with be that of the spell in which the lane is, if any."""
        spell = self.spell_of_device[lane.device]
        if spell is None:
            return
        level = next_level(part.multipliers[-1], lane.past, *spell)
        services = self.system.services
        part.service_ns = service_ns(services.index, services.grid, part.path, samples, level, 1.0)

    def time(self, part: Part, samples: int, mean_ns: int | None = None) -> None:
        """Give the part its true and expected service times for so many samples; `mean_ns` where it is known."""
        system = self.system
        index, grid = system.services.index, system.services.grid
        path = part.path
        unit = self.unit_of_path[path]
        multiplier = part.multipliers[unit] if unit >= 0 else 1.0
        part.service_ns = service_ns(index, grid, path, samples, part.u, multiplier)
        if system.knows_service:
            part.expected_ns = part.service_ns
        else:
            part.expected_ns = expected_ns(index, grid, path, samples) if mean_ns is None else mean_ns
