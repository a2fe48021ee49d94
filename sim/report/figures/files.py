"""Figures as files: SVG that follows the reader's page into the dark, PNG, the same bytes for the same content."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

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
    content = io.BytesIO()
    canvas: Any = FigureCanvasSVG(figure)
    canvas.print_svg(content, metadata={"Date": None, "Creator": "mprec-sim"})
    return follows_the_page(content.getvalue().decode(), ON_DARK, _what_it_says(figure)).encode()


def _png(figure: Figure) -> bytes:
    from matplotlib import rcParams
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.dpi = rcParams["savefig.dpi"]
    content = io.BytesIO()
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(content, metadata={"Software": "mprec-sim"})
    return content.getvalue()


def follows_the_page(svg: str, on_dark: Mapping[str, str], title: str) -> str:
    """Return an SVG of matplotlib's with other colours where dark pages are preferred, and named for screen readers.

    Parameters
    ----------
    svg : str
    on_dark : mapping
        By colour as ``#rrggbb``: the one to show on a dark page. All others stay.
    title : str
        What the figure is called.
    """
    used = [light for light in on_dark if light in svg]
    rules = [
        f'.mprec [style*="{name}: {light}"], .mprec [{name}="{light}"] {{{name}: {on_dark[light]} !important}}'
        for light in used
        for name in ("fill", "stroke")
    ]
    style = "\n".join(["<style>", "@media (prefers-color-scheme: dark) {", *rules, "}", "</style>"])
    svg = svg.replace("<svg ", f'<svg class="mprec" role="img" aria-label={quoteattr(title)} ', 1)
    return svg.replace("</metadata>", f"</metadata>\n {style}", 1)


def _what_it_says(figure: Figure) -> str:
    suptitle = figure.get_suptitle()
    if suptitle:
        return suptitle
    return next((title for axes in figure.axes if (title := axes.get_title(loc="left"))), "figure")
