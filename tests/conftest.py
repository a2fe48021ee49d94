"""Runs a test on both engines: `usefixtures("engine")` on the test or its module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sim.engine.engines import Engine
from tests.harness import ENGINE


@pytest.fixture(name="engine", params=list(Engine), ids=str, scope="module")
def _engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """The engine that everything in `tests.harness` runs on."""
    token = ENGINE.set(request.param)
    yield request.param
    ENGINE.reset(token)
