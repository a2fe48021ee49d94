"""The offline mapping, worked by hand."""

from __future__ import annotations

from sim.serving.mapping import Candidate, most_accurate_first, resident_bytes
from sim.serving.splitting import part_bounds, part_sizes

TABLE = Candidate("table", 0.78, 100, 98, 1.0)
DHE = Candidate("dhe", 0.79, 10, 0, 5.0)
SELECT = Candidate("select", 0.785, 6, 2, 2.0)
HYBRID = Candidate("hybrid", 0.80, 110, 98, 6.0)
ALL = [TABLE, DHE, SELECT, HYBRID]


def test_most_accurate_first_until_the_memory_is_full() -> None:
    assert most_accurate_first(ALL, None) == ("hybrid", "dhe", "select", "table")
    assert most_accurate_first(ALL, 226) == ("hybrid", "dhe", "select", "table")
    assert most_accurate_first(ALL, 225) == ("hybrid", "dhe", "select")
    # Hybrid does not fit and is passed over; what comes after it is still tried.
    assert most_accurate_first(ALL, 109) == ("dhe", "select")
    assert most_accurate_first(ALL, 5) == ()


def test_shared_tables_are_held_once() -> None:
    assert resident_bytes(ALL, shared_tables=False) == 226
    assert resident_bytes(ALL, shared_tables=True) == 98 + 2 + 10 + 4 + 12
    assert most_accurate_first(ALL, 126, shared_tables=True) == ("hybrid", "dhe", "select", "table")
    assert most_accurate_first(ALL, 125, shared_tables=True) == ("hybrid", "dhe", "select")


def test_the_fastest_that_fits_is_reserved_first() -> None:
    assert most_accurate_first(ALL, 120) == ("hybrid", "dhe")
    assert most_accurate_first(ALL, 120, reserve_fastest=True) == ("dhe", "select", "table")
    assert most_accurate_first(ALL, 99, reserve_fastest=True) == ("dhe", "select")


def test_equal_accuracies_go_by_speed() -> None:
    twin = Candidate("twin", 0.79, 10, 0, 4.0)
    assert most_accurate_first([DHE, twin], 10) == ("twin",)


def test_parts_are_few_and_even() -> None:
    assert part_sizes(300, 128) == [100, 100, 100]
    assert part_sizes(10, 4) == [4, 3, 3]
    assert part_sizes(128, 128) == [128]
    assert part_sizes(5, 0) == [5]
    assert part_bounds((10, 1000), 128) == (10, 128)
    assert part_bounds((129, 129), 128) == (64, 65)
    assert part_bounds((3, 7), 128) == (3, 7)
