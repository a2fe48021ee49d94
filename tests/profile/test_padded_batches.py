"""In which batches the misses of an encoder cache are worked on."""

from __future__ import annotations

import pytest

from sim.profile.mp_cache import padded_batches


@pytest.mark.parametrize(
    ("misses", "runs"),
    [
        ([0, 0], []),
        ([4, 4, 4], [(0, 3)]),
        ([8, 0, 8], [(0, 1), (2, 3)]),
        # 9 x 2 = 18 places for 17 IDs; a third of 16 would take 48 for 33.
        ([9, 8, 16], [(0, 2), (2, 3)]),
        # 5 x 2 = 10 places for 6 IDs.
        ([1, 5], [(0, 1), (1, 2)]),
    ],
)
def test_features_with_about_as_many_misses_go_together(misses: list[int], runs: list[tuple[int, int]]) -> None:
    assert padded_batches(misses) == runs


@pytest.mark.parametrize(
    ("misses", "runs"),
    [
        ([0, 0], []),
        # 5 x 2 = 10 places for 6 IDs, with an eighth of 6 and 4 to spare.
        ([1, 5], [(0, 2)]),
        # 3 x 5 = 15 places for 3 + 3 IDs: more than 6.75 + 4; the gap of one feature would be let through.
        ([3, 0, 0, 0, 3], [(0, 1), (4, 5)]),
        ([0, 3, 0, 3, 0], [(1, 4)]),
    ],
)
def test_spare_padding_joins_what_a_gap_parts(misses: list[int], runs: list[tuple[int, int]]) -> None:
    assert padded_batches(misses, spare=4) == runs
