"""The load shapes that ship are what their sources give."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from sim.calibrate.shapes import SHAPES, shape_text
from sim.profile.library import data_dir
from sim.workload.shapes import find_shape, list_workload_files

SHARED = Path(os.environ.get("MPREC_SHARED", Path(__file__).parents[3] / "shared" / "data"))


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_has_mean_one(name: str) -> None:
    rates = find_shape(name)
    assert np.all(rates >= 0) and rates.mean() == pytest.approx(1.0, abs=1e-4)


def test_every_shape_says_where_it_comes_from() -> None:
    assert set(list_workload_files("shapes")) == set(SHAPES)


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_is_derived_from_its_source_exactly(name: str) -> None:
    if not (SHARED / SHAPES[name].file).is_file():
        pytest.skip(f"the raw trace {SHAPES[name].file} is not at hand")
    assert (data_dir("workloads") / "shapes" / f"{name}.yaml").read_text() == shape_text(name, SHARED)
