"""Welch's figure: what is averaged, kept in warmup.csv, and drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sim.report.figures.series import read_run
from sim.report.figures.style import styled
from sim.report.figures.welch import moving_average, warmup_figures
from sim.report.rundir import RunDirectoryError
from sim.report.warmup_file import WarmupPoint, read_warmup, write_warmup
from sim.stats.warmup import BatchSeries
from sim.stats.welch import WelchSeries, welch_series
from tests.report.test_report import summary


def test_points_are_means_over_replications_and_neighbouring_batches() -> None:
    one, other = (BatchSeries(5, np.array(values, dtype=np.float32)) for values in ([1, 2, 3, 4], [3, 4, 5, 6, 9]))
    series = welch_series([one, other], 10)
    assert series == WelchSeries(5, (2.0, 3.0, 4.0, 5.0), 10)
    long = BatchSeries(5, np.repeat(np.arange(300, dtype=np.float32), 3))
    thinned = welch_series([long], 0)
    assert thinned.queries_per_point == 25 and len(thinned.mean_ms) == 180
    assert thinned.mean_ms[0] == pytest.approx((0 * 3 + 1 * 2) / 5)


def test_the_moving_average_is_centred_and_narrower_near_the_ends() -> None:
    assert moving_average([1.0, 2.0, 6.0, 4.0, 5.0], 2) == [1.0, 3.0, 3.6, 5.0, 5.0]
    assert moving_average([None, 2.0, None], 1) == [None, 2.0, None]


def test_the_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    first = replace(summary({"rate": "1/s"}), welch=WelchSeries(5, (1.5, None, 0.25), 5))
    write_warmup(tmp_path, [first, summary({"rate": "2/s"})])
    assert read_warmup(tmp_path) == [
        WarmupPoint(("1/s",), 0, 5, 1.5, False),
        WarmupPoint(("1/s",), 5, 5, None, True),
        WarmupPoint(("1/s",), 10, 5, 0.25, True),
    ]


def test_there_is_no_file_where_no_warm_up_was_chosen(tmp_path: Path) -> None:
    write_warmup(tmp_path, [summary({})])
    assert list(tmp_path.iterdir()) == [] and read_warmup(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [("a,b\n", "columns should end in"), ("first_query,queries,latency_ms_mean,kept\n0,x,1,true\n", "csv:2 is")],
)
def test_a_damaged_file_is_told(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "warmup.csv").write_text(content)
    with pytest.raises(RunDirectoryError, match=message):
        read_warmup(tmp_path)


def test_of_many_scenarios_those_are_drawn_of_which_most_was_cut() -> None:
    values = [{"n": str(i)} for i in range(15)]
    entries = [summary(one).to_json_dict() for one in values] + [
        summary({"n": "s"}, None, saturated=True).to_json_dict()
    ]
    run = read_run({"name": "x", "percentile": "p99", "scenarios": entries})
    points = [
        WarmupPoint((one["n"],), 5 * k, 5, 1.0 + k, k >= i)
        for i, one in enumerate([*values, {"n": "s"}])
        for k in range(20)
    ]
    with styled():
        ((name, figure),) = warmup_figures(run, points)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert name == "warmup" and len(titles) == 12
    assert [text.get_text() for text in figure.axes[-1].texts] == ["70% cut"]
    assert titles[0].startswith("3") and titles[-1] == "14"
    assert list(warmup_figures(run, [])) == []
