"""No two texts of a figure overlap, and none leaves it, whatever a run is called and however large its numbers are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from sim.report.figures import drawings
from sim.report.figures.layout import shortened, text_width_pt
from sim.report.figures.series import read_run
from sim.report.figures.style import Drawing, styled
from sim.report.rundir import TimelinePoint
from tests.report.synthetic_runs import curve, scenario, summary_of, timeline_of

LONG = "a policy whose name says at length what it does, in the north-eastern half of all the data centres"
TOLERANCE_PX = 1.0

Made = tuple[dict[str, Any], Sequence[TimelinePoint] | None]


def one_of_a_long_name() -> Made:
    summary = summary_of([scenario({}, 123456.0, sla_ms=1.0, correct=3.2e9)]) | {"name": LONG}
    return summary, timeline_of(summary)


def all_saturated() -> Made:
    return summary_of([scenario({"policy": f"p{i}", "rate": f"{r}k/s"}, None) for i in range(3) for r in (1, 2)]), None


def many_long_names_over_rates_far_apart() -> Made:
    mix = {f"dlrm-terabyte:representation-{i}@accelerator-{i % 3}": 0.1 for i in range(10)}
    return summary_of(
        [
            scenario(
                {"policy": f"{i}, {LONG}, {i}", "rate": rate},
                None if n > 2 and i % 2 else 0.0004 * 20.0 ** (n + i / 4),
                correct=0.02 * 40.0**n,
                paths=mix if i % 2 else None,
                accuracy=0.789 - 0.001 * n,
            )
            for i in range(9)
            for n, rate in enumerate(["1/s", "30/s", "2k/s", "400k/s", "3M/s"])
        ]
    ), None


def classes_of_limits_that_lie_close() -> Made:
    limits = {"ranking": 50.0, "filtering": 52.0, "retrieval": 10.0, "tiny": 10.2}
    scenarios = []
    for queue in ("fifo", "earliest-deadline"):
        for n, rate in enumerate(["250/s", "500/s", "1000/s"]):
            p99 = 8.0 + 20 * n
            inner = {
                name: scenario({}, None if n == 2 and name == "tiny" else p99, sla_ms=sla)
                for name, sla in limits.items()
            }
            scenarios.append(scenario({"queue.order": queue, "rate": rate}, p99, classes=inner))
    summary = summary_of(scenarios)
    return summary, timeline_of(summary)


def two_ways_without_numbers() -> Made:
    names = [f"{i} of the g4dn and c5n instances of a region that is far away" for i in range(4)]
    mix = {"table@cpu": 0.5, "hybrid@gpu": 0.5}
    summary = summary_of(
        [
            scenario({"fleet": a, "faults": b}, None if i + j == 5 else 10.0**i, correct=1e7, paths=mix)
            for i, a in enumerate(names)
            for j, b in enumerate(["none", LONG, "a tenth of all the GPUs"])
        ]
    )
    return summary, timeline_of(summary)


def limits_swept_with_the_rate() -> Made:
    return summary_of(
        [
            scenario({"rate": rate, "sla": sla}, 12.0, sla_ms=float(sla[:-2]), correct=1e4)
            for rate in ("100/s", "200/s")
            for sla in ("1ms", "10ms", "100ms")
        ]
    ), None


def drawn_texts(figure: Drawing, patch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """Return every text that is really drawn, with its box in pixels."""
    found: list[tuple[str, Any]] = []
    draw = Text.draw

    def recorded(self: Text, renderer: Any, *args: Any, **kwargs: Any) -> None:
        if self.get_visible() and self.get_text().strip():
            found.append((self.get_text(), Text.get_window_extent(self, renderer)))
        draw(self, renderer, *args, **kwargs)

    engine = figure.get_layout_engine()
    if figure.axes:
        engine.execute(figure)
    figure.set_layout_engine("none")
    with patch.context() as patched:
        patched.setattr(Text, "draw", recorded)
        FigureCanvasAgg(figure).draw()
    return found


def faults(figure: Drawing, patch: pytest.MonkeyPatch) -> Iterator[str]:
    texts = drawn_texts(figure, patch)
    assert texts
    width, height = figure.bbox.width, figure.bbox.height
    for text, box in texts:
        if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height:
            yield f"{text!r} leaves the figure"
    for (one, a), (other, b) in combinations(texts, 2):
        across = min(a.x1, b.x1) - max(a.x0, b.x0)
        along = min(a.y1, b.y1) - max(a.y0, b.y0)
        if across > TOLERANCE_PX and along > TOLERANCE_PX:
            yield f"{one!r} overlaps {other!r}"


@pytest.mark.parametrize(
    "make",
    [
        one_of_a_long_name,
        all_saturated,
        many_long_names_over_rates_far_apart,
        classes_of_limits_that_lie_close,
        two_ways_without_numbers,
        limits_swept_with_the_rate,
    ],
)
def test_no_texts_overlap_and_none_leaves_the_figure(make: Callable[[], Made], monkeypatch: pytest.MonkeyPatch) -> None:
    summary, timeline = make()
    wrong = {}
    names = []
    with styled():
        for name, figure in drawings(read_run(summary), timeline):
            names.append(name)
            found = list(faults(figure, monkeypatch))
            if found:
                wrong[name] = found
            assert figure.get_suptitle(), name
            for axes in figure.axes:
                assert axes.get_xlabel() or axes.get_shared_x_axes().get_siblings(axes) != [axes], name
    assert not wrong
    assert len(names) == len(set(names)) > 2


def test_the_check_sees_texts_that_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    with styled():
        figure = Figure()
        figure.text(0.5, 0.5, "one text")
        figure.text(0.52, 0.5, "another text")
        figure.text(0.98, 0.1, "a text that leaves the figure")
        assert sorted(faults(figure, monkeypatch)) == [
            "'a text that leaves the figure' leaves the figure",
            "'one text' overlaps 'another text'",
        ]


def test_names_that_are_too_long_lose_their_middle() -> None:
    assert shortened("short", 100.0, 8.5) == "short"
    text = shortened(LONG, 100.0, 8.5)
    assert text.startswith("a policy") and text.endswith("centres") and "…" in text
    assert 85.0 < text_width_pt(text, 8.5) <= 100.0


def test_curves_of_the_made_up_runs_are_exponential() -> None:
    points = {round(point["p"], 6): point["value"] for point in curve(10.0)}
    assert points[0.99] == pytest.approx(10.0) and points[0.9] == pytest.approx(5.0)
