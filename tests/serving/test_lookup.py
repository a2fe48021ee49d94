"""The compiled look-up against the profile's own, in numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.profile.library import find_device, find_model
from sim.profile.service import ParametricService, ServiceTable
from sim.serving.lookup import expected_ns, pack_services, service_ns


@st.composite
def tables(draw: st.DrawFn) -> ServiceTable:
    sizes = sorted(draw(st.sets(st.integers(1, 500), min_size=1, max_size=6)))
    levels = sorted(draw(st.sets(st.integers(0, 20), min_size=1, max_size=5)))
    rows = [sorted(draw(st.lists(st.integers(0, 10**7), min_size=len(levels), max_size=len(levels)))) for _ in sizes]
    rows.sort()
    beyond = draw(st.sampled_from(["refuse", "linear"])) if len(sizes) > 1 else "refuse"
    try:
        return ServiceTable(
            np.array(sizes, dtype=np.int64),
            np.array(levels, dtype=np.float64) / 20,
            np.array(rows, dtype=np.float64),
            beyond=beyond,  # type: ignore[arg-type]
            round_to_ns=draw(st.sampled_from([0, 1, 1000])),
            size_step=draw(st.sampled_from(["linear", "ceil"])),  # type: ignore[arg-type]
        )
    except ValueError:  # Tables that the profile refuses are not looked up.
        return ServiceTable(np.array([1, 500]), np.array([0.5]), np.array([[1.0], [2.0]]))


@settings(max_examples=300, deadline=None)
@given(tables(), st.data())
def test_table(table: ServiceTable, data: st.DataObject) -> None:
    packed = pack_services([ParametricService("deterministic", 5.0), table])
    low = 1 if table.min_size is None else table.min_size
    high = 1000 if table.max_size is None else table.max_size
    size = data.draw(st.integers(low, high))
    u = data.draw(st.floats(0.0, 1.0, exclude_max=True))
    expected = int(table.quantile_at(size, u))
    found = service_ns(packed.index, packed.grid, 1, size, u, 1.0)
    if found != expected:
        # They add in a different order, so a tie may round apart, by one step and only where it is a tie.
        assert abs(found - expected) == max(table.round_to_ns, 1)
        to_1_ns = float(table.with_options(round_to_ns=1).quantile_at(size, u))
        assert abs(to_1_ns - (found + expected) / 2) <= 1.0
    assert expected_ns(packed.index, packed.grid, 1, size) == pytest.approx(float(table.mean_at(size)), abs=0.5001)


@pytest.mark.parametrize(
    ("device", "model"),
    [("kairos-g4dn.xlarge", "rm2"), ("ribbon-c5.2xlarge", "mtwnd"), ("gpu-v100", "dlrm-kaggle")],
)
def test_shipped_profiles(device: str, model: str) -> None:
    service = find_device(device).service(find_model(model), "table")
    assert service is not None
    packed = pack_services([service])
    rng = np.random.default_rng(1)
    size = rng.integers(service.min_size or 1, (service.max_size or 5000) + 1, 2000)
    u = rng.random(2000)
    found = [service_ns(packed.index, packed.grid, 0, int(n), float(x), 1.0) for n, x in zip(size, u, strict=True)]
    assert np.max(np.abs(np.array(found) - service.quantile_at(size, u))) <= 1


@pytest.mark.parametrize("distribution", ["exponential", "deterministic", "lognormal", "gamma"])
def test_parametric(distribution: str) -> None:
    cv = 1.7 if distribution in ("lognormal", "gamma") else None
    service = ParametricService(distribution, 3e6, 2e4, cv)  # type: ignore[arg-type]
    other = ParametricService("gamma", 1e6, 0.0, 0.5)
    packed = pack_services([other, service, service])
    assert packed.unit_of_service.tolist() == [0, 1, 1]
    rng = np.random.default_rng(2)
    size = rng.integers(1, 1000, 500)
    u = rng.random(500)
    multiplier = packed.units[1].unit_quantile(u)
    found = [
        service_ns(packed.index, packed.grid, 1, int(n), float(x), float(m))
        for n, x, m in zip(size, u, multiplier, strict=True)
    ]
    assert np.max(np.abs(np.array(found) - service.quantile_at(size, u))) <= 1
