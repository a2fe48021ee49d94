"""Figures as files: the same bytes, whatever the last bit of the layout."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.layout_engine import LayoutEngine

from sim.report.figures.files import save
from sim.report.figures.style import styled


class OffByBits(LayoutEngine):
    """Stands for the solver of the layout, which two runs leave with other last bits."""

    _adjust_compatible = True
    _colorbar_gridspec = False

    def __init__(self, towards: float) -> None:
        super().__init__()
        self.towards = towards

    def execute(self, fig: Figure) -> None:
        for place, axes in zip((0.1, 0.55), fig.axes, strict=True):
            axes.set_position([math.nextafter(bound, self.towards) for bound in (place, 0.1, 0.35, 0.7)])


@pytest.mark.parametrize("towards", [0.0, 1.0])
def test_the_last_bit_of_a_layout_changes_no_file(tmp_path: Path, towards: float) -> None:
    files = []
    for name, end in (("a", towards), ("b", 0.5)):
        with styled():
            figure = Figure()
            for axes in figure.subplots(1, 2):
                axes.plot([0, 1, 2], [0, 2, 1])
                axes.grid(visible=True)
            figure.set_layout_engine(OffByBits(end))
            files.append([file.read_bytes() for file in save(figure, tmp_path / name)])
    assert files[0] == files[1]
