"""Measured slowdowns of lanes that are busy together."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from sim.profile.service import Evidence
from sim.spec.interference import InterferenceProfileSpec

__all__ = ["InterferenceProfile", "build_interference"]


@dataclass(frozen=True, slots=True)
class InterferenceProfile:
    """How much slower a lane is when 1, 2, ... lanes of its device are busy.

    Attributes
    ----------
    name : str
    slowdown : tuple of float
        Factors on service times, the first of them 1.
    evidence : {"measured", "published", "modelled"}
    provenance : str
        Where the factors come from, for people.
    content_hash : str
        SHA-256 over the description, hexadecimal.
    description : str
    """

    name: str
    slowdown: tuple[float, ...]
    evidence: Evidence
    provenance: str
    content_hash: str
    description: str = ""


def build_interference(spec: InterferenceProfileSpec, *, name: str) -> InterferenceProfile:
    """Make a profile from its specification; `name` is used where it gives none."""
    canonical = json.dumps(spec.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return InterferenceProfile(
        name=spec.name or name,
        slowdown=spec.slowdown,
        evidence=spec.evidence,
        provenance="\n".join(f"{key}: {value}" for key, value in spec.provenance if value is not None),
        content_hash=hashlib.sha256(canonical.encode()).hexdigest(),
        description=spec.description,
    )
