"""Student-t intervals over replications, and those of comparisons: paired by common random numbers, or independent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Interval",
    "independent_difference",
    "independent_ratio",
    "paired_difference",
    "paired_ratio",
    "student_t_quantile",
    "t_interval",
]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its confidence interval.

    Attributes
    ----------
    value : float or None
        The estimate; None where a replication lacks the metric.
    low, high : float or None
        Ends of the interval; None with a single replication, or where the data bound no interval.
    reason : str or None
        Why `value`, or an end of the interval, is None.
    """

    value: float | None
    low: float | None
    high: float | None
    reason: str | None = None


ONE_REPLICATION = "one replication gives no interval"


def student_t_quantile(probability: float, degrees: int) -> float:
    """Quantile of Student's t distribution."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def t_interval(values: Sequence[float | None], confidence: float = 0.95) -> Interval:
    """Return the mean over replications with its two-sided Student-t interval.

    Parameters
    ----------
    values : one per replication
        If any is None or NaN the result is None: a mean over only those replications in which a metric could
        be had would be biased.
    confidence : float
        Within (0, 1).

    Raises
    ------
    ValueError
        If there are no values, or `confidence` is out of range.

    Examples
    --------
    >>> t_interval([1.0, 2.0, 3.0]).value
    2.0
    """
    _check_confidence(confidence)
    x = _known(values)
    if x is None:
        return Interval(None, None, None, "a replication lacks the metric")
    mean = _mean(x)
    if len(x) == 1:
        return Interval(mean, None, None, ONE_REPLICATION)
    half = _t(confidence, len(x)) * math.sqrt(_covariance(x, x) / len(x))
    return Interval(mean, mean - half, mean + half)


def paired_difference(a: Sequence[float | None], b: Sequence[float | None], confidence: float = 0.95) -> Interval:
    """Return the mean of a - b with its Student-t interval over paired replications.

    Parameters
    ----------
    a, b : one value per replication
        Entries with the same index share their random numbers.
    confidence : float
        Within (0, 1).

    Raises
    ------
    ValueError
        If the numbers of replications differ or are 0, or `confidence` is out of range.
    """
    _check_paired(a, b)
    return t_interval([None if x is None or y is None else x - y for x, y in zip(a, b, strict=True)], confidence)


def paired_ratio(a: Sequence[float | None], b: Sequence[float | None], confidence: float = 0.95) -> Interval:
    """Return mean(a) / mean(b) with Fieller's interval over paired replications.

    The gain of a scenario over a baseline is a ratio of two expected rates. The mean of the replications'
    ratios estimates something else (by Jensen's inequality it lies higher, however many replications there
    are). Fieller's interval is about the ratio of means, uses the correlation that common random numbers
    bring, and is exact for normal replication values at any number of replications, where the delta method is
    so only for many. Of ``d = a - r b`` the mean is zero at the true ratio r, so the interval is every r for
    which a t test of the replications' d does not reject zero.

    Parameters
    ----------
    a, b : one value per replication
        Entries with the same index share their random numbers. Equal sequences give exactly [1, 1].
    confidence : float
        Within (0, 1).

    Returns
    -------
    Interval
        Without ends where the data do not exclude mean(b) = 0, which leaves the ratio unbounded.

    Raises
    ------
    ValueError
        If the numbers of replications differ or are 0, or `confidence` is out of range.

    References
    ----------
    E. C. Fieller, "Some problems in interval estimation", J. R. Stat. Soc. B 16(2), 1954.
    """
    _check_confidence(confidence)
    _check_paired(a, b)
    x, y = _known(a), _known(b)
    if x is None or y is None:
        return Interval(None, None, None, "a replication lacks the metric")
    mean_a, mean_b = _mean(x), _mean(y)
    if mean_b == 0:
        return Interval(None, None, None, "the baseline is zero")
    ratio = mean_a / mean_b
    n = len(x)
    if n == 1:
        return Interval(ratio, None, None, ONE_REPLICATION)
    residual = x - ratio * y
    return _fieller(
        ratio,
        mean_b,
        _t(confidence, n),
        _covariance(y, y) / n,
        _covariance(residual, y) / n,
        _covariance(residual, residual) / n,
    )


def independent_difference(a: Sequence[float | None], b: Sequence[float | None], confidence: float = 0.95) -> Interval:
    """Return mean(a) - mean(b) with Welch's interval: of replications that share no random numbers.

    Parameters
    ----------
    a, b : one value per replication
        Their numbers and variances may differ.
    confidence : float
        Within (0, 1).

    Raises
    ------
    ValueError
        If either is empty, or `confidence` is out of range.

    References
    ----------
    B. L. Welch, "The generalization of Student's problem when several different population variances are
    involved", Biometrika 34(1-2), 1947.
    """
    _check_confidence(confidence)
    x, y = _known(a), _known(b)
    if x is None or y is None:
        return Interval(None, None, None, "a replication lacks the metric")
    difference = _mean(x) - _mean(y)
    if min(len(x), len(y)) == 1:
        return Interval(difference, None, None, ONE_REPLICATION)
    variances = _covariance(x, x) / len(x), _covariance(y, y) / len(y)
    half = _welch_t(confidence, variances, (len(x), len(y))) * math.sqrt(sum(variances))
    return Interval(difference, difference - half, difference + half)


def independent_ratio(a: Sequence[float | None], b: Sequence[float | None], confidence: float = 0.95) -> Interval:
    """Return mean(a) / mean(b) with Fieller's interval for replications that share no random numbers.

    The degrees of freedom are Welch's for ``mean(a) - r mean(b)`` at the estimated ratio r.

    Parameters
    ----------
    a, b : one value per replication
        Their numbers and variances may differ.
    confidence : float
        Within (0, 1).

    Returns
    -------
    Interval
        Without ends where the data do not exclude mean(b) = 0.

    Raises
    ------
    ValueError
        If either is empty, or `confidence` is out of range.
    """
    _check_confidence(confidence)
    x, y = _known(a), _known(b)
    if x is None or y is None:
        return Interval(None, None, None, "a replication lacks the metric")
    mean_a, mean_b = _mean(x), _mean(y)
    if mean_b == 0:
        return Interval(None, None, None, "the baseline is zero")
    ratio = mean_a / mean_b
    if min(len(x), len(y)) == 1:
        return Interval(ratio, None, None, ONE_REPLICATION)
    var_a, var_b = _covariance(x, x) / len(x), _covariance(y, y) / len(y)
    t = _welch_t(confidence, (var_a, ratio**2 * var_b), (len(x), len(y)))
    return _fieller(ratio, mean_b, t, var_b, -ratio * var_b, var_a + ratio**2 * var_b)


def _fieller(ratio: float, mean_b: float, t: float, var_b: float, cov_db: float, var_d: float) -> Interval:
    """Return every r for which a t test does not reject that ``mean(a) - r mean(b)`` is zero.

    With r = ratio + delta that is a quadratic in delta whose terms vanish exactly for equal sequences; in r itself
    it would lose them to rounding. Variances and covariance are those of means, d = a - ratio b.
    """
    square = mean_b**2 - t**2 * var_b
    half_linear = t**2 * cov_db
    constant = t**2 * var_d
    if square <= 0:
        return Interval(ratio, None, None, "the baseline is not distinguishable from zero")
    root = math.sqrt(half_linear**2 + square * constant)
    return Interval(ratio, ratio + (-half_linear - root) / square, ratio + (-half_linear + root) / square)


def _known(values: Sequence[float | None]) -> NDArray[np.float64] | None:
    if not len(values):
        raise ValueError("there is no replication")
    if any(v is None or math.isnan(v) for v in values):
        return None
    return np.array(values, dtype=np.float64)


def _mean(x: NDArray[np.float64]) -> float:
    return math.fsum(x) / len(x)


def _covariance(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    return math.fsum((x - _mean(x)) * (y - _mean(y))) / (len(x) - 1)


def _t(confidence: float, replications: int) -> float:
    return student_t_quantile(0.5 + confidence / 2, replications - 1)


def _welch_t(confidence: float, variances: tuple[float, float], counts: tuple[int, int]) -> float:
    """Return the t quantile at the degrees of freedom of Welch and Satterthwaite; variances are those of means."""
    from scipy.special import stdtrit

    parts = sum(variance**2 / (count - 1) for variance, count in zip(variances, counts, strict=True))
    degrees = sum(variances) ** 2 / parts if parts > 0 else float(sum(counts) - 2)
    return float(stdtrit(degrees, 0.5 + confidence / 2))


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")


def _check_paired(a: Sequence[float | None], b: Sequence[float | None]) -> None:
    if len(a) != len(b):
        raise ValueError(f"paired values must be equally many, not {len(a)} and {len(b)}")
