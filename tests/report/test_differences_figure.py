"""The figure of differences: names of any length and script, in rows that leave each other room."""

from __future__ import annotations

import warnings
from pathlib import Path

import matplotlib
import pytest

from sim.report.differences import Comparison, Side, compare_within
from sim.report.figures import differences, style
from sim.report.figures.differences import plot_differences
from sim.report.figures.style import Drawing, styled
from sim.report.replications import Replications
from tests.report.test_figure_layout import LONG, faults

METRICS = ("latency_ms_p99", "latency_ms_mean", "correct_predictions_within_sla_per_s", "sla_attainment")


def comparisons(names: list[str]) -> list[Comparison]:
    """The others against the first; all four panels have values."""
    sides = []
    for number, name in enumerate(names):
        values = {metric: [1.0 + 0.1 * number, 2.0 + 0.15 * number, 2.5] for metric in METRICS}
        mix = {f"{LONG} {path}": [0.5, 0.5, 0.5] for path in "ab"}
        own = Replications((0, 1, 2), values, mix)
        entry = {"parameters": {"policy": name}, "saturated": False, "confidence": 0.95}
        sides.append(Side.of("run", entry, own, seed=1, percentile="p99"))
    return compare_within(sides, names[0])


@pytest.mark.parametrize("count", [2, 3, 8])
@pytest.mark.parametrize("name", [LONG, LONG.replace(" ", "-"), "short"])
def test_no_names_overlap_and_none_leaves_the_figure(
    count: int, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    drawn: list[Drawing] = []
    monkeypatch.setattr(differences, "save", lambda figure, _stem: drawn.append(figure) or [])
    found = comparisons([f"{number} {name} {number}" for number in range(count)])
    plot_differences(found, tmp_path)
    assert len(drawn) == (1 if count != 3 else 2)
    for figure in drawn:
        with styled():
            assert list(faults(figure, monkeypatch)) == []
        # Marks and intervals have most of the room that names leave.
        figure.draw_without_rendering()
        assert all(axes.get_position().width * figure.get_figwidth() > 1.0 for axes in figure.axes)


def test_letters_that_no_font_has_give_no_warnings(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        files = plot_differences(comparisons(["基準", "推薦方針", "四", "五", "\U0001fae8"]), tmp_path)
    assert len(files) == 2


def test_fonts_that_are_installed_are_asked_for_letters_that_the_usual_one_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(style, "OTHER_SCRIPTS", ("No Such Font", "STIXGeneral"))
    with styled():
        assert matplotlib.rcParams["font.family"] == ["DejaVu Sans", "STIXGeneral"]
