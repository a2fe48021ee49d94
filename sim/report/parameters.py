"""What the parameters of a sweep are: what is asked of a fleet, or the design that is to do it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["asked", "design", "label"]

ASKED = ("workload", "classes", "sla")
"""Top keys of what is asked: load, kinds of queries, SLA. One design is better than another where these are equal; that
twice the load takes more nodes, or gets more answers, is no news."""


def asked(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters, by their key paths, that say what is asked."""
    return {key: value for key, value in parameters.items() if key.partition(".")[0] in ASKED}


def design(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the others."""
    return {key: value for key, value in parameters.items() if key.partition(".")[0] not in ASKED}


def label(parameters: Mapping[str, Any]) -> str:
    """Return the values of parameters in one line."""
    return ", ".join(str(value) for value in parameters.values())
