"""How figures look: palette, markers, the style file, and files with the same bytes for the same content."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.report.rundir import RunDirectoryError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
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
    "save",
    "sla_line",
    "styled",
]

Drawing = Any
"""A `matplotlib.figure.Figure`; matplotlib is imported only when something is drawn."""

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C8C00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", "--", "-.", ":")
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo", "--")


def colour(index: int) -> str:
    """Return a colour of the Okabe-Ito palette, which colour-blind people can tell apart."""
    return OKABE_ITO[index % len(OKABE_ITO)]


def marker(index: int) -> str:
    """Return a marker, so that lines differ in more than colour."""
    return MARKERS[index % len(MARKERS)]


def dashes(index: int) -> str:
    """Return a line style."""
    return DASHES[index % len(DASHES)]


def hatch(index: int) -> str:
    """Return a hatch for an area: none as long as its colour is the first of its kind."""
    return HATCHES[(index // len(OKABE_ITO)) % len(HATCHES)]


@contextmanager
def styled() -> Iterator[None]:
    """Apply the style file within the block and nowhere else."""
    import matplotlib

    style = resources.files("sim.report") / "mprec.mplstyle"
    with resources.as_file(style) as file, matplotlib.rc_context(fname=str(file)):
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
    """Say something small above the upper right corner of the axes."""
    axes.text(1.0, 1.01, text, transform=axes.transAxes, ha="right", fontsize=8, color="0.35")


def sla_line(axes: Axes, sla_ms: float) -> None:
    """Draw the latency limit; where it would squeeze everything else to the bottom, say only that it lies above."""
    low, high = axes.get_ylim()
    if sla_ms > high:
        if sla_ms > 3 * high:
            note(axes, f"the SLA of {sla_ms:g} ms lies above")
            axes.set_ylim(low, high)
            return
        axes.set_ylim(low, 1.12 * sla_ms)
    axes.axhline(sla_ms, color="0.25", linewidth=1.1, linestyle=(0, (6, 3)))
    axes.annotate(
        f"SLA {sla_ms:g} ms",
        (1.0, sla_ms),
        (-3, 3),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="right",
        color="0.25",
        fontsize=8.5,
    )


def logarithmic(axes: Axes) -> None:
    """Make the y axis logarithmic, with plain numbers at its ticks."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def large_numbers(axes: Axes) -> None:
    """Write large values as 12M and 30k, not as multiples of a power that stands in the title's place."""
    from matplotlib.ticker import EngFormatter

    low, high = axes.get_ylim()
    if max(abs(low), abs(high)) >= 10_000:
        axes.yaxis.set_major_formatter(EngFormatter(sep=""))


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as SVG and PNG.

    Raises
    ------
    RunDirectoryError
        If a file cannot be written.
    """
    files = []
    # A page that holds the drawing reads its title aloud.
    title = next((text for axes in figure.axes if (text := axes.get_title(loc="left"))), stem.name)
    described = {"Date": None, "Creator": "mprec-sim", "Title": title}
    for suffix, metadata in ((".svg", described), (".png", {"Software": "mprec-sim"})):
        file = stem.with_name(stem.name + suffix)
        partial = file.with_name(f".{file.name}.partial")
        try:
            stem.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(partial, format=suffix[1:], metadata=metadata)
            partial.replace(file)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise RunDirectoryError(f"{file} could not be written: {error.strerror or error}") from error
        files.append(file)
    return files
