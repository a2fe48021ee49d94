"""Figures of a run: which it has, what their titles claim, and what is drawn."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from sim.report.figures import FIGURES, drawings, plot_run
from sim.report.figures.colours import LIGHT, ON_DARK, PAPER
from sim.report.figures.files import follows_the_page
from sim.report.figures.findings import meets_up_to, most_correct, who_meets
from sim.report.figures.heat import grid_of
from sim.report.figures.series import Run, read_run
from sim.report.figures.style import Drawing, logarithmic, new_figure, styled
from tests.report.synthetic_runs import scenario, summary_of


def run_of(*scenarios: dict[str, Any]) -> Run:
    return read_run(summary_of(scenarios))


def drawn(run: Run) -> dict[str, Drawing]:
    with styled():
        return dict(drawings(run))


RATES = ("1/s", "2/s", "4/s")


def over_rates(**p99_ms: tuple[float | None, ...]) -> Run:
    """A policy at each rate, with a p99; the SLA is 10 ms, and 10% are allowed for the interval."""
    return run_of(
        *(
            scenario({"policy": policy, "rate": rate}, value, correct=100.0 * (i + 1) * (1 + (value is None)))
            for policy, values in p99_ms.items()
            for i, (rate, value) in enumerate(zip(RATES, values, strict=True))
        )
    )


@pytest.mark.parametrize(
    ("run", "title"),
    [
        (over_rates(a=(1.0, 2.0, 50.0), b=(1.0, 20.0, None)), "a meets 10 ms at p99 up to 2/s"),
        (over_rates(a=(1.0, 2.0, 3.0), b=(1.0, 20.0, None)), "a meets 10 ms at p99 at every load tried"),
        (over_rates(a=(1.0, 2.0, 50.0), b=(1.0, 2.0, None)), "Both meet 10 ms at p99 up to 2/s"),
        (
            over_rates(a=(1.0, 2.0, 50.0), b=(1.0, 2.0, None), c=(1.0, 11.0, 9.0)),
            "2 of 3 meet 10 ms at p99 up to 2/s",
        ),
        (over_rates(a=(12.0, 20.0, None), b=(13.0, 20.0, None)), "10 ms at p99 is missed at every load tried"),
        # It misses at the lowest load: what it does above says nothing of "up to".
        (over_rates(a=(12.0, 2.0, 3.0)), None),
    ],
)
def test_titles_say_up_to_which_load_the_sla_is_met(run: Run, title: str | None) -> None:
    assert meets_up_to(run) == title


def test_titles_claim_nothing_without_verdicts_or_where_no_rate_is_swept() -> None:
    unjudged = [scenario({"rate": rate}, 1.0) | {"verdict": ""} for rate in RATES]
    assert meets_up_to(run_of(*unjudged)) is None
    assert meets_up_to(run_of(*(scenario({"lanes": lanes}, 1.0) for lanes in (1, 2)))) is None


def test_the_winner_is_named_only_where_intervals_leave_no_doubt() -> None:
    def two(other: float) -> Run:
        rows = [({"policy": "a"}, 100.0), ({"policy": "b"}, other)]
        return run_of(*(scenario(parameters, 1.0, correct=correct) for parameters, correct in rows))

    # The intervals are 1% of the value to both sides: [99, 101] and those of the other.
    assert most_correct(two(103.0)) == "b serves the most correct predictions in time"
    assert most_correct(two(101.5)) is None


def test_the_title_counts_those_that_meet_and_names_one_that_is_alone() -> None:
    run = run_of(*(scenario({"policy": name}, p99) for name, p99 in (("a", 5.0), ("b", 50.0), ("c", None))))
    names = ["a", "b", "c"]
    assert who_meets(run, run.entries, names) == "a alone meets 10 ms at p99"
    assert who_meets(run, run.entries[1:], names[1:]) == "none of 2 meets 10 ms at p99"
    assert who_meets(run, run.entries[:1], names[:1]) == "meets 10 ms at p99"


@pytest.mark.parametrize(
    ("key", "values", "title", "positions"),
    [
        ("workload.arrivals.rate", ["500/s", "2k/s"], "offered load, queries/s", [500.0, 2000.0]),
        (
            "classes.filtering.workload.arrivals.rate",
            ["1/s", "2/s"],
            "offered load of filtering, queries/s",
            [1.0, 2.0],
        ),
        ("sla", ["10ms", "1s"], "SLA, ms", [10.0, 1000.0]),
        ("fleet.hw1.devices.gpu.memory", ["16GB", "1TB"], "memory of hw1, GB", [16.0, 1000.0]),
        ("fleet.hw1.count", [1, 4], "nodes of hw1", [1.0, 4.0]),
        ("retries.budget", ["10%", "20%"], "budget, %", [10.0, 20.0]),
        ("router.d", ["two", "three"], None, [None, None]),
    ],
)
def test_what_is_swept_becomes_an_axis_with_its_unit(
    key: str, values: list[Any], title: str | None, positions: list[float | None]
) -> None:
    run = run_of(*(scenario({key: value}, 1.0) for value in values))
    assert run.load_axis == title
    assert [entry.load for entry in run.entries] == positions


def test_rate_comes_before_sla_as_the_axis_and_the_sla_has_a_figure_of_its_own() -> None:
    run = run_of(
        *(
            scenario({"sla": sla, "rate": rate}, 5.0, sla_ms=float(sla[:-2]), correct=float(sla[:-2]))
            for sla in ("20ms", "5ms")
            for rate in ("1/s", "2/s")
        )
    )
    assert run.load_key == "rate"
    figures = drawn(run)
    (lines,) = [axes.lines for axes in figures["correct-predictions-sla"].axes]
    # A line a rate, over the SLA from the tightest on.
    assert [list(line.get_xdata()) for line in lines if len(line.get_xdata())] == [[5.0, 20.0]] * 2
    assert "correct-predictions-load" in figures


def test_which_figures_a_run_has_follows_from_what_it_swept() -> None:
    assert len({kind.question for kind in FIGURES}) == len(FIGURES)
    mix = {"a@cpu": 0.5, "b@gpu": 0.5}
    alone = drawn(run_of(scenario({}, 1.0)))
    assert list(alone) == ["correct-predictions", "percentiles", "ccdf", "utilisation"]
    plain = drawn(run_of(*(scenario({"p": p}, 1.0, paths=mix) for p in ("x", "y"))))
    assert list(plain) == ["correct-predictions", "percentiles", "ccdf", "path-mix", "utilisation"]
    loads = [scenario({"rate": r}, 1.0, paths=mix, accuracy=a) for r, a in (("1/s", 0.7), ("2/s", 0.6))]
    assert list(drawn(run_of(*loads))) == [
        "latency-load",
        "correct-predictions-load",
        "percentiles",
        "ccdf",
        "path-mix-load",
        "accuracy-load",
        "utilisation-load",
    ]
    two_ways = drawn(run_of(*(scenario({"p": p, "q": q}, 1.0) for p in ("x", "y") for q in ("s", "t"))))
    assert {"heat-latency", "heat-correct-predictions"} <= set(two_ways)
    told = (Path(__file__).parents[2] / "docs" / "figures.md").read_text()
    missing = {name for names in (alone, plain, two_ways) for name in names if f"`{name}`" not in told}
    assert not missing


def test_heat_maps_show_values_and_say_which_meet_the_sla() -> None:
    values: dict[tuple[str, str], float | None] = {
        ("x", "s"): 1.0,
        ("x", "t"): 1234.5,
        ("y", "s"): None,
        ("y", "t"): 100.0,
    }
    run = run_of(*(scenario({"p": p, "q": q}, value, correct=15000.0) for (p, q), value in values.items()))
    grid = grid_of(run)
    assert grid is not None and grid[:2] == (["x", "y"], ["s", "t"])
    figure = drawn(run)["heat-latency"]
    (axes,) = figure.axes
    assert {text.get_position(): text.get_text() for text in axes.texts} == {
        (0, 0): "1",
        (1, 0): "1,234",
        (0, 1): "saturated",
        (1, 1): "100",
    }
    framed = [patch.get_xy() for patch in axes.patches if not patch.get_fill()]
    assert framed == [pytest.approx((-0.46, -0.44))]
    hatched = [patch.get_xy() for patch in axes.patches if patch.get_hatch()]
    assert hatched == [(-0.5, 0.5)]
    assert figure.get_suptitle() == "1 of 4 meets 10 ms at p99"


def test_the_map_of_a_load_has_the_loads_across() -> None:
    run = over_rates(a=(1.0, 2.0, 3.0), b=(1.0, 2.0, 3.0))
    grid = grid_of(run)
    assert grid is not None and grid[:2] == (["a", "b"], ["1/s", "2/s", "4/s"])
    assert grid_of(over_rates(a=(1.0, 2.0, 3.0))) is None


def test_the_exceedance_plot_is_the_percentile_plot_turned() -> None:
    run = run_of(scenario({}, 8.0))
    figures = drawn(run)
    (percentiles,), (exceedance,) = figures["percentiles"].axes, figures["ccdf"].axes
    curve, turned = percentiles.lines[0], exceedance.lines[0]
    assert list(turned.get_xdata()) == list(curve.get_ydata())
    assert list(turned.get_ydata()) == pytest.approx([100 * 10**-x for x in curve.get_xdata()])
    assert exceedance.get_xscale() == exceedance.get_yscale() == "log"
    # At 8 ms, the p99, 1% take longer; the limit stands at 10 ms.
    assert dict(zip(turned.get_xdata(), turned.get_ydata(), strict=True))[8.0] == pytest.approx(1.0)
    assert list(exceedance.lines[-1].get_xdata()) == [10.0, 10.0]


def test_saturated_scenarios_are_hollow_at_the_upper_edge_and_break_the_line() -> None:
    axes = drawn(over_rates(a=(1.0, None, 5.0)))["latency-load"].axes[0]
    line = axes.lines[0]
    assert [value == value for value in line.get_ydata()] == [True, False, True]
    (hollow,) = [one for one in axes.lines if one.get_markerfacecolor() == PAPER]
    assert list(hollow.get_xdata()) == [2.0]
    assert hollow.get_ydata()[0] > 10.0 and hollow.get_ydata()[0] < axes.get_ylim()[1]


def test_more_than_eight_lines_go_to_further_figures() -> None:
    run = run_of(*(scenario({"policy": f"p{i}", "rate": rate}, 1.0) for i in range(9) for rate in ("1/s", "2/s")))
    figures = drawn(run)
    assert {"latency-load", "latency-load-2", "percentiles-2", "ccdf-2"} <= set(figures)
    notes = [text.get_text() for text in figures["latency-load-2"].texts]
    assert any("lines 9 to 9 of 9" in note for note in notes)


def test_paths_are_shown_for_the_lines_that_several_serve() -> None:
    mix = {"a@cpu": 0.25, "b@gpu": 0.75}
    run = run_of(
        *(
            scenario({"policy": policy, "rate": rate}, 1.0, paths=paths)
            for policy, paths in (("one", None), ("two", mix))
            for rate in RATES
        )
    )
    figure = drawn(run)["path-mix-load"]
    (axes,) = figure.axes
    tops = [max(vertex[1] for vertex in area.get_paths()[0].vertices) for area in axes.collections]
    assert tops == pytest.approx([25.0, 100.0])
    assert any("not shown: 1 of 2" in text.get_text() for text in figure.texts)


def test_files_are_the_same_bytes_again_and_change_every_colour_in_the_dark(tmp_path: Path) -> None:
    summary = summary_of([scenario({"policy": p, "rate": r}, 1.0) for p in "ab" for r in ("1/s", "2/s")])
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    first = {file.name: file.read_bytes() for file in plot_run(tmp_path)}
    assert {file.name: file.read_bytes() for file in plot_run(tmp_path)} == first
    assert {Path(name).suffix for name in first} == {".svg", ".png"}
    for name, content in first.items():
        if name.endswith(".svg"):
            text = content.decode()
            assert "prefers-color-scheme: dark" in text and "<title>" in text
            style, body = text.split("</style>", 1)
            used = set(re.findall(r"#[0-9a-f]{6}\b", body))
            if not name.startswith("heat"):
                assert used <= set(ON_DARK), name
            assert all(f"fill: {ON_DARK[colour]} !important" in style for colour in used & set(ON_DARK))


def test_colours_without_a_counterpart_stay() -> None:
    svg = f'<svg><metadata></metadata><path style="fill: {LIGHT[0]}"/><path stroke="#123456"/></svg>'
    text = follows_the_page(svg, {LIGHT[0]: "#abcdef", "#123455": "#000000"})
    assert "#abcdef" in text and "#000000" not in text
    assert text.count("#123456") == 1


@pytest.mark.parametrize(("low", "high"), [(12.0, 40.0), (12.0, 90.0), (0.4, 900.0), (1e-3, 1e6)])
def test_logarithmic_axes_have_several_ticks_and_plain_numbers(low: float, high: float) -> None:
    figure, axes = new_figure()
    logarithmic(axes)
    axes.set_ylim(low, high)
    figure.draw_without_rendering()
    within = [tick for tick in axes.get_yticks() if low <= tick <= high]
    assert 2 <= len(within) <= 12
    assert not any("^" in label.get_text() or "e" in label.get_text() for label in axes.get_yticklabels())
