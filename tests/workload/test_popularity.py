"""Popularity of IDs against direct sums, and draws against the law they come from."""

from __future__ import annotations

import numpy as np
import pytest

from sim.workload.popularity import (
    MeasuredPopularity,
    Popularity,
    UniformPopularity,
    ZipfPopularity,
    measured_counts,
    measured_stream,
    scattered,
)

EXPONENTS = (0.0, 0.3, 0.8, 1.0, 1.0 + 1e-9, 1.05, 1.5, 3.0)


def cumulative(exponent: float, rows: int) -> np.ndarray:
    """Direct sum of the law over all rows, in extended precision."""
    powers = np.arange(1, rows + 1, dtype=np.longdouble) ** -np.longdouble(exponent)
    summed = np.cumsum(powers)
    return np.concatenate([[0.0], (summed / summed[-1]).astype(np.float64)])


@pytest.mark.parametrize("exponent", EXPONENTS)
@pytest.mark.parametrize("rows", [1, 3, 4095, 4096, 4097, 200_000])
def test_top_mass_is_the_direct_sum(exponent: float, rows: int) -> None:
    direct = cumulative(exponent, rows)
    law = ZipfPopularity(exponent)
    for n in sorted({0, 1, 2, rows // 7, rows // 2, rows - 1, rows, rows + 5}):
        assert law.top_mass(n, rows) == pytest.approx(direct[min(n, rows)], rel=1e-13, abs=1e-16)


@pytest.mark.parametrize("exponent", EXPONENTS)
@pytest.mark.parametrize("rows", [1, 5, 4097, 100_000])
def test_draws_are_the_inverse_of_the_direct_sum(exponent: float, rows: int) -> None:
    direct = cumulative(exponent, rows)
    uniforms = np.random.default_rng(1).random(20_000)
    drawn = ZipfPopularity(exponent).draw(rows, uniforms)
    assert drawn.min() >= 0 and drawn.max() < rows
    # direct[id] <= u < direct[id + 1], but for the rounding of the sums.
    assert np.all(direct[drawn] <= uniforms + 1e-13)
    assert np.all(direct[drawn + 1] > uniforms - 1e-13)


def test_ten_million_rows_need_no_array_of_that_length() -> None:
    law = ZipfPopularity(1.05)
    rows = 10_131_227
    drawn = law.draw(rows, np.array([0.0, 0.5, 0.99, np.nextafter(1.0, 0.0)]))
    assert drawn[0] == 0
    assert np.all(np.diff(drawn) > 0)
    assert drawn[-1] == rows - 1
    # The median is where half of the mass is reached.
    assert law.top_mass(int(drawn[1]), rows) <= 0.5 < law.top_mass(int(drawn[1]) + 1, rows)


@pytest.mark.parametrize(
    "law",
    [
        UniformPopularity(),
        ZipfPopularity(0.9),
        measured_counts([5, 1, 4, 0.5], [2, 300, 10, 900]),
        measured_stream(np.random.default_rng(5).zipf(1.3, 4000) % 5000),
    ],
    ids=["uniform", "zipf", "counts", "stream"],
)
@pytest.mark.parametrize("rows", [50, 1000])
def test_drawn_ids_hit_the_hottest_as_often_as_the_law_says(law: Popularity, rows: int) -> None:
    # 3 masses x 8 cases at 5 standard errors: a false alarm in about 1e5 runs.
    draws = 200_000
    drawn = law.draw(rows, np.random.default_rng(7).random(draws))
    assert drawn.min() >= 0 and drawn.max() < rows
    for n in (1, 12, 40):
        mass = law.top_mass(n, rows)
        assert np.mean(drawn < n) == pytest.approx(mass, abs=5 * np.sqrt(mass * (1 - mass) / draws) + 1e-12)


def test_counts_by_hand() -> None:
    law = measured_counts([1, 6, 3])
    assert law.top_mass(1, 3) == pytest.approx(0.6)
    assert law.top_mass(2, 3) == pytest.approx(0.9)
    assert law.top_mass(2, 100) == pytest.approx(0.9)
    # A table of two rows holds the two hottest.
    assert law.top_mass(1, 2) == pytest.approx(6 / 9)
    grouped = measured_counts([4, 1], [1, 6])
    assert grouped.top_mass(4, 7) == pytest.approx(0.7)


def test_a_stream_is_judged_on_its_second_half() -> None:
    # First half: 7 three times, 9 once, then 8 twice more hidden in the second half.
    law = measured_stream([7, 7, 7, 9, 7, 9, 9, 8])
    assert law.top_mass(1, 10) == pytest.approx(1 / 4)
    assert law.top_mass(2, 10) == pytest.approx(3 / 4)
    assert law.top_mass(3, 10) == 1.0
    assert law.ids_at_least(0.5, 10) == 1


@pytest.mark.parametrize(
    "law", [UniformPopularity(), ZipfPopularity(0.0), ZipfPopularity(1.2), measured_counts([9, 5, 5, 1])]
)
@pytest.mark.parametrize("rows", [4, 30, 9000])
def test_ids_at_least_counts_single_probabilities(law: Popularity, rows: int) -> None:
    masses = np.diff([law.top_mass(n, rows) for n in range(min(rows, 40) + 1)])
    for probability in (2.0, float(masses[0]) * 1.01, float(masses[1]) * 0.99, float(masses[3]) * 1.02):
        expected = int(np.sum(masses >= probability))
        counted = law.ids_at_least(probability, rows)
        assert counted == expected or (expected == len(masses) and counted >= expected)


def test_scattering_is_one_to_one() -> None:
    for rows in (1, 2, 3, 10, 97, 1024, 30030):
        for key in (0, 5, 12345):
            assert np.array_equal(np.sort(scattered(np.arange(rows), rows, key)), np.arange(rows))


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="at least 0"):
        ZipfPopularity(-1.0)
    with pytest.raises(ValueError, match="at least one row"):
        ZipfPopularity(1.0).draw(0, np.array([0.5]))
    with pytest.raises(ValueError, match=r"lie in \[0, 1\)"):
        UniformPopularity().draw(5, np.array([1.0]))
    with pytest.raises(ValueError, match="no look-up"):
        MeasuredPopularity(np.array([1]), np.array([0.0]), np.array([0.0]))
    with pytest.raises(ValueError, match="two look-ups"):
        measured_stream([3])
