"""Fixtures of the profile tests: the raw measurements, where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def raw_latency() -> Path:
    """Folder of the raw latency measurements; skips where it is absent."""
    given = os.environ.get("MPREC_SHARED")
    shared = Path(given) if given else Path(__file__).resolve().parents[2].parent / "shared"
    folder = shared / "data" / "latency"
    if not folder.is_dir():
        pytest.skip(f"raw measurements are absent: no {folder.name} folder in $MPREC_SHARED or ../shared/data")
    return folder
