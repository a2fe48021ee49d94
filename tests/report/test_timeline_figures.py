"""Figures over time: what is drawn of the points of a timeline, panel by panel."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest

from sim.report.figures.series import Run, read_run
from sim.report.figures.style import Drawing, colour, hatch, styled
from sim.report.figures.timeline import over_time
from sim.report.figures.timeline_devices import devices_over_time
from sim.report.rundir import TimelinePoint

PATHS = [f"r{i}@cpu" for i in range(10)]


def scenario(policy: str, rate: str, paths: list[str]) -> dict[str, Any]:
    return {
        "parameters": {"policy": policy, "rate": rate},
        "saturated": False,
        "sla_ms": 10.0,
        "metrics": {},
        "path_mix": dict.fromkeys(paths, 1 / len(paths)),
        "utilisation": {"cpu": 0.5, "gpu": 0.5},
    }


def run_of(*scenarios: dict[str, Any]) -> Run:
    return read_run({"name": "x", "percentile": "p99", "scenarios": list(scenarios)})


def points(policy: str, rate: str, **metrics: list[float | None]) -> list[TimelinePoint]:
    """Two-second intervals; the interval of every value is half of it to twice of it."""
    return [
        TimelinePoint(
            (policy, rate),
            2.0 * i,
            2.0 * (i + 1),
            name.replace("__", ":").replace("_at_", "@"),
            value,
            value and value / 2,
            value and value * 2,
        )
        for name, values in metrics.items()
        for i, value in enumerate(values)
    ]


def legend(figure: Drawing) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


MIXED = run_of(scenario("a", "1/s", PATHS[:2]), scenario("b", "1/s", PATHS), scenario("a", "2/s", PATHS[:2]))
TIMELINE = [
    *points("a", "1/s", path_mix__r0_at_cpu=[1.0, 0.25], path_mix__r1_at_cpu=[0.0, 0.75], utilisation__cpu=[0.5, 1.0]),
    *points("b", "1/s", path_mix__r0_at_cpu=[None, 0.4], path_mix__r9_at_cpu=[None, 0.6], utilisation__gpu=[None, 0.2]),
    *points("a", "2/s", path_mix__r0_at_cpu=[1.0, 1.0], path_mix__r1_at_cpu=[0.0, 0.0], utilisation__cpu=[0.5, 1.0]),
]


@pytest.fixture(scope="module")
def devices() -> dict[str, Drawing]:
    with styled():
        return dict(devices_over_time(MIXED, TIMELINE))


def test_there_is_a_figure_for_every_load_and_a_row_for_every_scenario(devices: dict[str, Drawing]) -> None:
    assert list(devices) == ["timeline-devices-1-per-s", "timeline-devices-2-per-s"]
    assert [axes.get_title(loc="left") for axes in devices["timeline-devices-1-per-s"].axes] == ["a", "", "b", ""]


def test_no_limit_is_drawn_beside_classes_that_have_their_own() -> None:
    timeline = points("a", "1/s", latency_ms_p99=[8.0, 9.0], offered_per_s=[1.0, 1.0])
    alike = scenario("a", "1/s", PATHS[:1])
    with styled():
        ((_, one),) = over_time(run_of(alike), timeline)
        ((_, several),) = over_time(run_of(alike | {"classes": {"gold": {"sla_ms": 5.0}}}), timeline)

    def texts(figure: Drawing) -> str:
        inside = [text.get_text() for axes in figure.axes for text in axes.texts]
        return " ".join([*inside, *(text.get_text() for text in figure.texts)])

    assert "SLA" in texts(one) and "10 ms" in texts(one)
    assert "10 ms" not in texts(several) and "each has its own SLA" in texts(several)


def test_the_legend_names_the_paths_that_are_taken_and_the_devices(devices: dict[str, Drawing]) -> None:
    figure = devices["timeline-devices-1-per-s"]
    assert legend(figure) == ["r0@cpu", "r1@cpu", "r9@cpu", "cpu", "gpu"]
    # The tenth path has the colour of the second, and a hatch instead.
    areas = dict(zip(legend(figure), figure.legends[0].legend_handles, strict=True))
    assert colour(9) == colour(1) and hatch(9) != hatch(1)
    assert areas["r9@cpu"].get_hatch() == hatch(9) and not areas["r1@cpu"].get_hatch()


def test_shares_are_stacked_and_an_interval_in_which_nothing_starts_is_empty(devices: dict[str, Drawing]) -> None:
    first, _, second, _ = devices["timeline-devices-1-per-s"].axes
    assert tops(first, [1.0, 3.0]) == [pytest.approx([100.0, 25.0]), pytest.approx([100.0, 100.0])]
    assert tops(second, [1.0, 3.0]) == [pytest.approx([0.0, 40.0]), pytest.approx([0.0, 100.0])]


def tops(axes: Any, times_s: list[float]) -> list[list[float]]:
    """Upper end of each area at some times."""
    found = []
    for area in axes.collections:
        (path,) = area.get_paths()
        vertices = path.vertices
        edges = [(a, b) for a, b in pairwise(vertices) if a[1] == b[1]]
        found.append([max(a[1] for a, b in edges if min(a[0], b[0]) <= t <= max(a[0], b[0])) for t in times_s])
    return found


def test_a_device_that_is_off_interrupts_its_line(devices: dict[str, Drawing]) -> None:
    (line,) = devices["timeline-devices-1-per-s"].axes[3].lines
    values = line.get_ydata()
    assert math.isnan(values[0]) and list(values[1:]) == pytest.approx([20.0, 20.0])
    assert line.get_color() == colour(1)  # as that of the same device in the other rows


def test_where_there_is_one_path_only_its_share_is_left_out(devices: dict[str, Drawing]) -> None:
    figure = devices["timeline-devices-2-per-s"]
    assert len(figure.axes) == 1 and legend(figure) == ["cpu", "gpu"]
    assert "How busy are the devices at 2/s?" in figure.get_suptitle()


def test_scenarios_beyond_those_that_fit_are_told() -> None:
    many = run_of(*(scenario(f"p{i}", "1/s", PATHS[:1]) for i in range(14)))
    with styled():
        ((_, figure),) = devices_over_time(many, [])
    assert len(figure.axes) == 12 and any("the first 12 of 14 scenarios" in text.get_text() for text in figure.texts)


def test_median_and_tail_stand_in_one_panel_and_bands_do_not_dwarf_them() -> None:
    run = run_of(scenario("a", "1/s", PATHS[:1]), scenario("b", "1/s", PATHS[:1]))
    wide = [
        TimelinePoint(("b", "1/s"), 0.0, 2.0, "latency_ms_p99", 8.0, -900.0, 900.0),
        TimelinePoint(("b", "1/s"), 2.0, 4.0, "latency_ms_p99", 9.0, 8.0, 10.0),
    ]
    rest = points("a", "1/s", offered_per_s=[1.0, 2.0], latency_ms_p50=[12.0, 1.0], latency_ms_p99=[None, 4.0])
    with styled():
        ((name, figure),) = over_time(run, [*rest, *wide])
    assert name == "timeline"
    panel = next(axes for axes in figure.axes if "p99" in axes.get_ylabel())
    solid, dotted, other = [line for line in panel.lines if len(line.get_xdata()) == 3]
    assert solid.get_linestyle() == "-" and list(solid.get_ydata())[1:] == [4.0, 4.0]
    assert dotted.get_linestyle() == ":" and list(dotted.get_ydata()) == [12.0, 1.0, 1.0]
    assert dotted.get_color() == solid.get_color() != other.get_color()
    assert solid.get_linewidth() > other.get_linewidth()
    # The highest median is 12 ms; the band that goes to 900 ms is cut at half as much again.
    assert panel.get_ylim() == pytest.approx((0.0, 18.0))
