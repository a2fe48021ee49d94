"""How good click probabilities are: accuracy, area under the ROC curve, log loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[np.float32] | NDArray[np.float64] | NDArray[np.int64]

__all__ = ["Scores", "area_under_curve", "score"]

_SMALLEST = 1e-15
"""Probabilities are kept this far from 0 and 1, so that one mistake does not make the log loss infinite."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of one set of predictions.

    Attributes
    ----------
    accuracy : float
        Share of predictions on the right side of one half.
    auc : float
        Probability that a click is ranked above a non-click.
    log_loss : float
        Mean of -ln of the probability given to what happened.
    """

    accuracy: float
    auc: float
    log_loss: float


def score(labels: Numbers, probabilities: Numbers) -> Scores:
    """Score predictions.

    Parameters
    ----------
    labels : numbers, (samples,)
        0 or 1.
    probabilities : floats, (samples,)
        Predicted click probabilities.

    Raises
    ------
    ValueError
        If there are not both clicks and non-clicks: no AUC exists then.
    """
    clicked = labels > 0.5
    given = np.clip(np.where(clicked, probabilities, 1.0 - probabilities).astype(np.float64), _SMALLEST, 1.0)
    return Scores(
        accuracy=float(np.mean((probabilities >= 0.5) == clicked)),
        auc=area_under_curve(labels, probabilities),
        log_loss=float(-np.mean(np.log(given))),
    )


def area_under_curve(labels: Numbers, probabilities: Numbers) -> float:
    """Area under the ROC curve, as the Mann-Whitney statistic: ties count half.

    Raises
    ------
    ValueError
        If there are not both clicks and non-clicks.
    """
    clicked = labels > 0.5
    clicks = int(clicked.sum())
    others = len(labels) - clicks
    if not clicks or not others:
        raise ValueError("the area under the ROC curve needs both clicks and non-clicks")
    values, inverse, counts = np.unique(probabilities, return_inverse=True, return_counts=True)
    del values
    # Mean rank of each distinct value, from 1.
    ranks = np.cumsum(counts) - (counts - 1) / 2
    rank_sum = float(ranks[inverse[clicked]].sum())
    return (rank_sum - clicks * (clicks + 1) / 2) / (clicks * others)
