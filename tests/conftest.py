"""Runs a test on both engines: `usefixtures("engine")` on the test or its module. Finds the raw measurements."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from sim.engine.engines import Engine
from tests.harness import ENGINE


def pytest_configure() -> None:
    """Let what tests start be interrupted: a shell has what it starts in the background ignore Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _nothing_from_former_runs() -> Iterator[None]:
    """What a test runs is run, whatever was run before; tests of the store name their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPREC_STORE", "none")
        yield


@pytest.fixture(name="engine", params=list(Engine), ids=str, scope="module")
def _engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """The engine that everything in `tests.harness` runs on."""
    token = ENGINE.set(request.param)
    yield request.param
    ENGINE.reset(token)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Make tests that are marked `slow_on_reference` opt-in on the reference engine, 14 to 26 seconds each."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        on_reference = callspec is not None and callspec.params.get("engine") is Engine.REFERENCE
        if on_reference and item.get_closest_marker("slow_on_reference"):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def raw_latency() -> Path:
    """Folder of the raw latency measurements; skips where it is absent."""
    given = os.environ.get("MPREC_SHARED")
    shared = Path(given) if given else Path(__file__).resolve().parents[1].parent / "shared"
    folder = shared / "data" / "latency"
    if not folder.is_dir():
        pytest.skip(f"raw measurements are absent: no {folder.name} folder in $MPREC_SHARED or ../shared/data")
    return folder
