"""Accuracy, AUC and log loss by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sim.calibrate.accuracy.results import RepresentationScores, SeedScores, result_lines
from sim.calibrate.accuracy.scores import Scores, area_under_curve, score


def test_scores_by_hand() -> None:
    """Clicks at 0.9, 0.4, 0.6; none at 0.4, 0.2. Of six pairs 5 are in order and one is a tie."""
    labels = np.array([1, 0, 1, 0, 1])
    probabilities = np.array([0.9, 0.4, 0.4, 0.2, 0.6])
    scores = score(labels, probabilities)
    assert scores.accuracy == 4 / 5
    assert scores.auc == 5.5 / 6
    assert scores.log_loss == pytest.approx(-sum(map(math.log, (0.9, 0.6, 0.4, 0.8, 0.6))) / 5)


@pytest.mark.parametrize(
    ("probabilities", "area"), [([0.1, 0.2, 0.3, 0.4], 1.0), ([0.4, 0.3, 0.2, 0.1], 0.0), ([0.5] * 4, 0.5)]
)
def test_area_under_the_curve_of_perfect_reversed_and_equal_ranks(probabilities: list[float], area: float) -> None:
    assert area_under_curve(np.array([0, 0, 1, 1]), np.array(probabilities)) == area


def test_area_equals_the_count_over_all_pairs() -> None:
    random = np.random.default_rng(2)
    labels = random.integers(0, 2, 300)
    probabilities = random.integers(0, 20, 300) / 20
    clicks, others = probabilities[labels == 1], probabilities[labels == 0]
    pairs = (clicks[:, None] > others).sum() + 0.5 * (clicks[:, None] == others).sum()
    assert area_under_curve(labels, probabilities) == pytest.approx(pairs / clicks.size / others.size)


def test_a_certain_mistake_is_not_infinitely_bad() -> None:
    assert math.isfinite(score(np.array([1, 0]), np.array([0.0, 0.0])).log_loss)


def test_there_is_no_area_with_clicks_only() -> None:
    with pytest.raises(ValueError, match="both clicks and non-clicks"):
        area_under_curve(np.array([1, 1]), np.array([0.5, 0.6]))


def test_intervals_and_gains_over_seeds_by_hand() -> None:
    """Accuracies 80, 82, 84% and 81, 83, 86%: gains 1, 1, 2 points; t(0.975, 2) = 4.302653."""
    table = RepresentationScores(
        "table", tuple(SeedScores(n, Scores(a, 0.5, 0.6)) for n, a in enumerate((0.8, 0.82, 0.84)))
    )
    dhe = RepresentationScores(
        "dhe",
        tuple(SeedScores(n, Scores(a, 0.5, 0.6), Scores(a - 0.01, 0.5, 0.6)) for n, a in enumerate((0.81, 0.83, 0.86))),
    )
    accuracy = table.interval("accuracy")
    assert accuracy.value == pytest.approx(0.82)
    assert accuracy.high == pytest.approx(0.82 + 4.302653 * 0.02 / math.sqrt(3), abs=1e-7)
    gain = dhe.gain(table)
    assert gain.value == pytest.approx(4 / 300)
    assert gain.low == pytest.approx(4 / 300 - 4.302653 * math.sqrt(1 / 3) / 100 / math.sqrt(3), abs=1e-7)
    assert table.decoder_cache_cost is None
    cost = dhe.decoder_cache_cost
    assert cost is not None and cost.value == pytest.approx(0.01)
    text = "\n".join(result_lines([table, dhe], 64))
    assert "dhe over table: +1.33 points [-0.10, +2.77] of accuracy" in text
    assert "dhe with 64 centroids for its decoders: +1.00 points" in text


def test_one_seed_gives_no_interval() -> None:
    lines = result_lines([RepresentationScores("table", (SeedScores(1, Scores(0.8, 0.7, 0.4)),))], None)
    assert lines[-1].split() == ["table", "80.00%", "0.7000", "0.4000"]
