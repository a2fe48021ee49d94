"""Durations, shares and counts in words: no powers of ten, no digits lost, no plural of one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sim.report.figures.layout import sla_key
from sim.report.written import duration_text, percent_text
from sim.stats.saturation import Backlog, saturation_verdict
from sim.study.store import taken_line


@pytest.mark.parametrize(
    ("duration_ms", "written"),
    [
        (100.0, "100 ms"),
        (0.25, "0.25 ms"),
        (2000.0, "2,000 ms"),
        (8.64e10, "1000 d"),
        (5.4e6, "1.5 h"),
        (2.5e-4, "250 ns"),
        (1234567.0, "1234567 ms"),
    ],
)
def test_durations(duration_ms: float, written: str) -> None:
    assert duration_text(duration_ms) == written


@pytest.mark.parametrize(
    ("share", "written"), [(0.02, "2%"), (1e-6, "0.0001%"), (1e-9, "0.0000001%"), (0.1, "10%"), (0.125, "12.5%")]
)
def test_shares(share: float, written: str) -> None:
    assert percent_text(share) == written


def test_the_key_of_the_slas_says_one_unit_once() -> None:
    assert sla_key([10.0, 20.0])[1] == "SLA 10, 20 ms"
    assert sla_key([10.0, 8.64e10])[1] == "SLA 10 ms, 1000 d"


def test_one_result_is_no_plural() -> None:
    assert taken_line(1, "replication", Path("kept")) == "1 replication was run before and is taken from kept"
    assert taken_line(2, "cell", Path("kept")) == "2 cells were run before and are taken from kept"


@pytest.mark.parametrize(
    ("slope", "said"),
    [
        (0.25, "the backlog grew by 25.0% of the offered queries"),
        (-0.036, "the backlog shrank by 3.6% of the offered queries"),
        (-1e-4, "the backlog grew by 0.0% of the offered queries, which is not more than chance or not more than 1%"),
    ],
)
def test_a_backlog_that_shrinks_is_said_to(slope: float, said: str) -> None:
    offered = np.arange(50) * 100_000
    in_system = np.rint(5_000_000 + slope * offered).astype(np.int64)
    assert saturation_verdict([Backlog(np.arange(50) * 1_000_000, in_system, offered)]).reason == said
