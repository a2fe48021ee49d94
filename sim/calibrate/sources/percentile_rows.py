"""Percentiles that somebody else computed: rows of a table, checked, with no samples behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sim.calibrate.measured_text import Complaints
from sim.calibrate.profile_folder import TableRows
from sim.spec.problems import Position, Problem, SpecError

__all__ = ["PercentileRow", "check_order", "percentile_tables"]


@dataclass(frozen=True)
class PercentileRow:
    """Percentiles of one size.

    Attributes
    ----------
    model, representation : str
    size : int
    service_ns : dict
        Quantile level -> service time in ns, increasing in level.
    queries : int or None
        How many queries are behind them, where that is known.
    where : Position
        The row it comes from.
    device : str
        As the file calls it; empty if it does not.
    """

    model: str
    representation: str
    size: int
    service_ns: Mapping[float, int]
    queries: int | None
    where: Position
    device: str = ""


def check_order(
    service_ns: Mapping[float, int], places: Mapping[float, tuple[int, int]], complaints: Complaints
) -> None:
    """Report percentiles that fall from one level to the next; `places` says the line and column of each."""
    for low, high in pairwise(sorted(service_ns)):
        if service_ns[high] < service_ns[low]:
            values = f"{_name(high)} is {service_ns[high]} ns, {_name(low)} {service_ns[low]} ns"
            complaints.report(*places[high], f"percentiles are not sorted: {values}")


def _name(level: float) -> str:
    return {0.0: "the minimum", 1.0: "the maximum"}.get(level, f"p{100 * level:g}")


def percentile_tables(rows: Sequence[PercentileRow]) -> list[TableRows]:
    """Return one table for each model and representation, its rows in the order of the sizes.

    Raises
    ------
    SpecError
        If a size comes twice, or the sizes of a table have different percentiles.
    """
    problems = []
    tables = []
    for pair in dict.fromkeys((row.model, row.representation) for row in rows):
        own = sorted((row for row in rows if (row.model, row.representation) == pair), key=lambda row: row.size)
        levels = sorted(own[0].service_ns)
        for before, row in pairwise(own):
            if row.size == before.size:
                message = f"size {row.size} of {', '.join(pair)} is there already, at {before.where}"
                problems.append(Problem(message, row.where, allowed="one row a size; --where chooses rows by a column"))
        for row in own:
            if sorted(row.service_ns) != levels:
                message = f"other percentiles than at {own[0].where}: a table has the same for all its sizes"
                problems.append(Problem(message, row.where))
        if not problems:
            tables.append(
                TableRows(
                    *pair,
                    np.array([row.size for row in own], dtype=np.int64),
                    np.array(levels),
                    np.array([[row.service_ns[level] for level in levels] for row in own], dtype=np.int64),
                )
            )
    if problems:
        raise SpecError(problems)
    return tables
