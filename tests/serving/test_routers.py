"""Power of d choices draws every ordered choice of distinct nodes equally often."""

from __future__ import annotations

from collections import Counter
from itertools import permutations, product

import numpy as np
import pytest

from sim.serving.routers.power_of_d import least_backlogged_of_drawn

NODES = 4


def route(draws: tuple[float, ...], backlog: list[int]) -> int:
    """Return the pick of a router over nodes 10, 11, 12, 13 with one lane each."""
    nodes = np.arange(10, 10 + NODES)
    starts = np.arange(10 + NODES + 1)
    unfinished = np.zeros(10 + NODES, dtype=np.int64)
    unfinished[10:] = backlog
    zeros = np.zeros(10 + NODES, dtype=np.int64)
    picks = np.empty(len(draws), dtype=np.int64)
    return least_backlogged_of_drawn(0, False, np.array(draws), picks, nodes, starts, starts, zeros, zeros, unfinished)


def evenly(d: int) -> list[tuple[float, ...]]:
    """Draws that hit every one of 4, 3, ... equally likely choices once."""
    return list(product(*([(k + 0.5) / (NODES - j) for k in range(NODES - j)] for j in range(d))))


@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_among_equal_nodes_each_is_as_likely(d: int) -> None:
    picks = Counter(route(draws, [5] * NODES) for draws in evenly(d))
    assert set(picks) == {10, 11, 12, 13} and len(set(picks.values())) == 1


@pytest.mark.parametrize("d", [2, 3])
def test_every_set_of_nodes_is_as_likely(d: int) -> None:
    # The least of d distinct values: node 10 + k wins in as many of the orders as there are sets without a lower one.
    picks = Counter(route(draws, [0, 1, 2, 3]) for draws in evenly(d))
    expected = Counter(10 + min(order) for order in permutations(range(NODES), d))
    assert picks == expected


def test_the_extremes_of_the_draws_are_nodes() -> None:
    for draws in product((0.0, 1.0 - 2**-53), repeat=3):
        assert 10 <= route(draws, [3, 2, 1, 0]) <= 13
