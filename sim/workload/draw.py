"""The drawn query stream of one replication, or of one of its cells, in chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sim.spec.classes import ClassSpec
from sim.spec.network import NetworkSpec
from sim.spec.problems import Problem, SpecError
from sim.spec.source import format_path
from sim.spec.workload import WorkloadSpec
from sim.workload.arrivals import FOREVER_NS, RenewalArrivals, TraceArrivals
from sim.workload.cells import CellDraws, Dealt
from sim.workload.gaps import ExponentialGaps, GammaGaps
from sim.workload.laws import SourceLaws, laws_of
from sim.workload.sources import Source, sources_of
from sim.workload.streams import columns

__all__ = ["QueryChunk", "QueryStream"]

CHUNK = 262_144
"""Queries drawn at once: so many that what a chunk costs besides its queries does not count."""

FIRST_CHUNK = 4096
"""Queries drawn at first, twice as many each time: a short run draws few that it does not need."""


@dataclass(frozen=True, slots=True)
class QueryChunk:
    """Consecutive queries.

    Attributes
    ----------
    first : int
        Number of the first query.
    arrival_ns : int64, shape (n,)
        Scheduled arrivals, in order.
    size : int64, shape (n,)
        Candidates to rank.
    query_class : int64, shape (n,)
        Class of each query; 0 for all where there are none.
    service_u : float64, shape (n, attempts * parts)
        Service draw of each part that each attempt at the query may be cut into, attempt by attempt.
    router_u : float64, shape (n, attempts * choices)
        Draws for the router, attempt by attempt.
    router : int64, shape (n,) or (0,)
        Which of several routers gets the query; empty where there is one.
    network_ns : int64, shape (n, attempts * 2)
        Delay of the way out and of the way back of each attempt; (n, 0) without a network.
    """

    first: int
    arrival_ns: NDArray[np.int64]
    size: NDArray[np.int64]
    query_class: NDArray[np.int64]
    service_u: NDArray[np.float64]
    router_u: NDArray[np.float64]
    router: NDArray[np.int64]
    network_ns: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Consecutive queries of one source, or of several that are merged."""

    arrival_ns: NDArray[np.int64]
    size: NDArray[np.int64]
    query_class: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.arrival_ns)

    def cut(self, begin: int, end: int | None = None) -> _Drawn:
        part = slice(begin, end)
        return _Drawn(self.arrival_ns[part], self.size[part], self.query_class[part])


class QueryStream:
    """The queries of a cell in one replication: a function of the workload, the seed and their two numbers.

    Parameters
    ----------
    spec : WorkloadSpec
        That of all cells together.
    seed, replication : int
    cell, cells : int
        Which of how many equal cells.
    classes : sequence of ClassSpec, optional
        Classes of queries; those with a workload of their own add its queries to those of `spec`, in the order of
        their arrivals; equal ones go in the order of the classes.
    parts : int
        Service draws that each attempt gets; adding some does not change the others.
    choices : int
        Router draws that each attempt gets.
    attempts : int
        Attempts that each query may have.
    routers : int
        Routers that share the queries.
    network : NetworkSpec, optional
    base_dir : Path
        Where relative trace files are looked for first.
    service_seed : int, optional
        Other service draws for the same queries; each gives its own.
    laws : sequence of SourceLaws, optional
        Those of each source, where they were read before; no file is read then.

    Raises
    ------
    SpecError
        If a trace cannot be read, or is over before the arrival period.
    """

    def __init__(
        self,
        spec: WorkloadSpec,
        seed: int,
        replication: int,
        *,
        cell: int = 0,
        cells: int = 1,
        classes: Sequence[ClassSpec] | None = None,
        parts: int = 1,
        choices: int = 0,
        attempts: int = 1,
        routers: int = 1,
        network: NetworkSpec | None = None,
        base_dir: Path = Path(),
        service_seed: int | None = None,
        laws: Sequence[SourceLaws] | None = None,
    ) -> None:
        self._service = "service" if service_seed is None else f"service.seed{service_seed}"
        self._draws = CellDraws(seed, replication, cell, cells)
        self._parts = parts
        self._choices = choices
        self._attempts = attempts
        self._routers = routers
        self._network = network
        sources = sources_of(spec, classes)
        laws = laws_of(sources, base_dir, cells) if laws is None else laws
        self._sources = [_SourceStream(*one, self._draws) for one in zip(sources, laws, strict=True)]

    @property
    def end_ns(self) -> int:
        """End of the arrival period: the duration, or the last arrival where a number of queries is asked for.

        The latter is known once the last chunk was taken.
        """
        end_ns = self._sources[0].end_ns
        if end_ns is None:
            raise RuntimeError("the end of the arrival period is known once the last chunk was taken")
        return end_ns

    def lane_scores(self, count: int) -> NDArray[np.float64]:
        """Return so many standard normal draws of what lanes served before the first query."""
        from scipy.special import ndtri

        return np.asarray(ndtri(self._draws.open(f"{self._service}.before").uniforms(count)), dtype=np.float64)

    def chunks(self, chunk: int = CHUNK) -> Iterator[QueryChunk]:
        """Yield the queries in order of arrival, at most `chunk` at a time.

        The queries do not depend on `chunk`.

        Raises
        ------
        SpecError
            If a trace of sizes is over before the arrivals.
        """
        service_streams = [
            self._draws.open(_stream_name(self._service, attempt) + (f".part{part}" if part else ""))
            for attempt in range(self._attempts)
            for part in range(self._parts)
        ]
        router_streams = [
            self._draws.open(f"{_stream_name('router', attempt)}.choice{choice}")
            for attempt in range(self._attempts)
            for choice in range(self._choices)
        ]
        which = self._draws.open("router") if self._routers > 1 else None
        ways = [
            self._draws.open(f"{_stream_name('network', attempt)}.{way}")
            for attempt in range(self._attempts)
            for way in ("out", "back")
        ]
        first = 0
        sources = [source.drawn(chunk) for source in self._sources]
        for drawn in sources[0] if len(sources) == 1 else _merged(sources, chunk):
            count = len(drawn)
            yield QueryChunk(
                first,
                drawn.arrival_ns,
                drawn.size,
                drawn.query_class,
                columns(service_streams, count),
                columns(router_streams, count),
                np.minimum(which.uniforms(count) * self._routers, self._routers - 1).astype(np.int64)
                if which is not None
                else np.zeros(0, dtype=np.int64),
                _network_ns(self._network, columns(ways, count))
                if self._network is not None
                else np.zeros((count, 0), dtype=np.int64),
            )
            first += count


def _merged(sources: Sequence[Iterator[_Drawn]], chunk: int) -> Iterator[_Drawn]:
    """Yield the queries of all sources in order of arrival, equal ones in the order of the sources."""
    nothing = _Drawn(*(np.zeros(0, dtype=np.int64) for _ in range(3)))
    held = [nothing] * len(sources)
    more = [True] * len(sources)
    while True:
        for s, source in enumerate(sources):
            if more[s] and not len(held[s]):
                held[s] = next(source, nothing)
                more[s] = len(held[s]) > 0
        # What comes before the last query held of every source that goes on is complete; what comes at that very
        # instant may not be.
        known = [int(held[s].arrival_ns[-1]) for s in range(len(sources)) if more[s]]
        if not known:
            ready, held = held, [nothing] * len(sources)
        else:
            until_ns = min(known)
            cuts = [int(np.searchsorted(one.arrival_ns, until_ns, side="left")) for one in held]
            ready = [one.cut(0, cut) for one, cut in zip(held, cuts, strict=True)]
            held = [one.cut(cut) for one, cut in zip(held, cuts, strict=True)]
            for s, source in enumerate(sources):
                if more[s] and int(held[s].arrival_ns[-1]) == until_ns:
                    following = next(source, nothing)
                    more[s] = len(following) > 0
                    held[s] = _joined([held[s], following])
        merged = _joined(ready)
        order = np.argsort(merged.arrival_ns, kind="stable")
        for begin in range(0, len(order), chunk):
            rows = order[begin : begin + chunk]
            yield _Drawn(merged.arrival_ns[rows], merged.size[rows], merged.query_class[rows])
        if not known:
            return


def _joined(parts: Sequence[_Drawn]) -> _Drawn:
    return _Drawn(
        np.concatenate([part.arrival_ns for part in parts]),
        np.concatenate([part.size for part in parts]),
        np.concatenate([part.query_class for part in parts]),
    )


class _SourceStream:
    """The arrivals, sizes and classes of one source."""

    def __init__(self, source: Source, laws: SourceLaws, draws: CellDraws) -> None:
        self._source = source
        self._spec = source.workload
        self._draws = draws
        self._process = laws.process
        self._sizes = laws.sizes
        self.end_ns = source.workload.duration

    def drawn(self, chunk: int) -> Iterator[_Drawn]:
        """Yield the queries in order of arrival, at most `chunk` at a time."""
        source = self._source
        size_stream = self._draws.open(source.stream("size"))
        class_stream = self._draws.open(source.stream("class"))
        classes = np.array(source.classes, dtype=np.int64)
        bounds = np.cumsum(source.shares)[:-1]
        for arrival_ns, number in self._arrivals(chunk):
            count = len(arrival_ns)
            size = self._sizes.draw(size_stream.uniforms(count), number)
            if len(size) < count:
                raise SpecError(
                    [
                        Problem(
                            f"the trace of sizes is over after {number[len(size)]} queries, before the arrivals; "
                            "shorten the run or repeat the trace",
                            key_path=f"{format_path(source.path)}.sizes.repeat",
                        )
                    ]
                )
            if len(classes) == 1:
                query_class = np.full(count, classes[0])
            else:
                query_class = classes[np.searchsorted(bounds, class_stream.uniforms(count), side="right")]
            yield _Drawn(arrival_ns, size, query_class)

    def _arrivals(self, chunk: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield the arrival times of successive chunks, none of them empty, up to the end of the period.

        Each with the numbers of its queries among those that the source sends to all cells.
        """
        queries, duration_ns = self._spec.queries, self._spec.duration
        if isinstance(self._process, TraceArrivals):
            source = self._draws.dealt(self._source, self._process, chunk)
        else:
            source = self._renewal_times(chunk)
            queries = None if queries is None else queries // self._draws.cells
        first = 0
        last_ns = 0
        for drawn, own, number in source:
            times = drawn
            if duration_ns is not None:
                times = times[: np.searchsorted(times, duration_ns, side="left")]
            if queries is not None:
                times = times[: queries - first]
            if len(times):
                first += len(times)
                last_ns = int(times[-1])
                mine = times if own is None else times[own[: len(times)]]
                if len(mine):
                    yield mine, number[: len(mine)]
            if len(times) < len(drawn) or first == queries:
                if queries is not None:
                    self.end_ns = last_ns
                return
        # Only a trace is ever over; that the arrival period ends within its last gap was checked when it was read.

    def _renewal_times(self, chunk: int) -> Iterator[Dealt]:
        process = self._process
        assert isinstance(process, RenewalArrivals)
        stream = self._draws.open(self._source.stream("gap"))
        reached = 0.0
        first = 0
        most, chunk = chunk, min(chunk, FIRST_CHUNK)
        while True:
            gaps = process.gaps.draw(stream.uniforms(chunk))
            # One running sum from the first query on, so that the size of chunks cannot change a rounding.
            gaps[0] += reached
            operational = np.cumsum(gaps)
            reached = float(operational[-1])
            # A chunk of a rare source reaches beyond what 64 bits hold; nothing arrives that late.
            times = process.clock.time_ns(operational)
            np.minimum(times, FOREVER_NS, out=times)
            yield np.rint(times, out=times).astype(np.int64), None, self._draws.numbers(first, chunk)
            first += chunk
            chunk = min(2 * chunk, most)


def _network_ns(network: NetworkSpec, u: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the delays at the uniforms `u`."""
    if network.cv == 0:
        return np.full(u.shape, network.delay, dtype=np.int64)
    beyond = GammaGaps(network.cv).draw(u) if network.cv != 1 else ExponentialGaps().draw(u)
    return np.rint(network.floor + (network.delay - network.floor) * beyond).astype(np.int64)


def _stream_name(purpose: str, attempt: int) -> str:
    """Return the name of the stream of an attempt: copies and retries draw their own."""
    return f"{purpose}.attempt{attempt}" if attempt else purpose
