"""Table files: exact round trip, and every problem with its file, line and column."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.profile.table_file import format_service_csv, parse_service_csv
from sim.spec.problems import SpecError


@given(
    sizes=st.lists(st.integers(1, 10**6), min_size=1, max_size=5, unique=True),
    levels=st.lists(st.floats(0, 1), min_size=1, max_size=4, unique=True),
    data=st.data(),
)
@settings(max_examples=50, deadline=None)
def test_round_trip(sizes: list[int], levels: list[float], data: st.DataObject) -> None:
    times = st.lists(st.integers(1, 2**53), min_size=len(levels), max_size=len(levels))
    rows = [sorted(data.draw(times)) for _ in sizes]
    text = format_service_csv(sorted(sizes), sorted(levels), rows)
    parsed = parse_service_csv(text.encode(), "t.csv")
    assert parsed.sizes.tolist() == sorted(sizes)
    # -0.0 and 0.0 are the same level.
    assert parsed.levels.tolist() == sorted(levels)
    assert parsed.service_ns.tolist() == rows


def test_comments_spaces_and_windows_line_ends() -> None:
    parsed = parse_service_csv(b"# of my own\r\nsize, 0.0, 1.0\r\n\r\n10, 5, 7\r\n", "t.csv")
    assert parsed.service_ns.tolist() == [[5, 7]]
    assert parsed.sizes.dtype == np.int64


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("", ["t.csv:1:1: the table is empty"]),
        ("size,0.5\n", ["t.csv:1:1: the table has a header but no rows"]),
        ("n,0.5\n1,5\n", ["t.csv:1:1: the first column must be called size"]),
        ("size\n1\n", ["t.csv:1:1: no quantile levels"]),
        ("size,0.5,0.1\n1,5,6\n", ["t.csv:1:10: quantile levels must increase, 0.1 follows 0.5"]),
        ("size,0.5,1.5\n1,5,6\n", ["t.csv:1:10: not a quantile level"]),
        ("size,p50\n1,5\n", ["t.csv:1:6: not a quantile level"]),
        ("size,0.5\n1,5,6\n", ["t.csv:2:1: 3 columns, the header has 2"]),
        ("size,0.5\n1,-5\n", ["t.csv:2:3: the service time must be positive"]),
        ("size,0.5\n1,0\n", ["t.csv:2:3: the service time must be positive"]),
        ("size,0.5\n1,5.5\n", ["t.csv:2:3: not a whole number"]),
        ("size,0.5\n1,nan\n", ["t.csv:2:3: not a whole number"]),
        ("size,0.5\n0,5\n", ["t.csv:2:1: the size must be positive"]),
        ("size,0.5\n10,5\n10,6\n", ["t.csv:3:1: sizes must increase, 10 follows 10"]),
        ("size,0.1,0.9\n10,500,400\n", ["t.csv:2:8: quantiles cross: 400 ns follows 500 ns"]),
        (
            "size,0.5,0.1\n10,5,-6\nx,1,1\n20,1\n",
            [
                "t.csv:1:10: quantile levels",
                "t.csv:2:6: the service",
                "t.csv:3:1: not a",
                "t.csv:4:1: 2 columns",
            ],
        ),
    ],
)
def test_problems_say_where(text: str, places: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        parse_service_csv(text.encode(), "t.csv")
    shown = [str(problem) for problem in caught.value.problems]
    assert len(shown) == len(places)
    for line, place in zip(shown, places, strict=True):
        assert line.startswith(place)


def test_not_text_and_not_endless() -> None:
    with pytest.raises(SpecError, match="UTF-8"):
        parse_service_csv(b"\xff\xfe", "t.csv")
    with pytest.raises(SpecError) as caught:
        parse_service_csv(("size,0.5\n" + "1,-1\n" * 1000).encode(), "t.csv")
    assert len(caught.value.problems) <= 21
