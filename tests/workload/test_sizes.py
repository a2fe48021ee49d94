"""Size distributions: exact moments, draws, bounds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats

from sim.spec.problems import SpecError
from sim.spec.workload import WorkloadSpec
from sim.workload.sizes import SizeDistribution, size_distribution
from sim.workload.streams import open_stream

KINDS: dict[str, Any] = {
    "fixed": {"kind": "fixed", "size": 7},
    "uniform": {"kind": "uniform", "min": 3, "max": 12},
    "lognormal": {"kind": "lognormal", "mean": 128, "sigma": 1.0, "max": 4096},
    "lognormal-mu": {"kind": "lognormal", "mu": 5.1, "sigma": 0.2, "min": 10, "max": 500},
    "normal": {"kind": "normal", "mean": 100, "sd": 40, "min": 1, "max": 150},
    "quantiles": {"kind": "quantiles", "values": [100, 200, 200, 700]},
    "mixture": {
        "kind": "mixture",
        "parts": [
            {"weight": 3, "sizes": {"kind": "uniform", "min": 1, "max": 10}},
            {"weight": 1, "sizes": {"kind": "fixed", "size": 1000}},
        ],
    },
    "by-name": "mlperf-dlrm-v2",
}


def distribution(sizes: Any, base_dir: Path = Path()) -> SizeDistribution:
    arrivals = {"kind": "poisson", "rate": "1/s"}
    spec = WorkloadSpec.model_validate({"arrivals": arrivals, "sizes": sizes, "queries": 1})
    return size_distribution(spec, base_dir)


@pytest.mark.parametrize("kind", KINDS)
def test_draws_have_the_exact_moments(kind: str) -> None:
    n = 200_000
    law = distribution(KINDS[kind])
    drawn = law.draw(open_stream(1, "size", 0).uniforms(n), np.arange(n))
    assert drawn.min() >= law.bounds[0] and drawn.max() <= law.bounds[1]
    assert math.isclose(law.probabilities.sum(), 1.0, rel_tol=1e-12)
    error = math.sqrt(law.variance / n)
    assert abs(drawn.mean() - law.mean) <= 5 * error
    frequency = np.array([np.mean(drawn == value) for value in law.values[:50]])
    allowed = 6 * np.sqrt(law.probabilities[:50] / n) + 6 / n
    assert np.all(np.abs(frequency - law.probabilities[:50]) <= allowed)


def test_a_lognormal_is_conditioned_on_its_bounds_and_rounded() -> None:
    law = distribution(KINDS["lognormal"])
    density = stats.lognorm(1.0, scale=128 * math.exp(-0.5)).pdf
    mass, _ = integrate.quad(density, 0.5, 4096.5, limit=200)
    for size in (1, 50, 128, 4096):
        inside, _ = integrate.quad(density, size - 0.5, size + 0.5)
        assert law.probabilities[size - 1] == pytest.approx(inside / mass, rel=1e-6)
    assert law.bounds == (1, 4096)


def test_hand_worked_moments() -> None:
    assert distribution(KINDS["uniform"]).mean == pytest.approx(7.5)
    assert distribution(KINDS["uniform"]).variance == pytest.approx((10**2 - 1) / 12)
    assert distribution(KINDS["quantiles"]).mean == 300
    assert distribution(KINDS["mixture"]).mean == pytest.approx(0.75 * 5.5 + 0.25 * 1000)
    assert distribution("mlperf-dlrm-v2").mean == pytest.approx(270)
    assert distribution("mlperf-dlrm-v2").bounds == (100, 700)


def test_a_trace_of_sizes_is_replayed_in_order(tmp_path: Path) -> None:
    (tmp_path / "sizes.csv").write_text("size\n5\n9\n2\n")
    law = distribution({"kind": "trace", "file": "sizes.csv", "repeat": True}, tmp_path)
    assert law.draw(np.full(5, 0.5), np.arange(1, 6)).tolist() == [9, 2, 5, 9, 2]
    assert law.bounds == (2, 9) and law.mean == pytest.approx(16 / 3)
    (tmp_path / "sizes.csv").write_text("size\n5\n-1\n2.5\n")
    with pytest.raises(SpecError) as caught:
        distribution({"kind": "trace", "file": "sizes.csv"}, tmp_path)
    assert "sizes.csv:3:1" in str(caught.value) and "sizes.csv:4:1" in str(caught.value)


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(SpecError, match="mlperf-dlrm-v2"):
        distribution("mlperf-dlrm")
