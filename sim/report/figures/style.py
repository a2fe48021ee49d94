"""How figures look: colours, markers, axes of large numbers, the latency limit."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from typing import TYPE_CHECKING, Any

from sim.report.figures.colours import GRID, INK, LIGHT, MUTED, PAPER
from sim.report.figures.files import save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "GRID",
    "INK",
    "MUTED",
    "PAPER",
    "Drawing",
    "colour",
    "dashes",
    "hatch",
    "large_numbers",
    "legend_beside",
    "logarithmic",
    "marker",
    "new_figure",
    "note",
    "plain_ticks",
    "save",
    "shown_limit",
    "styled",
]

Drawing = Any
"""A `matplotlib.figure.Figure`; matplotlib is imported only when something is drawn."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", "--", "-.", ":")
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo", "--")

SLA_DASHES = (0, (6, 3))
OUT_OF_SIGHT = 3.0
"""A limit that is this many times beyond what is drawn is told instead of drawn."""


def colour(index: int) -> str:
    """Return a colour that colour-blind people can tell from the others."""
    return LIGHT[index % len(LIGHT)]


def marker(index: int) -> str:
    """Return a marker, so that lines differ in more than colour."""
    return MARKERS[index % len(MARKERS)]


def dashes(index: int) -> str:
    """Return a line style."""
    return DASHES[index % len(DASHES)]


def hatch(index: int) -> str:
    """Return a hatch for an area: none as long as its colour is the first of its kind."""
    return HATCHES[(index // len(LIGHT)) % len(HATCHES)]


OTHER_SCRIPTS = (
    *("Noto Sans CJK JP", "Noto Sans JP", "IPAexGothic", "IPAGothic", "TakaoPGothic", "Hiragino Sans", "Yu Gothic"),
    *("Noto Sans CJK SC", "Noto Sans SC", "WenQuanYi Zen Hei", "PingFang SC", "Microsoft YaHei", "SimHei"),
    *("Noto Sans CJK KR", "Noto Sans KR", "NanumGothic", "Apple SD Gothic Neo", "Malgun Gothic"),
    *("Noto Sans Devanagari", "Noto Sans Thai", "Noto Sans Bengali", "Noto Sans Tamil", "Nirmala UI"),
    *("Droid Sans Fallback", "Arial Unicode MS", "Unifont"),
)
"""Fonts with letters that DejaVu Sans lacks, in the order in which they are asked, as far as they are installed."""


@contextmanager
def styled() -> Iterator[None]:
    """Apply the style file within the block and nowhere else; letters that no font has are boxes, without a warning."""
    import matplotlib
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    style = resources.files("sim.report") / "mprec.mplstyle"
    with (
        resources.as_file(style) as file,
        matplotlib.rc_context(fname=str(file)),
        warnings.catch_warnings(),
    ):
        matplotlib.rcParams["font.family"] = [
            *matplotlib.rcParams["font.family"],
            *(name for name in OTHER_SCRIPTS if name in installed),
        ]
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from")
        yield


def new_figure(height: float | None = None) -> tuple[Figure, Axes]:
    """Return a figure with one pair of axes, without pyplot's global state."""
    from matplotlib.figure import Figure

    figure = Figure()
    if height is not None:
        figure.set_size_inches(figure.get_figwidth(), height)
    return figure, figure.subplots()


def legend_beside(axes: Axes) -> None:
    """Put the legend to the right of the axes, where it covers nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if len(handles) > 1:
        axes.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)


def note(axes: Axes, text: str) -> None:
    """Say something small above the upper right corner of the axes, below the title."""
    axes.annotate(
        text,
        (1.0, 1.0),
        (0, 3),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color=MUTED,
    )


def shown_limit(axes: Axes, sla_ms: float) -> bool:
    """Draw the latency limit as a line across; return False, and draw nothing, where it would squeeze all else."""
    low, high = axes.get_ylim()
    if sla_ms > OUT_OF_SIGHT * high:
        return False
    axes.set_ylim(low, max(high, 1.12 * sla_ms))
    axes.axhline(sla_ms, color=MUTED, linewidth=1.1, linestyle=SLA_DASHES)
    return True


def logarithmic(axes: Axes, which: str = "y", ticks: Sequence[float] | None = None) -> None:
    """Make the y axis, or the x axis, logarithmic, with plain numbers at its ticks, `ticks` of each decade."""
    from matplotlib.ticker import LogLocator, NullLocator

    axis = axes.yaxis if which == "y" else axes.xaxis

    class Locator(LogLocator):
        def __call__(self) -> Any:
            # More ticks a decade the fewer decades there are, so that they leave each other room and are never alone.
            low, high = sorted(axis.get_view_interval())
            usual = (1, 2, 3, 5, 7) if high < 8 * low else (1, 2, 5) if high < 3e3 * low else (1,)
            self.set_params(subs=[float(one) for one in ticks or usual])
            return super().__call__()

    (axes.set_yscale if which == "y" else axes.set_xscale)("log")
    axis.set_major_locator(Locator(base=10))
    axis.set_minor_locator(NullLocator())
    plain_ticks(axes, which)


def plain_ticks(axes: Axes, which: str = "y") -> None:
    """Write numbers as 0.5, 200, 12k and 3M, never as multiples of a power that stands in the title's place."""
    from matplotlib.ticker import FuncFormatter

    (axes.yaxis if which == "y" else axes.xaxis).set_major_formatter(FuncFormatter(lambda value, _: _plain(value)))


def _plain(value: float) -> str:
    for factor, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor and abs(value) >= 10_000:
            return f"{value / factor:.4g}{letter}"
    return f"{value:.6g}" if abs(value) >= 1e-3 or value == 0 else f"{value:.3g}"


def large_numbers(axes: Axes) -> None:
    """Write large values as 12M and 30k, not as multiples of a power that stands in the title's place."""
    low, high = axes.get_ylim()
    if max(abs(low), abs(high)) >= 10_000:
        plain_ticks(axes)
