"""Which measured device checks which roofline: those of the same hardware by their names, or those that were named.

A measured profile is of the same hardware if its name has every part of the modelled one's, the kind and the words
`roofline` and `datasheet` apart: `triton-t4` checks `gpu-t4`. One that was measured behind an MP-Cache says so at the
end of its name, and checks nothing that has none.
"""

from __future__ import annotations

from collections.abc import Sequence

from sim.calibrate.measure.host import BEHIND_CACHE
from sim.calibrate.roofline_check import RooflineCheck, check_roofline
from sim.profile.device import Device
from sim.profile.library import UnknownName, find_device, find_model, list_devices, list_models
from sim.spec.problems import Problem, SpecError, nearest_name

__all__ = ["find_checks", "same_hardware"]

_SAYS_NOTHING = frozenset({"roofline", "datasheet"})


def same_hardware(modelled: str, kind: str, measured: str) -> bool:
    """Whether a measured profile is of the hardware of a modelled one, by their names."""
    parts = set(modelled.lower().split("-")) - _SAYS_NOTHING - {kind}
    return bool(parts) and parts <= set(measured.lower().split("-")) and not measured.endswith(BEHIND_CACHE)


def find_checks(
    devices: Sequence[str], against: Sequence[str], models: Sequence[str]
) -> tuple[list[RooflineCheck], list[str]]:
    """Return every check that can be made, and why others cannot.

    Parameters
    ----------
    devices : sequence of str
        Devices with a roofline, by name or path; all that are found by name if empty.
    against : sequence of str
        Measured devices; those of the same hardware if empty.
    models : sequence of str
        All that are found by name if empty.

    Raises
    ------
    SpecError
        If a name is unknown, a device has no roofline, or one to compare with has no tables.
    """
    problems: list[Problem] = []
    every = {name: find_device(name) for name in list_devices()}
    modelled = [_device(name, every, problems) for name in devices] or list(every.values())
    measured = [_device(name, every, problems) for name in against] or list(every.values())
    known = []
    for name in models or list_models():
        try:
            known.append(find_model(name))
        except UnknownName as unknown:
            problems.append(_unknown(unknown))
    for name, device in zip(devices, modelled, strict=False):
        if device is not None and device.roofline is None:
            problems.append(Problem("the device has no roofline", value=name))
    for name, device in zip(against, measured, strict=False):
        if device is not None and not device.profiles:
            problems.append(Problem("the device has no tables to compare with", value=name))
    if problems:
        raise SpecError(problems)
    checks: list[RooflineCheck] = []
    unused = []
    for one in modelled:
        if one is None or one.roofline is None:
            continue
        others = [
            other
            for other in measured
            if other is not None
            and other.evidence != "modelled"
            and (against or same_hardware(one.name, one.kind, other.name))
        ]
        found = [check for other in others for model in known for check in check_roofline(one, other, model)]
        checks += found
        if not found:
            names = ", ".join(other.name for other in others)
            unused.append(
                f"{one.name}: not checked; "
                + (
                    f"{names} has no model that a roofline can time"
                    if others
                    else "no profile of this hardware is at hand"
                )
            )
    return checks, unused


def _device(name: str, every: dict[str, Device], problems: list[Problem]) -> Device | None:
    if name in every:
        return every[name]
    try:
        return find_device(name)
    except UnknownName as unknown:
        problems.append(_unknown(unknown))
        return None


def _unknown(unknown: UnknownName) -> Problem:
    nearest = nearest_name(unknown.name, unknown.known)
    return Problem(unknown.problem, value=unknown.name, allowed=", ".join(unknown.known), nearest=nearest)
