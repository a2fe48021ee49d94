"""Figures as files: SVG that follows the reader's page into the dark, PNG, the same bytes for the same content."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.report.figures.colours import ON_DARK
from sim.report.rundir import written_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["follows_the_page", "save"]


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as SVG and PNG; both have a background of their own.

    The SVG is light, and dark where the reader prefers dark pages. The PNG is light.

    Raises
    ------
    RunDirectoryError
        If a file cannot be written.
    """
    files = []
    for suffix, content in ((".svg", _svg), (".png", _png)):
        file = stem.with_name(stem.name + suffix)
        drawn = content(figure)
        with written_whole(file) as stream:
            stream.write(drawn)
        files.append(file)
    return files


def _svg(figure: Figure) -> bytes:
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    # Finding the room that texts take is most of the work: it is done once for both files. Nor is `savefig` called,
    # which draws everything twice.
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")
        _round_positions(figure)
    content = io.BytesIO()
    canvas: Any = FigureCanvasSVG(figure)
    canvas.print_svg(content, metadata={"Date": None, "Creator": "mprec-sim", "Title": _what_it_says(figure)})
    return follows_the_page(content.getvalue().decode(), ON_DARK).encode()


def _round_positions(figure: Figure) -> None:
    """Put axes where they stand to nine digits.

    Two runs may differ in the last bit of what the solver of the layout finds, and matplotlib names a clip after a hash
    of all bits of its place.
    """
    from matplotlib.transforms import Bbox

    for axes in figure.axes:
        axes.set_position(Bbox.from_bounds(*(round(bound, 9) for bound in axes.get_position().bounds)))


def _png(figure: Figure) -> bytes:
    from matplotlib import rcParams
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.dpi = rcParams["savefig.dpi"]
    content = io.BytesIO()
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(content, metadata={"Software": "mprec-sim"})
    return content.getvalue()


def follows_the_page(svg: str, on_dark: Mapping[str, str]) -> str:
    """Return an SVG of matplotlib's that has other colours where the reader prefers dark pages.

    Programs that know no such preference show it as it was.

    Parameters
    ----------
    svg : str
    on_dark : mapping
        By colour as ``#rrggbb``: the one to show on a dark page. All others stay.
    """
    rules = [
        f'svg [style*="{name}: {light}"], svg [{name}="{light}"] {{{name}: {dark} !important}}'
        for light, dark in on_dark.items()
        if light in svg
        for name in ("fill", "stroke")
    ]
    style = "\n".join(["<style>", "@media (prefers-color-scheme: dark) {", *rules, "}", "</style>"])
    return svg.replace("</metadata>", f"</metadata>\n {style}", 1)


def _what_it_says(figure: Figure) -> str:
    """Return the title of a figure, which is read aloud."""
    title = figure.get_suptitle() or next((one for axes in figure.axes if (one := axes.get_title(loc="left"))), "")
    return " ".join(title.split())
