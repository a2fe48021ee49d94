"""Service tables and textbook laws: interpolation by hand, moments against integrals, refusals."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.profile.service import ParametricService, ServiceTable, SizeOutOfRange


def table(**options: Any) -> ServiceTable:
    return ServiceTable(
        sizes=np.array([10, 20, 40]),
        levels=np.array([0.0, 0.5, 1.0]),
        service_ns=np.array([[100.0, 200.0, 400.0], [200.0, 400.0, 800.0], [300.0, 500.0, 900.0]]),
        **options,
    )


def test_interpolates_in_size_and_in_draw() -> None:
    # Size 15 is half way between the rows; u = 0.75 half way between its median 300 and its maximum 600.
    assert table().quantile_at(15, 0.75) == 450
    assert table().quantile_at([10, 20, 40], 0.5).tolist() == [200, 400, 500]
    assert table().quantile_at(30, [0.0, 0.25, 1.0]).tolist() == [250, 350, 850]


def test_mean_is_the_integral_of_the_quantile_function() -> None:
    assert table().mean_ns.tolist() == [225.0, 450.0, 550.0]
    assert table().mean_at([10, 15, 30]).tolist() == [225.0, 337.5, 500.0]


def test_quantile_function_is_constant_outside_its_levels() -> None:
    narrow = ServiceTable(np.array([5]), np.array([0.2, 0.6]), np.array([[100.0, 300.0]]))
    assert narrow.quantile_at(5, [0.0, 0.2, 0.4, 0.6, 1.0]).tolist() == [100, 100, 200, 300, 300]
    # 0.2 x 100 + 0.4 x 200 + 0.4 x 300
    assert narrow.mean_ns[0] == pytest.approx(220.0, rel=1e-12)
    # 0.2 x 1e4 + 0.4 x (1e4 + 3e4 + 9e4)/3 + 0.4 x 9e4
    assert narrow.second_moment_ns2[0] == pytest.approx(55_333.333333, rel=1e-9)


def test_one_level_is_deterministic() -> None:
    fixed = ServiceTable(np.array([1, 3]), np.array([0.5]), np.array([[100.0], [300.0]]))
    assert fixed.quantile_at(2, [0.0, 0.3, 1.0]).tolist() == [200, 200, 200]
    assert fixed.variance_ns2.tolist() == [0.0, 0.0]
    assert fixed.second_moment_at(2) == 200.0**2


@given(
    values=st.lists(st.integers(1, 10**9), min_size=2, max_size=6),
    levels=st.lists(st.floats(0, 1, width=32), min_size=6, max_size=6, unique=True),
    size=st.integers(10, 20),
)
@settings(max_examples=60, deadline=None)
def test_moments_equal_a_numerical_integral(values: list[int], levels: list[float], size: int) -> None:
    row = np.sort(np.array(values, dtype=float))
    law = ServiceTable(np.array([10, 20]), np.array(sorted(levels)[: row.size]), np.stack([row, 2 * row + 5]), "refuse")
    # Midpoint rule with N cells: a monotone function is integrated to within (max - min)/(2N).
    cells = 20_000
    draws = (np.arange(cells) + 0.5) / cells
    times = law.quantile_at(size, draws).astype(float)
    shortest, longest = law.quantile_at(size, [0.0, 1.0]).astype(float)
    spread = longest - shortest
    # Drawn times are whole ns, so each is off by up to half a ns.
    assert law.mean_at(size) == pytest.approx(times.mean(), abs=spread / cells + 0.5)
    square_spread = longest**2 - shortest**2
    bound = square_spread / cells + longest + 0.25
    assert law.second_moment_at(size) == pytest.approx((times**2).mean(), abs=bound)


def test_ceil_takes_the_next_row() -> None:
    ceil = table(size_step="ceil")
    assert ceil.quantile_at([10, 11, 20, 21, 40], 0.5).tolist() == [200, 400, 400, 500, 500]
    assert ceil.mean_at(11) == 450.0


def test_rounding_to_a_step() -> None:
    assert table(round_to_ns=100).quantile_at([12, 15, 40], 0.5).tolist() == [200, 300, 500]
    assert table(round_to_ns=100).quantile_at(13, 0.75).tolist() == 400
    # Means stay those of the unrounded law.
    assert table(round_to_ns=100).mean_at(13) == table().mean_at(13)


def test_refuses_sizes_that_were_not_measured() -> None:
    for size in (9, 41):
        with pytest.raises(SizeOutOfRange, match=f"query size {size} .* 10..40"):
            table().mean_at([20, size])
        with pytest.raises(SizeOutOfRange):
            table().quantile_at(size, 0.5)
    assert (table().min_size, table().max_size) == (10, 40)


def test_linear_extends_above_and_clamps_below() -> None:
    beyond = table(beyond="linear")
    assert beyond.quantile_at([1, 9], 0.5).tolist() == [200, 200]
    # The last segment rises by 100 per 20 samples at the median.
    assert beyond.quantile_at([60, 140], 0.5).tolist() == [600, 1000]
    assert beyond.mean_at(60) == 650.0
    assert (beyond.min_size, beyond.max_size) == (None, None)
    assert table(beyond="linear", size_step="ceil").quantile_at([3, 50], 0.5).tolist() == [200, 550]
    with pytest.raises(SizeOutOfRange):
        beyond.mean_at(0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": np.array([10, 10, 20])}, "sizes"),
        ({"sizes": np.array([0, 10, 20])}, "sizes"),
        ({"levels": np.array([0.0, 0.5, 0.4])}, "levels"),
        ({"levels": np.array([0.0, 0.5, 1.1])}, "levels"),
        ({"service_ns": np.ones((3, 2))}, "shape"),
        ({"service_ns": np.zeros((3, 3))}, "positive"),
        ({"service_ns": np.full((3, 3), np.nan)}, "positive and finite"),
        ({"service_ns": np.array([[1.0, 2.0, 3.0], [1.0, 3.0, 2.0], [1.0, 2.0, 3.0]])}, "cross at size 20"),
        ({"round_to_ns": -1}, "round_to_ns"),
        ({"beyond": "maybe"}, "beyond"),
        ({"size_step": "floor"}, "size_step"),
    ],
)
def test_bad_tables_are_refused(changes: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {
        "sizes": np.array([10, 20, 40]),
        "levels": np.array([0.0, 0.5, 1.0]),
        "service_ns": np.array([[1.0, 2.0, 3.0]] * 3),
    }
    with pytest.raises(ValueError, match=message):
        ServiceTable(**(good | changes))


def test_linear_never_falls() -> None:
    # The median falls over the last segment and is held; the maximum rises by 2 per sample.
    noisy = np.array([[10.0, 20.0, 30.0], [11.0, 15.0, 32.0]])
    law = ServiceTable(np.array([1, 2]), np.array([0.0, 0.5, 1.0]), noisy, beyond="linear")
    assert law.slope_ns.tolist() == [1.0, 0.0, 2.0]
    assert law.quantile_at(1002, [0.0, 0.5, 1.0]).tolist() == [1011, 15, 2032]
    # The mean is still the integral: (1011 + 15)/4 + (15 + 2032)/4.
    assert law.mean_at(1002) == pytest.approx(768.25)
    assert table().slope_ns.tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="two sizes"):
        ServiceTable(np.array([1]), np.array([0.5]), noisy[:1, :1], beyond="linear")


def test_draws_outside_the_unit_interval_are_errors() -> None:
    for draw in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="draws"):
            table().quantile_at(10, draw)
    with pytest.raises(ValueError, match="draws"):
        ParametricService("exponential", 100.0).quantile_at(1, 1.0)


def test_tables_are_immutable_and_travel_between_processes() -> None:
    with pytest.raises(ValueError, match="read-only"):
        table().service_ns[0, 0] = 1.0
    copy = pickle.loads(pickle.dumps(table(beyond="linear")))
    assert copy.quantile_at(15, 0.75) == 450
    error = pickle.loads(pickle.dumps(SizeOutOfRange(9, 10, 40)))
    assert (error.size, error.smallest, error.largest) == (9, 10, 40)


@pytest.mark.parametrize(
    ("law", "cv"),
    [
        (ParametricService("exponential", 1e6), 1.0),
        (ParametricService("deterministic", 1e6), 0.0),
        (ParametricService("lognormal", 1e6, cv=0.5), 0.5),
        (ParametricService("lognormal", 1e6, cv=2.0), 2.0),
        (ParametricService("gamma", 1e6, cv=0.3), 0.3),
        (ParametricService("gamma", 1e6, cv=1.5), 1.5),
    ],
)
def test_laws_have_mean_one_and_their_cv(law: ParametricService, cv: float) -> None:
    from scipy import integrate

    def moment(power: int) -> float:
        # u = 1 - exp(-t) puts the integrable singularity at u = 1 at infinity.
        value, _ = integrate.quad(
            lambda t: float(law.unit_quantile(-np.expm1(-t))) ** power * np.exp(-t), 0, 36, limit=400
        )
        return float(value)

    assert moment(1) == pytest.approx(1.0, rel=2e-5)
    assert moment(2) == pytest.approx(1 + cv * cv, rel=2e-3)
    assert law.cv == cv
    assert law.second_moment_at(1) == pytest.approx((1 + cv * cv) * 1e12)


def test_laws_agree_with_scipy() -> None:
    from scipy import stats

    u = np.array([1e-9, 0.01, 0.5, 0.9, 0.999999])
    sigma = np.sqrt(np.log1p(0.7**2))
    expected = stats.lognorm(s=sigma, scale=np.exp(-(sigma**2) / 2)).ppf(u)
    np.testing.assert_allclose(ParametricService("lognormal", 1.0, cv=0.7).unit_quantile(u), expected, rtol=1e-10)
    expected = stats.gamma(a=1 / 0.7**2, scale=0.7**2).ppf(u)
    np.testing.assert_allclose(ParametricService("gamma", 1.0, cv=0.7).unit_quantile(u), expected, rtol=1e-10)
    expected = stats.expon().ppf(u)
    np.testing.assert_allclose(ParametricService("exponential", 1.0).unit_quantile(u), expected, rtol=1e-10)


def test_parametric_mean_grows_with_size() -> None:
    law = ParametricService("deterministic", mean_ns=1000.0, per_sample_ns=10.0)
    assert law.mean_at([1, 100]).tolist() == [1010.0, 2000.0]
    assert law.quantile_at([1, 100], 0.3).tolist() == [1010, 2000]
    assert (law.min_size, law.max_size, law.evidence) == (None, None, "modelled")
    assert ParametricService("lognormal", 1.0, cv=1.0).quantile_at(1, 0.0) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        {"distribution": "weibull", "mean_ns": 1.0},
        {"distribution": "exponential", "mean_ns": -1.0},
        {"distribution": "exponential", "mean_ns": float("nan")},
        {"distribution": "exponential", "mean_ns": 0.0},
        {"distribution": "exponential", "mean_ns": 1.0, "cv": 0.5},
        {"distribution": "deterministic", "mean_ns": 1.0, "cv": 1.0},
        {"distribution": "lognormal", "mean_ns": 1.0},
        {"distribution": "gamma", "mean_ns": 1.0, "cv": 0.0},
    ],
)
def test_bad_laws_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        ParametricService(**arguments)
