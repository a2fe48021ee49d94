"""Switch: one representation, on whichever device completes it first."""

from __future__ import annotations

from collections.abc import Sequence

from sim.serving.policies.base import PathView, Policy
from sim.serving.policies.fastest import choose_fastest
from sim.spec.experiment import SwitchPolicySpec

__all__ = ["SWITCH"]


def _eligible(spec: SwitchPolicySpec, paths: Sequence[PathView]) -> list[PathView]:
    return [path for path in paths if path.representation == spec.representation]


SWITCH = Policy("switch", choose_fastest, eligible=_eligible)
