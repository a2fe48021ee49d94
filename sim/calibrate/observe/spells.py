"""How the service times of a lane depend on those before, from the calibration blocks that were served back to back."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.observe.calibration import CalibrationBlock, LaneRun
from sim.profile.spells import Spells

__all__ = ["fit_spells", "score_correlation"]

LAGS = (*range(1, 7), 8, 10, 13, 16, 20, 25, 32, 40, 50, 64, 80, 100, 128, 160, 200, 256, 320, 400, 512, 640, 800, 1000)
"""How far apart services are that are compared; evenly spread over the logarithm."""

MOST_COMPONENTS = 3

FEWEST = 20
"""Services of a path and size, at least, for which each has a rank that says something."""

FEWEST_PAIRS = 200
"""Pairs of services in all blocks, at least, behind the correlation at a lag."""

CLOSE = 0.01
"""Difference of correlations that is not worth another component. Standard errors are too wide to go by: most of them
is that some blocks are slower than others, which shifts all lags alike."""

SERVICES_RANGE = (0.5, 10_000.0)
LEAST_SHARE = 0.01

ORDERS = 24
"""Hermite polynomials that the law of service times is written in. What outliers hold beyond them matters only where
scores are nearly equal."""


def fit_spells(blocks: Sequence[CalibrationBlock], paths: Sequence[int]) -> Spells | None:
    """Fit the correlation of the service times of a device's lanes.

    Parameters
    ----------
    blocks : sequence of CalibrationBlock
    paths : sequence of int
        Those of the device.

    Returns
    -------
    Spells or None
        The fewest components, at most `MOST_COMPONENTS`, that come within `CLOSE` of what was measured, as a root mean
        square over the lags; the most where fewer do not. None where what was measured is within its own standard
        error of nothing, or where there are too few services or blocks to tell.

    Notes
    -----
    What a query takes beyond the mean of those of its path and size, as a share of that mean, is compared with that of
    the query so many services before. That one block is slower than another is correlation, too. How much of the
    work that comes together is what makes queries wait, so it is this covariance that spells have to give; the
    correlation of ranks would not do: where slow spells move most service times by a little and the rare long ones
    not at all, it is high, and spells of that correlation would make the long ones come together. Which correlation of
    scores gives a covariance follows from the law of service times, in Hermite polynomials of the score (Cario and
    Nelson 1997, "Modeling and generating random vectors with arbitrary marginal distributions and correlation
    matrix").

    The standard error of the covariance at a lag is that of its mean over the blocks.
    """
    lags, found, errors = score_correlation(blocks, paths)
    if len(lags) < 2 * MOST_COMPONENTS or _root_mean_square(found / np.maximum(errors, 1e-12)) <= 1.0:
        return None
    fitted: Spells | None = None
    for components in range(1, MOST_COMPONENTS + 1):
        one = _fit(lags, found, components)
        if one is not None:
            fitted = one
            if _root_mean_square(found - [one.correlation(lag) for lag in lags.tolist()]) <= CLOSE:
                break
    return fitted


def score_correlation(
    blocks: Sequence[CalibrationBlock], paths: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return lags, the correlation that scores of services so far apart must have, and its standard error.

    Only lags that enough pairs of services have; none where there is one block.
    """
    runs = [[run for run in block.busy if set(paths) & {*run.path.tolist()}] for block in blocks]
    beyond, scores = _beyond_usual([run for of_block in runs for run in of_block])
    kept = np.isfinite(beyond)
    coefficients = _hermite(beyond[kept], scores[kept])
    by_run = iter(np.split(beyond, np.cumsum([len(run.took_ns) for of_block in runs for run in of_block])[:-1]))
    by_block = [[next(by_run) for _ in of_block] for of_block in runs]
    lags, found, errors = [], [], []
    for lag in LAGS:
        products = [np.concatenate([np.zeros(0), *(one[lag:] * one[:-lag] for one in mine)]) for mine in by_block]
        known = [one[np.isfinite(one)] for one in products]
        known = [one for one in known if len(one)]
        pairs = sum(len(one) for one in known)
        if pairs < FEWEST_PAIRS or len(known) < 2:
            break
        mean = float(np.concatenate(known).mean())
        apart = np.array([(one - mean).sum() for one in known])
        error = float(np.sqrt(len(known) / (len(known) - 1) * np.square(apart).sum()) / pairs)
        low, middle, high = _correlation_of_scores(np.array([mean - error, mean, mean + error]), coefficients)
        lags.append(lag)
        found.append(middle)
        errors.append((high - low) / 2)
    return np.array(lags, dtype=np.int64), np.array(found), np.array(errors)


def _beyond_usual(runs: Sequence[LaneRun]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return by service what it took beyond the mean of its path and size, as a share of that, and its normal score.

    NaN of those whose path and size are too rare.
    """
    from scipy.special import ndtri
    from scipy.stats import rankdata

    if not runs:
        return np.zeros(0), np.zeros(0)
    took_ns = np.concatenate([run.took_ns for run in runs]).astype(np.float64)
    kinds = np.stack([np.concatenate([run.path for run in runs]), np.concatenate([run.size for run in runs])])
    _, kind = np.unique(kinds, axis=1, return_inverse=True)
    beyond, scores = np.full(len(took_ns), np.nan), np.full(len(took_ns), np.nan)
    for number in range(int(kind.max()) + 1):
        rows = np.flatnonzero(kind == number)
        if len(rows) >= FEWEST:
            beyond[rows] = took_ns[rows] / took_ns[rows].mean() - 1.0
            scores[rows] = ndtri((rankdata(took_ns[rows]) - 0.5) / len(rows))
    return beyond, scores


def _hermite(values: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the coefficients of values in the normalised Hermite polynomials of their scores, orders 1 to `ORDERS`.

    The mean over the services of all kinds: the kinds of two services are independent.
    """
    if not len(values):
        return np.zeros(ORDERS)
    before, here = np.ones_like(scores), scores
    found = []
    for order in range(1, ORDERS + 1):
        found.append(float((values * here).mean()))
        before, here = here, (scores * here - np.sqrt(order) * before) / np.sqrt(order + 1)
    return np.array(found)


def _correlation_of_scores(covariance: NDArray[np.float64], coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the correlations of two scores that give their values these covariances.

    The covariance is the sum over the orders of ``coefficient**2 * correlation**order``, which grows with the
    correlation where that is positive. Below, only the first order is taken: spells have no negative correlation.
    """
    squares = np.square(coefficients)
    if not squares[0]:
        return np.zeros_like(covariance)
    known = np.linspace(0.0, 1.0, 2001)
    gives = np.polynomial.polynomial.polyval(known, [0.0, *squares.tolist()])
    return np.where(covariance < 0.0, np.maximum(covariance / squares[0], -1.0), np.interp(covariance, gives, known))


def _fit(lags: NDArray[np.int64], found: NDArray[np.float64], components: int) -> Spells | None:
    """Return the spells of so many components that come closest; None where they are not spells."""
    from scipy.optimize import least_squares

    low, high = (np.log(bound) for bound in SERVICES_RANGE)

    def beyond(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        share, services = numbers[:components], np.exp(numbers[components:])
        return np.asarray((share * np.exp(-lags[:, None] / services)).sum(axis=1) - found)

    start = np.array([0.5 / components] * components + np.linspace(low, high, components + 2)[1:-1].tolist())
    bounds = [0.0] * components + [low] * components, [1.0] * components + [high] * components
    numbers = least_squares(beyond, start, bounds=bounds).x
    order = np.argsort(numbers[components:])
    share = [round(float(one), 3) for one in numbers[:components][order]]
    services = [float(f"{one:.3g}") for one in np.exp(numbers[components:][order])]
    kept = [(one, last) for one, last in zip(share, services, strict=True) if one >= LEAST_SHARE]
    if not kept or sum(one for one, _ in kept) >= 1 or any(b[1] <= a[1] for a, b in pairwise(kept)):
        return None
    return Spells(tuple(one for one, _ in kept), tuple(last for _, last in kept))


def _root_mean_square(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
