"""The Pareto figure: panels, points, labels that cover nothing, and when there is nothing to draw."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from sim.report.designs import DesignPoint, DesignReport, render_designs
from sim.report.figures import pareto
from sim.report.figures.style import styled
from sim.stats.merge import Metric

ACCURACY, P99, COST = "accuracy_served", "latency_ms_p99", "cost_usd_per_h"


def point(number: int, accuracy: float, p99: float, cost: float, standing: str = "front", status: str = "feasible"):
    values = {ACCURACY: accuracy, P99: p99, COST: cost}
    metrics = {name: Metric(value, 0.98 * value, 1.02 * value, None, (value,)) for name, value in values.items()}
    return DesignPoint(number, {"fleet.a.count": number, "fleet.b.count": 1}, status, "", 4, metrics, standing)


POINTS = (
    *(point(n, 0.78 + 0.0001 * n, 2.0 + 0.1 * n, 1.0 + 0.01 * n) for n in range(1, 13)),
    point(13, 0.78, 5.0, 1.5, "dominated"),
    point(14, 0.7805, 2.6, 1.4, "undecided", "close"),
    point(15, 0.7805, 90.0, 1.4, "", "infeasible"),
)
REPORT = DesignReport(
    name="test",
    model="dlrm",
    objectives=((ACCURACY, "max"), (P99, "min"), (COST, "min")),
    resolution={},
    constraints=("latency_ms_p99 <= sla",),
    choices={"fleet.a.count": list(range(1, 16)), "fleet.b.count": [1]},
    points=POINTS,
    designs=20,
    search="Optuna",
    seed=1,
    search_seed=1,
    confidence=0.95,
    assumptions=(),
    evidence="measured",
    out_dir=Path("runs/test"),
)


@pytest.fixture(name="figure", scope="module")
def _figure() -> Figure:
    with styled():
        figure: Figure = pareto._front(REPORT, REPORT.across, [ACCURACY, P99])
        figure.canvas.draw()
        return figure


def test_what_one_pays_goes_across_and_the_rest_up(figure: Figure) -> None:
    assert REPORT.across == COST
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "accuracy served, %\n(more is better)",
        "p99 latency, ms\n(less is better)",
    ]
    assert figure.axes[-1].get_xlabel() == "cost, US$/h\n(less is better)"
    assert figure.axes[0].get_title("left") == "12 of 15 designs tried are best in some way"


def test_points_stand_where_their_values_are(figure: Figure) -> None:
    drawn = {c.get_label(): c for c in figure.axes[1].collections if isinstance(c, PathCollection)}
    assert len(drawn["front"].get_offsets()) == 12
    assert drawn["dominated, or the same as another"].get_offsets().tolist() == [[1.5, 5.0]]
    assert drawn["undecided: beaten, but not beyond noise"].get_offsets().tolist() == [[1.4, 2.6]]
    assert drawn["misses a constraint"].get_offsets().tolist() == [[1.4, 90.0]]
    # What misses a constraint does not decide what is shown.
    assert figure.axes[1].get_ylim()[1] < 10


def test_numbers_cover_nothing(figure: Figure) -> None:
    for axes in figure.axes:
        boxes = [text.get_window_extent() for text in axes.texts if text.get_text().isdigit()]
        assert len(boxes) >= 3
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_files_are_written_and_the_same_each_time(tmp_path: Path) -> None:
    files = pareto.plot_front(REPORT, tmp_path / "a")
    again = pareto.plot_front(REPORT, tmp_path / "b")
    assert [file.name for file in files] == ["pareto-front.svg", "pareto-front.png"]
    assert files[0].read_bytes() == again[0].read_bytes()


def test_objectives_that_are_equal_to_the_resolution_are_not_drawn() -> None:
    assert REPORT.differing == [ACCURACY, P99, COST]
    assert replace(REPORT, resolution={ACCURACY: 0.1}).differing == [P99, COST]
    assert "the same for every feasible design, to the resolution: accuracy served" in render_designs(
        replace(REPORT, resolution={ACCURACY: 0.1}), 100
    )


def test_one_objective_is_no_front_to_draw(tmp_path: Path) -> None:
    alone = replace(REPORT, objectives=((COST, "min"),))
    assert pareto.plot_front(alone, tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("width", [60, 100])
def test_the_table_fits_and_says_what_is_doubtful(width: int) -> None:
    text = render_designs(REPORT, width)
    assert all(len(line) <= width for line in text.splitlines())
    in_a_line = " ".join(text.split())
    assert "\n14?~ " in text and "?: the means of another design are better, but not beyond noise" in in_a_line
    assert "12 on the front, 1 undecided, 1 dominated beyond noise (paired 95% intervals)" in in_a_line
    # Every choice is there, the one that does not differ too; each is called by as much of its key as it takes.
    assert "point  a.count  b.count" in text


def test_one_design_on_the_front_shows_all_that_was_chosen_and_wanted() -> None:
    alone = replace(REPORT, points=(POINTS[0], POINTS[14]))
    table = render_designs(alone, 60).split("\n\n")[1].splitlines()
    assert " ".join(table[0].split()) == "accuracy p99 cost"
    assert table[1].split() == ["point", "a.count", "b.count", "%", "ms", "US$/h"]
    assert table[3].split() == ["1", "1", "1", "78.01", "2.100", "1.010"]
    choices = {f"fleet.group-{i}.devices.gpu.lanes": [1, 2] for i in range(3)}
    alone = replace(alone, choices=choices, points=(replace(POINTS[0], labels=dict.fromkeys(choices, 2)),))
    block = render_designs(alone, 60).split("\n\n")[1].splitlines()
    assert block[:2] == ["point 1", "  group-0.devices.gpu.lanes: 2"]
    assert block[-3:] == ["  accuracy %: 78.01", "  p99 ms: 2.100", "  cost US$/h: 1.010"]


def test_what_is_the_same_for_all_is_said_in_words_where_columns_do_not_fit() -> None:
    narrow = replace(REPORT, resolution={ACCURACY: 0.1})
    table, words = render_designs(narrow, 47).split("\n\n")[1:3]
    assert table.splitlines()[1].split() == ["point", "a.count", "b.count", "%", "ms", "US$/h"]
    choices = {**REPORT.choices, "fleet.a.devices.gpu.lanes": [1], "router": ["least-expected-completion"]}
    labels = {"fleet.a.devices.gpu.lanes": 1, "router": "least-expected-completion"}
    points = tuple(replace(one, labels={**one.labels, **labels}) for one in POINTS)
    table, words = render_designs(replace(narrow, choices=choices, points=points), 45).split("\n\n")[1:3]
    assert table.splitlines()[1].split() == ["point", "a.count", "ms", "US$/h"]
    assert " ".join(words.split()) == (
        "the same for all of these: b.count 1; lanes 1; router least-expected-completion; "
        "accuracy served 78.01 to 78.12%"
    )


def test_a_narrow_terminal_gets_a_block_a_point() -> None:
    choices = {f"fleet.group-{i}.devices.gpu.lanes": [1, 2] for i in range(5)}
    points = tuple(replace(one, labels=dict.fromkeys(choices, one.number)) for one in POINTS[:2])
    text = render_designs(replace(REPORT, choices=choices, points=points), 60)
    assert all(len(line) <= 60 for line in text.splitlines())
    assert "point 1\n  group-0.devices.gpu.lanes: 1\n" in text
    assert render_designs(replace(REPORT, points=()), 60, unicode=False).isascii()
