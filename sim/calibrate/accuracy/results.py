"""Scores over seeds as intervals, and as lines of a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sim.calibrate.accuracy.scores import Scores
from sim.stats.interval import Interval, paired_difference, t_interval

__all__ = ["RepresentationScores", "SeedScores", "result_lines"]


@dataclass(frozen=True, slots=True)
class SeedScores:
    """Scores of the model of one seed.

    Attributes
    ----------
    seed : int
    scores : Scores
    with_decoder_cache : Scores or None
        The same model with centroids in the place of its decoders.
    """

    seed: int
    scores: Scores
    with_decoder_cache: Scores | None = None


@dataclass(frozen=True, slots=True)
class RepresentationScores:
    """Scores of a representation over seeds.

    Attributes
    ----------
    name : str
    seeds : tuple of SeedScores
        At least one.
    """

    name: str
    seeds: tuple[SeedScores, ...]

    def interval(self, metric: str) -> Interval:
        """Mean of "accuracy", "auc" or "log_loss" and its 95% Student-t interval over seeds."""
        return t_interval([getattr(one.scores, metric) for one in self.seeds])

    def gain(self, other: RepresentationScores) -> Interval:
        """How much more accurate this one is than another, seed by seed."""
        return paired_difference(_accuracies(self), _accuracies(other))

    @property
    def decoder_cache_cost(self) -> Interval | None:
        """What the centroids take off the accuracy, seed by seed; None where there were none."""
        cached = [one.with_decoder_cache for one in self.seeds]
        if any(scores is None for scores in cached):
            return None
        return paired_difference(_accuracies(self), [None if one is None else one.accuracy for one in cached])


def result_lines(results: Sequence[RepresentationScores], centroids: int | None) -> list[str]:
    """Return a table: scores with intervals, the gain over the first representation, the cost of a decoder cache."""
    lines = [
        f"{'representation':<15} {'accuracy':<25} {'AUC':<25} {'log loss':<25}",
        "─" * 93,
    ]
    for result in results:
        accuracy, auc, loss = (result.interval(metric) for metric in ("accuracy", "auc", "log_loss"))
        lines.append(f"{result.name:<15} {_percent(accuracy):<25} {_number(auc):<25} {_number(loss):<25}".rstrip())
    for result in results[1:]:
        lines.append(f"{result.name} over {results[0].name}: {_points(result.gain(results[0]))} of accuracy")
    for result in results:
        if (cost := result.decoder_cache_cost) is not None:
            lines.append(f"{result.name} with {centroids} centroids for its decoders: {_points(cost)} less accuracy")
    return lines


def _accuracies(result: RepresentationScores) -> list[float]:
    return [one.scores.accuracy for one in result.seeds]


def _percent(interval: Interval) -> str:
    assert interval.value is not None
    ends = "" if interval.low is None or interval.high is None else f" [{interval.low:.2%}, {interval.high:.2%}]"
    return f"{interval.value:.2%}{ends}"


def _number(interval: Interval) -> str:
    assert interval.value is not None
    ends = "" if interval.low is None or interval.high is None else f" [{interval.low:.4f}, {interval.high:.4f}]"
    return f"{interval.value:.4f}{ends}"


def _points(interval: Interval) -> str:
    assert interval.value is not None
    value = 100 * interval.value
    if interval.low is None or interval.high is None:
        return f"{value:+.2f} points"
    return f"{value:+.2f} points [{100 * interval.low:+.2f}, {100 * interval.high:+.2f}]"
