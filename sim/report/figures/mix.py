"""Which path serves and how busy devices are: over the load in panels, a scenario each, or as bars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from sim.report.figures.colours import PAPER
from sim.report.figures.layout import area_key, headline, line_key, outer_labels, panel_title, panels
from sim.report.figures.load import LOG_RANGE
from sim.report.figures.scenarios import kinds_of, most_rows, paths_of, rows_figure
from sim.report.figures.series import Entry, Run
from sim.report.figures.style import Drawing, colour, dashes, hatch, logarithmic, marker, plain_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["path_mix", "path_mix_over_load", "utilisation", "utilisation_over_load"]

MOST_PANELS = 12
PANEL_IN = 1.9


def path_mix(run: Run) -> Iterator[tuple[str, Drawing]]:
    """Yield stacked bars of the share of samples that each path served."""
    paths = paths_of(run)
    if not any(len(_taken(entry.data["path_mix"])) > 1 for entry in run.entries):
        return
    entries, where = most_rows(run.entries)
    figure, axes = rows_figure([entry.name or run.name for entry in entries])
    left = [0.0] * len(entries)
    for index, path in enumerate(paths):
        shares = [100 * entry.data["path_mix"].get(path, 0.0) for entry in entries]
        axes.barh(
            range(len(entries)),
            shares,
            left=left,
            height=0.7,
            color=colour(index),
            edgecolor=PAPER,
            linewidth=0.4,
            hatch=hatch(index),
        )
        left = [a + b for a, b in zip(left, shares, strict=True)]
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of samples, %")
    headline(figure, "Which path serves the samples?", where, [area_key(i, path) for i, path in enumerate(paths)])
    yield "path-mix", figure


def path_mix_over_load(run: Run) -> Iterator[tuple[str, Drawing]]:
    """Yield the share of samples that each path served over the load, a panel for each line with several."""
    paths = paths_of(run)
    mixed = [label for label in run.labels if len(_paths_taken(run.line(label))) > 1]
    shown, notes = mixed[:MOST_PANELS], []
    if not shown:
        return
    if len(mixed) > len(shown):
        notes.append(f"the first {len(shown)} of {len(mixed)}")
    if len(run.labels) > len(mixed):
        notes.append(
            f"not shown: {len(run.labels) - len(mixed)} of {len(run.labels)} that one path serves at all loads"
        )
    figure, grid = panels(len(shown), 2, PANEL_IN if len(shown) > 1 else 3.0, sharex=True, sharey=True)
    taken = [path for path in paths if any(path in _paths_taken(run.line(label)) for label in shown)]
    for axes, label in zip(grid, shown, strict=True):
        line = run.line(label)
        loads = [entry.load or 0.0 for entry in line]
        floor = [0.0] * len(line)
        for path in taken:
            index = paths.index(path)
            top = [low + 100 * e.data["path_mix"].get(path, 0.0) for low, e in zip(floor, line, strict=True)]
            axes.fill_between(
                loads, floor, top, facecolor=colour(index), hatch=hatch(index), edgecolor=PAPER, linewidth=0.4
            )
            floor = top
        axes.set_ylim(0, 100)
        panel_title(axes, label if len(run.labels) > 1 else "")
    _finish_panels(run, grid, "samples, %")
    alone = f" at {shown[0]}" if len(shown) == 1 and len(run.labels) > 1 else ""
    keys = [area_key(paths.index(path), path) for path in taken]
    headline(figure, f"Which path serves the samples as load grows{alone}?" if run.load_is_rate else
             f"Which path serves the samples{alone}?", "; ".join(notes), keys)  # fmt: skip
    yield "path-mix-load", figure


def utilisation(run: Run) -> Iterator[tuple[str, Drawing]]:
    """Yield the utilisation of every kind of device, a row for each scenario."""
    entries, where = most_rows(run.entries)
    figure, axes = rows_figure([entry.name or run.name for entry in entries])
    kinds = kinds_of(run.entries)
    for index, kind in enumerate(kinds):
        known = [(row, entry) for row, entry in enumerate(entries) if kind in entry.data["utilisation"]]
        axes.plot(
            [100 * entry.data["utilisation"][kind] for _, entry in known],
            [row for row, _ in known],
            color=colour(index),
            marker=marker(index),
            markersize=7,
            linestyle="none",
            clip_on=False,
        )
    axes.set_xlim(0, 100)
    axes.set_xlabel("busy lanes, % of lane time")
    keys = [line_key(index, kind) for index, kind in enumerate(kinds)]
    headline(figure, f"How busy {_subject(kinds)}?", where, keys)
    yield "utilisation", figure


def utilisation_over_load(run: Run) -> Iterator[tuple[str, Drawing]]:
    """Yield the utilisation of every kind of device over the load, a panel for each line."""
    shown = run.labels[:MOST_PANELS]
    figure, grid = panels(len(shown), 2, PANEL_IN if len(shown) > 1 else 3.0, sharex=True, sharey=True)
    kinds = kinds_of([entry for label in shown for entry in run.line(label)])
    for axes, label in zip(grid, shown, strict=True):
        line = run.line(label)
        for index, kind in enumerate(kinds):
            known = [entry for entry in line if kind in entry.data["utilisation"]]
            x, y = [e.load or 0.0 for e in known], [100 * e.data["utilisation"][kind] for e in known]
            axes.plot(x, y, color=colour(index), linestyle=dashes(index // 8))
            faces = [PAPER if entry.saturated else colour(index) for entry in known]
            for a, b, face in zip(x, y, faces, strict=True):
                axes.plot(
                    a, b, color=colour(index), marker=marker(index), markerfacecolor=face, clip_on=False, zorder=3
                )
        axes.set_ylim(-5, 105)
        panel_title(axes, label if len(run.labels) > 1 else "")
    _finish_panels(run, grid, "busy lanes, %")
    notes = ["hollow: saturated"] if any(entry.saturated for entry in run.entries) else []
    if len(run.labels) > len(shown):
        notes.append(f"the first {len(shown)} of {len(run.labels)}")
    keys = [line_key(index, kind) for index, kind in enumerate(kinds)]
    headline(
        figure, f"How busy {_subject(kinds)}{' as load grows' if run.load_is_rate else ''}?", "; ".join(notes), keys
    )
    yield "utilisation-load", figure


def _subject(kinds: Sequence[str]) -> str:
    return f"is the {kinds[0]}" if len(kinds) == 1 else "are the devices"


def _taken(mix: Mapping[str, float]) -> list[str]:
    return [path for path, share in mix.items() if share > 0]


def _paths_taken(line: Sequence[Entry]) -> set[str]:
    return {path for entry in line for path in _taken(entry.data["path_mix"])}


def _finish_panels(run: Run, grid: Sequence[Axes], y: str) -> None:
    """Give panels that share the load axis its scale, and name the axes once a row and column."""
    outer_labels(grid, run.load_axis or "", y)
    loads = [entry.load or 0.0 for entry in run.entries]
    room = 0.02 * (max(loads) - min(loads))
    grid[0].set_xlim(min(loads) - room, max(loads) + room)
    if min(loads) > 0 and max(loads) > LOG_RANGE * min(loads):
        grid[0].set_xlim(min(loads) / 1.05, max(loads) * 1.05)
        logarithmic(grid[0], "x")
    elif max(loads) >= 10_000:
        plain_ticks(grid[0], "x")
