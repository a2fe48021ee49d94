"""Sums that would overflow 64 bits are exact all the same."""

from __future__ import annotations

import numpy as np

from sim.stats.exact_sums import ExactSums


def test_sums_beyond_64_bits_are_exact() -> None:
    sums = ExactSums({"times": (2, 3), "counts": (4,)})
    large = 2**61 + 12_345
    for _ in range(50):
        sums.make_room(1, large)
        sums.low["times"][1, 2] += large
        sums.low["times"][0, 0] += 7
        sums.low["counts"][3] += 1
    assert sums.total("times") == 50 * large + 350
    assert sums.total("counts") == 50
    assert sums.counts("counts").tolist() == [0, 0, 0, 50]
    assert sums.times_ns("times").tolist() == [[350.0, 0.0, 0.0], [0.0, 0.0, float(50 * large)]]


def test_a_total_of_sums_that_fit_may_not_fit_itself() -> None:
    sums = ExactSums({"times": (40,)})
    sums.low["times"][:] = 2**62
    assert sums.total("times") == 40 * 2**62


def test_so_many_rows_fit_at_once() -> None:
    sums = ExactSums({"times": (1,)})
    for largest in (1, 2**50, 2**62):
        rows = sums.rows_at_once(largest)
        assert rows >= 1
        sums.make_room(rows, largest)
        before = sums.total("times")
        sums.low["times"] += np.int64(rows * largest)
        assert sums.low["times"][0] >= 0
        assert sums.total("times") == before + rows * largest
