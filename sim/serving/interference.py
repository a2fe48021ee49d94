"""Interference: how much slower the busy lanes of a device make each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sim.profile.interference import InterferenceProfile
from sim.profile.library import UnknownName, find_interference
from sim.profile.service import Evidence
from sim.serving.paths import Plan, is_named
from sim.serving.policies import POLICIES
from sim.spec.binding import problem_at
from sim.spec.experiment import Experiment
from sim.spec.problems import Problem
from sim.spec.source import Node

__all__ = [
    "FULL_SPEED",
    "check_interference",
    "device_speeds",
    "interference_assumptions",
    "interference_evidence",
    "interference_profile",
    "lane_speeds",
    "slowed_speed",
]

FULL_SPEED = 1 << 20
"""Speed of a lane that nothing slows, in the units in which engines count work."""


def lane_speeds(lanes: int, slowdown: Sequence[float]) -> NDArray[np.int64]:
    """Return the speed of a lane when 1, 2, ..., `lanes` lanes of its device are busy.

    Parameters
    ----------
    lanes : int
    slowdown : sequence of float
        Factor on service times when 1, 2, ... lanes are busy; more lanes than factors are slowed by the last one.

    Returns
    -------
    int64, shape (lanes,)
        In units of 1 / `FULL_SPEED`, rounded to the nearest.
    """
    factors = np.array([slowdown[min(busy, len(slowdown) - 1)] for busy in range(lanes)])
    return np.maximum(np.rint(FULL_SPEED / factors), 1).astype(np.int64)


def slowed_speed(speed: int, slowdown: float) -> int:
    """Return the speed of a lane whose device is slowed by a factor, in the same units."""
    return speed if slowdown == 1.0 else max(1, round(speed / slowdown))


def interference_profile(experiment: Experiment) -> InterferenceProfile | None:
    """Return the measured slowdown that the experiment names; None where it names none.

    Raises
    ------
    UnknownName
        If no shipped file has that name.
    """
    interference = experiment.interference
    if interference is None or not isinstance(interference.slowdown, str):
        return None
    return find_interference(interference.slowdown)


def _slowdown(experiment: Experiment) -> tuple[float, ...]:
    interference = experiment.interference
    if interference is None:
        return (1.0,)
    if isinstance(interference.slowdown, str):
        return find_interference(interference.slowdown).slowdown
    return interference.slowdown


def device_speeds(experiment: Experiment, plan: Plan) -> dict[tuple[int, int], NDArray[np.int64]]:
    """Return the speeds of the lanes of every kind of device, by group and slot; see `lane_speeds`.

    Raises
    ------
    UnknownName
        If the experiment names a slowdown that there is not.
    """
    slowdown = _slowdown(experiment)
    names = None if experiment.interference is None else experiment.interference.devices
    return {
        (g, slot): lane_speeds(device.lanes, slowdown if is_named(names, group.name, device.name) else (1.0,))
        for g, group in enumerate(plan.groups)
        for slot, device in enumerate(group.devices)
    }


def interference_evidence(experiment: Experiment) -> tuple[Evidence, ...]:
    """Return the kind of evidence of the slowdown, which service times stand on too; nothing without interference."""
    if experiment.interference is None:
        return ()
    profile = interference_profile(experiment)
    return ("modelled",) if profile is None else (profile.evidence,)


def interference_assumptions(experiment: Experiment, plan: Plan) -> list[str]:
    """Return what interference takes for granted, in plain words, for the report."""
    interference = experiment.interference
    if interference is None:
        return []
    profile = interference_profile(experiment)
    lines = []
    if profile is None:
        lines.append("slowdown of busy lanes is assumed")
    else:
        lines.append(f"busy lanes slow each other as in {profile.name} ({profile.evidence}), whatever they serve")
        most = len(profile.slowdown)
        beyond = {
            device.name
            for group in plan.groups
            for device in group.devices
            if device.lanes > most and is_named(interference.devices, group.name, device.name)
        }
        if beyond:
            lines.append(f"more than {most} busy lanes of {', '.join(sorted(beyond))} are slowed as {most} are")
    if _expects_service_times(experiment):
        lines.append("policies, routers and shedding expect service times that no other lane slows")
    return lines


def _expects_service_times(experiment: Experiment) -> bool:
    router = experiment.router
    return (
        POLICIES[experiment.policy.kind].uses_estimates
        or (router is not None and router.kind == "least-expected-completion")
        or getattr(router, "measure", "queries") == "work"
        or (experiment.queue is not None and experiment.queue.shed == "hopeless")
    )


def check_interference(experiment: Experiment, plan: Plan, node: Node) -> list[Problem]:
    """Return what is wrong with the interference of an experiment: unknown names, and factors that never act.

    Parameters
    ----------
    experiment : Experiment
    plan : Plan
        Its fleet, for the number of lanes that profiles give.
    node : Node
        The YAML it was read from, for the positions of problems.
    """
    interference = experiment.interference
    if interference is None:
        return []
    names = {device.name for group in plan.groups for device in group.devices}
    full = [f"{group.name}/{device.name}" for group in plan.groups for device in group.devices]
    known = [*sorted(names), *full]
    problems = [
        problem_at(node, ("interference", "devices", i), f"no device of the fleet is called {name!r}", names=known)
        for i, name in enumerate(interference.devices or ())
        if name not in known
    ]
    at = ("interference", "slowdown")
    try:
        slowdown = _slowdown(experiment)
    except UnknownName as error:
        message = f"no measured slowdown is called {error.name!r}"
        return [*problems, problem_at(node, at, message, names=error.known)]
    if problems:
        return problems
    if all(factor == 1.0 for factor in slowdown):
        return [problem_at(node, at, "every factor is 1, so no lane slows another", allowed="a factor above 1")]
    if all(np.all(speeds == FULL_SPEED) for speeds in device_speeds(experiment, plan).values()):
        first = next(busy for busy, factor in enumerate(slowdown, start=1) if factor > 1.0)
        message = f"lanes slow each other from {first} busy ones on, and no device that it applies to has so many"
        return [problem_at(node, at, message, allowed=f"a device with {first} lanes or more")]
    return []
