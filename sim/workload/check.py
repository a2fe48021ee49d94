"""Whether recorded arrivals are the ones that were asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.spec.workload import WorkloadSpec
from sim.workload.arrivals import RenewalArrivals, TraceArrivals, arrival_process
from sim.workload.cells import CellDraws
from sim.workload.laws import SourceLaws
from sim.workload.sources import Source

__all__ = ["check_arrivals", "check_sources"]

FALSE_ALARM = 1e-12
"""Probability with which a sound run is called wrong, for each check."""

TRACE_ROWS = 65_536

ONE_CELL = CellDraws(0, 0)

SIGMAS = 8.0
"""Tolerance in standard errors where only the normal approximation is at hand."""


def check_sources(
    sources: Sequence[Source],
    arrival_ns: NDArray[np.int64],
    query_class: NDArray[np.integer[Any]],
    *,
    draws: CellDraws = ONE_CELL,
    base_dir: Path = Path(),
    laws: Sequence[SourceLaws] | None = None,
    beginning: bool = False,
) -> list[str]:
    """Return in what way the arrivals of a run are not those of its sources; nothing if they are.

    Each source's arrivals are held to its workload, see `check_arrivals`; the classes of a source that has several
    are held to their shares, by the binomial law of their numbers and with the same rate of false alarms.

    Parameters
    ----------
    sources : sequence of Source
    arrival_ns, query_class : int64, shape (queries,)
        As recorded by the engine.
    draws : CellDraws
        Whose arrivals they are.
    base_dir : Path
        Where relative trace files are looked for first.
    laws : sequence of SourceLaws, optional
        Those of each source, where they were read before; no file is read then.
    beginning : bool
        Whether these are the first ones of more, so that the arrival period goes on after the last of them.
    """
    violations = []
    for number, source in enumerate(sources):
        mine = np.isin(query_class, source.classes)
        process = arrival_process(source.workload, base_dir, draws.cells) if laws is None else laws[number].process
        found = _check_source(source, process, arrival_ns[mine], draws, beginning)
        violations += [f"{source.name}: {line}" if source.name else line for line in found]
        if len(source.classes) > 1:
            violations += _check_shares(source, query_class[mine])
    return violations


def _check_shares(source: Source, query_class: NDArray[np.integer[Any]]) -> list[str]:
    from scipy.special import betainc

    violations = []
    total = len(query_class)
    for number, share in zip(source.classes, source.shares, strict=True):
        count = int(np.sum(query_class == number))
        # The binomial law by the incomplete beta function; scipy's `bdtr` is off by 1e-3 for ten million queries.
        too_few = betainc(total - count, count + 1, 1.0 - share) if count < total else 1.0
        too_many = betainc(count, total - count + 1, share) if count > 0 else 1.0
        if min(float(too_few), float(too_many)) < FALSE_ALARM / 2:
            violations.append(
                f"arrivals: {count} of {total} queries are of class {number}, whose share is {share:.6g}, further "
                "than chance allows"
            )
    return violations


def check_arrivals(spec: WorkloadSpec, arrival_ns: NDArray[np.int64], *, base_dir: Path = Path()) -> list[str]:
    """Return in what way the arrivals of a run of one cell are not those of its workload; nothing if they are.

    Parameters
    ----------
    spec : WorkloadSpec
    arrival_ns : int64, shape (queries,)
        As recorded by the engine.
    base_dir : Path
        Where relative trace files are looked for first.

    Notes
    -----
    A trace has to be replayed to the nanosecond. Otherwise the rate is checked by the law of the sum of gaps, and the
    shape of the gaps (so their CV) by the bound of Dvoretzky, Kiefer and Wolfowitz in Massart's form (1990), on gaps
    in operational time. Both fail a sound run with probability 1e-12, and share nothing with the code that drew the
    gaps. What they can see grows with the run: at 10,000 queries, 4% of probability mass in the wrong place.
    """
    return _check_source(Source("", spec), arrival_process(spec, base_dir), arrival_ns, ONE_CELL)


def _check_source(
    source: Source,
    process: RenewalArrivals | TraceArrivals,
    arrival_ns: NDArray[np.int64],
    draws: CellDraws,
    beginning: bool = False,
) -> list[str]:
    if isinstance(process, TraceArrivals):
        same = _is_replayed(source, process, arrival_ns, draws)
        return [] if same else ["arrivals: the trace was not replayed as it is"]
    if not len(arrival_ns):
        return []
    operational = process.clock.operational(arrival_ns.astype(np.float64))
    duration_ns = None if beginning else source.workload.duration
    return [*_check_rate(process, operational, duration_ns), *_check_gaps(process, operational)]


def _is_replayed(source: Source, trace: TraceArrivals, arrival_ns: NDArray[np.int64], draws: CellDraws) -> bool:
    first = 0
    for times_ns, own, _ in draws.dealt(source, trace, TRACE_ROWS):
        if first == len(arrival_ns):
            break
        expected = times_ns if own is None else times_ns[own]
        found = arrival_ns[first : first + len(expected)]
        if not np.array_equal(found, expected[: len(found)]):
            return False
        first += len(found)
    return first == len(arrival_ns)


def _check_rate(process: RenewalArrivals, operational: NDArray[np.float64], duration_ns: int | None) -> list[str]:
    count = len(operational)
    if duration_ns is not None:
        total = float(process.clock.operational(np.array([float(duration_ns)]))[0])
    else:
        total = float(operational[-1])
    # Arrivals are rounded to whole ns: where many come within one, as in bursts, that is much of their gaps.
    slack = process.clock.mean_rate_per_ns
    # At most `count` arrivals by `total`: gap number count + 1 passes it. At least `count`: gap number count does not.
    too_few = process.gaps.sum_cdf(count + 1 if duration_ns is not None else count, max(total - slack, 0.0))
    too_many = process.gaps.sum_cdf(count, total + slack)
    if too_few is not None and too_many is not None:
        wrong = 1.0 - too_few < FALSE_ALARM or too_many < FALSE_ALARM
    else:
        wrong = abs(count - total) > SIGMAS * process.gaps.cv * math.sqrt(max(total, 1.0)) + 1.0 + slack
    if not wrong:
        return []
    return [f"arrivals: {count} queries where the asked rate gives {total:.0f}, further than chance allows"]


def _check_gaps(process: RenewalArrivals, operational: NDArray[np.float64]) -> list[str]:
    gaps = np.sort(np.diff(operational, prepend=0.0))
    count = len(gaps)
    bound = math.sqrt(math.log(2.0 / FALSE_ALARM) / (2.0 * count))
    if bound >= 1.0:
        return []
    if process.gaps.discrete:
        values, frequency = np.unique(np.rint(gaps * 1e6), return_counts=True)
        probability = process.gaps.cdf(values / 1e6)
        distance = float(np.max(np.abs(np.cumsum(frequency) / count - probability)))
    else:
        # Arrivals are rounded to whole ns, which moves a gap by up to one; for very bursty laws that is much.
        slack = process.clock.mean_rate_per_ns
        rank = np.arange(count)
        over = np.max((rank + 1) / count - process.gaps.cdf(gaps + slack))
        under = np.max(process.gaps.cdf(np.maximum(gaps - slack, 0.0)) - rank / count)
        distance = float(max(over, under))
    if distance <= bound:
        return []
    cv = float(np.std(gaps) / np.mean(gaps))
    return [
        f"arrivals: the gaps are not of the asked law (CV {cv:.3f} where {process.gaps.cv:.3f} is asked for; "
        f"distance {distance:.4f} where chance gives at most {bound:.4f})"
    ]
