"""How two scenarios differ in one metric: the difference and the relative change, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sim.stats.interval import (
    Interval,
    independent_difference,
    independent_ratio,
    paired_difference,
    paired_ratio,
    t_interval,
)

__all__ = ["Difference", "beyond", "difference"]


@dataclass(frozen=True, slots=True)
class Difference:
    """A metric of a scenario against that of its baseline.

    Attributes
    ----------
    baseline, value : float or None
        Means over the replications that are compared.
    absolute : Interval
        Of value - baseline.
    relative : Interval
        Of value / baseline - 1; without a value where the baseline is zero.
    """

    baseline: float | None
    value: float | None
    absolute: Interval
    relative: Interval

    @property
    def within_noise(self) -> bool | None:
        """Whether the interval of the difference holds zero; None where there is no interval."""
        if self.absolute.low is None or self.absolute.high is None:
            return None
        return self.absolute.low <= 0.0 <= self.absolute.high


def difference(
    baseline: Sequence[float | None], values: Sequence[float | None], *, paired: bool, confidence: float = 0.95
) -> Difference:
    """Return how `values` differ from `baseline`.

    Parameters
    ----------
    baseline, values : one value per replication
        Where they are paired, entries of one index share their random numbers.
    paired : bool
        Otherwise the two are independent, and may be of different length.
    confidence : float
        Within (0, 1).

    Raises
    ------
    ValueError
        If there is no value, paired ones are not equally many, or `confidence` is out of range.

    Examples
    --------
    >>> difference([10.0, 12.0, 11.0], [11.0, 13.0, 12.0], paired=True).absolute
    Interval(value=1.0, low=1.0, high=1.0, reason=None)
    """
    means = t_interval(baseline).value, t_interval(values).value
    if paired:
        absolute = paired_difference(values, baseline, confidence)
        ratio = paired_ratio(values, baseline, confidence)
        if absolute.value is not None and list(values) == list(baseline):
            # The ratio of a number to itself is 1, also where the replications cannot tell it from zero.
            end = None if absolute.low is None else 1.0
            ratio = Interval(1.0, end, end, absolute.reason)
    else:
        absolute = independent_difference(values, baseline, confidence)
        ratio = independent_ratio(values, baseline, confidence)
    value, low, high = (None if end is None else end - 1.0 for end in (ratio.value, ratio.low, ratio.high))
    return Difference(*means, absolute, Interval(value, low, high, ratio.reason))


def beyond(
    baseline: Sequence[float | None],
    values: Sequence[float | None],
    *,
    absolute: float = 0.0,
    relative: float = 0.0,
    paired: bool,
    confidence: float = 0.95,
) -> Interval:
    """Return by how much the change exceeds ``absolute + relative * baseline``.

    Whether a ratio is beyond a limit is asked of the difference ``value - (1 + relative) baseline``: this has an
    interval, also where the replications do not bound the ratio itself.

    Parameters
    ----------
    baseline, values, paired, confidence
        As in `difference`.
    absolute : float
        Allowed change, in the metric's unit.
    relative : float
        Allowed change over the baseline.
    """
    allowed = [None if one is None else (1.0 + relative) * one + absolute for one in baseline]
    return (paired_difference if paired else independent_difference)(values, allowed, confidence)
