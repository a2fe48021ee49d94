"""Routers: which node gets a query. One file a router, each registered once, here."""

from __future__ import annotations

from sim.serving.routers.base import Route, Router
from sim.serving.routers.least_backlog import LEAST_BACKLOG
from sim.serving.routers.least_expected_completion import LEAST_EXPECTED_COMPLETION
from sim.serving.routers.power_of_d import POWER_OF_D
from sim.serving.routers.random import RANDOM
from sim.serving.routers.round_robin import ROUND_ROBIN

__all__ = ["ROUTERS", "Route", "Router"]

ROUTERS: dict[str, Router] = {
    router.kind: router for router in (RANDOM, ROUND_ROBIN, LEAST_BACKLOG, POWER_OF_D, LEAST_EXPECTED_COMPLETION)
}
"""Every router by the `kind` that an experiment file names."""
