"""Interference: how much slower the busy lanes of a device make each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sim.profile.interference import InterferenceProfile
from sim.profile.library import UnknownName, find_interference
from sim.profile.service import Evidence
from sim.serving.findings import Findings
from sim.serving.paths import Plan, is_named
from sim.serving.policies import POLICIES
from sim.spec.binding import problem_at
from sim.spec.experiment import Experiment
from sim.spec.problems import Problem, SpecError
from sim.spec.source import Node

__all__ = [
    "FULL_SPEED",
    "check_interference",
    "device_speeds",
    "find_slowdown",
    "interference_assumptions",
    "interference_evidence",
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


def find_slowdown(
    experiment: Experiment, base_dir: Path, findings: Findings
) -> tuple[tuple[float, ...], InterferenceProfile | None]:
    """Return the factors on service times when 1, 2, ... lanes are busy, and where they were measured, if they were.

    Files are looked for in `base_dir`, then in the working directory. Problems are reported to `findings`.
    """
    interference = experiment.interference
    if interference is None:
        return (1.0,), None
    if not isinstance(interference.slowdown, str):
        return interference.slowdown, None
    try:
        profile = find_interference(interference.slowdown, base_dir)
    except UnknownName as error:
        findings.report(("interference", "slowdown"), error.problem, names=error.known)
        return (1.0,), None
    except SpecError as error:
        findings.problems += error.problems
        return (1.0,), None
    return profile.slowdown, profile


def device_speeds(experiment: Experiment, plan: Plan) -> dict[tuple[int, int], NDArray[np.int64]]:
    """Return the speeds of the lanes of every kind of device, by group and slot; see `lane_speeds`."""
    names = None if experiment.interference is None else experiment.interference.devices
    return {
        (g, slot): lane_speeds(device.lanes, plan.slowdown if is_named(names, group.name, device.name) else (1.0,))
        for g, group in enumerate(plan.groups)
        for slot, device in enumerate(group.devices)
    }


def interference_evidence(experiment: Experiment, plan: Plan) -> tuple[Evidence, ...]:
    """Return the kind of evidence of the slowdown, which service times stand on too; nothing without interference."""
    if experiment.interference is None:
        return ()
    return ("modelled",) if plan.interference is None else (plan.interference.evidence,)


def interference_assumptions(experiment: Experiment, plan: Plan) -> list[str]:
    """Return what interference takes for granted, in plain words, for the report."""
    interference = experiment.interference
    if interference is None:
        return []
    profile = plan.interference
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
    """Return what is wrong with the interference of an experiment: factors that never act.

    Parameters
    ----------
    experiment : Experiment
    plan : Plan
        Its fleet, for the number of lanes that profiles give, and the factors.
    node : Node
        The YAML it was read from, for the positions of problems.
    """
    interference = experiment.interference
    if interference is None:
        return []
    at = ("interference", "slowdown")
    if all(factor == 1.0 for factor in plan.slowdown):
        return [problem_at(node, at, "every factor is 1, so no lane slows another", allowed="a factor above 1")]
    if all(np.all(speeds == FULL_SPEED) for speeds in device_speeds(experiment, plan).values()):
        first = next(busy for busy, factor in enumerate(plan.slowdown, start=1) if factor > 1.0)
        message = f"lanes slow each other from {first} busy ones on, and no device that it applies to has so many"
        return [problem_at(node, at, message, allowed=f"a device with {first} lanes or more")]
    return []
