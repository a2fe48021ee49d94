"""Dominance beyond noise: hand-worked fronts, ties, and how often noise alone decides."""

from __future__ import annotations

import numpy as np
import pytest

from sim.stats.dominance import Contender, Standing, stand


def sure(*means: float) -> Contender:
    """A design whose replications all give the same."""
    return Contender(tuple((mean,) * 4 for mean in means))


def standings(*contenders: Contender) -> list[tuple[str, int | None]]:
    return [(verdict.standing.value, verdict.by) for verdict in stand(contenders)]


def test_a_front_worked_by_hand() -> None:
    # (1, 4), (2, 2) and (4, 1) are the front; (3, 3) loses to (2, 2), (4, 2) to (2, 2) by one objective alone.
    found = standings(sure(1, 4), sure(3, 3), sure(2, 2), sure(4, 1), sure(4, 2))
    assert found == [("front", None), ("dominated", 2), ("front", None), ("front", None), ("dominated", 2)]


def test_what_only_the_means_say_is_undecided() -> None:
    # Differences 2, 2, 2, -1: mean 1.25, standard deviation 1.5, so t = 1.67 of 3 degrees of freedom, which is noise.
    one = Contender(((1.0, 2.0, 3.0, 5.0), (1.0,) * 4))
    other = Contender(((3.0, 4.0, 5.0, 4.0), (1.0,) * 4))
    assert standings(one, other) == [("front", None), ("undecided", 0)]
    # Differences 2, 2, 2, 1: mean 1.75, standard deviation 0.5, so t = 7, beyond 3.18.
    other = Contender(((3.0, 4.0, 5.0, 6.0), (1.0,) * 4))
    assert standings(one, other) == [("front", None), ("dominated", 0)]


def test_noise_in_one_objective_keeps_what_another_would_decide() -> None:
    cheaper = Contender(((1.0, 2.0, 3.0, 5.0), (1.0,) * 4))
    dearer = Contender(((3.0, 4.0, 5.0, 4.0), (9.0,) * 4))
    assert standings(cheaper, dearer) == [("front", None), ("undecided", 0)]


def test_equal_designs_are_named_once() -> None:
    assert standings(sure(1, 2), sure(1, 2), sure(2, 3)) == [("front", None), ("same", 0), ("dominated", 0)]


def test_what_may_miss_a_constraint_speaks_against_nothing_that_meets_it() -> None:
    meets = sure(2, 2)
    close = Contender(((1.0,) * 4, (1.0,) * 4), sure=False)
    assert standings(meets, close) == [("front", None), ("front", None)]
    worse = Contender(((3.0,) * 4, (3.0,) * 4), sure=False)
    assert standings(meets, worse) == [("front", None), ("dominated", 0)]


def test_shared_replications_are_compared() -> None:
    more = Contender(((1.0, 1.0, 9.0, 9.0),))
    less = Contender(((2.0, 2.0),))
    assert standings(more, less) == [("front", None), ("dominated", 0)]


def test_one_replication_decides_by_its_values() -> None:
    assert standings(Contender(((1.0,), (2.0,))), Contender(((1.5,), (2.0,)))) == [("front", None), ("dominated", 0)]


def test_no_design_is_no_front() -> None:
    assert stand([]) == []


def test_noise_alone_seldom_dominates() -> None:
    """Of two equal designs one is called dominated in 5% of pairs, as often as a 95% interval misses zero."""
    draw = np.random.default_rng(6)
    pairs, replications = 2000, 6
    wrong = 0
    for _ in range(pairs):
        one, other = draw.normal(size=(2, replications)).tolist()
        found = stand([Contender((tuple(one),)), Contender((tuple(other),))])
        wrong += any(verdict.standing is Standing.DOMINATED for verdict in found)
    # Four standard errors of a binomial share: a false alarm in 16,000 runs.
    assert wrong / pairs == pytest.approx(0.05, abs=4 * (0.05 * 0.95 / pairs) ** 0.5)
