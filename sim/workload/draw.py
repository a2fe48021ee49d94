"""The drawn query stream of one replication, in chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sim.spec.network import NetworkSpec
from sim.spec.problems import Problem, SpecError
from sim.spec.workload import WorkloadSpec
from sim.workload.arrivals import RenewalArrivals, TraceArrivals, arrival_process
from sim.workload.gaps import ExponentialGaps, GammaGaps
from sim.workload.sizes import size_distribution
from sim.workload.streams import open_stream

__all__ = ["QueryChunk", "QueryStream"]

CHUNK = 16_384


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
    service_u: NDArray[np.float64]
    router_u: NDArray[np.float64]
    router: NDArray[np.int64]
    network_ns: NDArray[np.int64]


class QueryStream:
    """The queries of one replication: a function of the workload, the seed and the replication's number.

    Parameters
    ----------
    spec : WorkloadSpec
    seed, replication : int
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
        parts: int = 1,
        choices: int = 0,
        attempts: int = 1,
        routers: int = 1,
        network: NetworkSpec | None = None,
        base_dir: Path = Path(),
    ) -> None:
        self._spec = spec
        self._seed = seed
        self._replication = replication
        self._parts = parts
        self._choices = choices
        self._attempts = attempts
        self._routers = routers
        self._network = network
        self._process = arrival_process(spec, base_dir)
        self._sizes = size_distribution(spec, base_dir)
        self._end_ns = spec.duration

    @property
    def end_ns(self) -> int:
        """End of the arrival period: the duration, or the last arrival where a number of queries is asked for.

        The latter is known once the last chunk was taken.
        """
        if self._end_ns is None:
            raise RuntimeError("the end of the arrival period is known once the last chunk was taken")
        return self._end_ns

    def chunks(self, chunk: int = CHUNK) -> Iterator[QueryChunk]:
        """Yield the queries in order of arrival, at most `chunk` at a time.

        The queries do not depend on `chunk`.

        Raises
        ------
        SpecError
            If a trace of sizes is over before the arrivals.
        """
        seed, replication = self._seed, self._replication
        size_stream = open_stream(seed, "size", replication)
        service_streams = [
            open_stream(seed, _stream_name("service", attempt) + (f".part{part}" if part else ""), replication)
            for attempt in range(self._attempts)
            for part in range(self._parts)
        ]
        router_streams = [
            open_stream(seed, f"{_stream_name('router', attempt)}.choice{choice}", replication)
            for attempt in range(self._attempts)
            for choice in range(self._choices)
        ]
        which = open_stream(seed, "router", replication) if self._routers > 1 else None
        ways = [
            open_stream(seed, f"{_stream_name('network', attempt)}.{way}", replication)
            for attempt in range(self._attempts)
            for way in ("out", "back")
        ]
        first = 0
        for arrival_ns in self._arrivals(chunk):
            count = len(arrival_ns)
            size = self._sizes.draw(size_stream.uniforms(count), first)
            if len(size) < count:
                raise SpecError(
                    [
                        Problem(
                            f"the trace of sizes is over after {first + len(size)} queries, before the arrivals; "
                            "shorten the run or repeat the trace",
                            key_path="workload.sizes.repeat",
                        )
                    ]
                )
            yield QueryChunk(
                first,
                arrival_ns,
                size,
                np.stack([stream.uniforms(count) for stream in service_streams], axis=1),
                np.stack([stream.uniforms(count) for stream in router_streams], axis=1)
                if router_streams
                else np.zeros((count, 0)),
                np.minimum(which.uniforms(count) * self._routers, self._routers - 1).astype(np.int64)
                if which is not None
                else np.zeros(0, dtype=np.int64),
                _network_ns(self._network, np.stack([way.uniforms(count) for way in ways], axis=1))
                if self._network is not None
                else np.zeros((count, 0), dtype=np.int64),
            )
            first += count

    def _arrivals(self, chunk: int) -> Iterator[NDArray[np.int64]]:
        """Yield the arrival times of successive chunks, none of them empty, up to the end of the period."""
        queries, duration_ns = self._spec.queries, self._spec.duration
        source = self._trace_times(chunk) if isinstance(self._process, TraceArrivals) else self._renewal_times(chunk)
        first = 0
        last_ns = 0
        for drawn in source:
            times = drawn
            if duration_ns is not None:
                times = times[: np.searchsorted(times, duration_ns, side="left")]
            if queries is not None:
                times = times[: queries - first]
            if len(times):
                first += len(times)
                last_ns = int(times[-1])
                yield times
            if len(times) < len(drawn) or first == queries:
                if queries is not None:
                    self._end_ns = last_ns
                return
        # Only a trace is ever over; that the arrival period ends within its last gap was checked when it was read.

    def _renewal_times(self, chunk: int) -> Iterator[NDArray[np.int64]]:
        process = self._process
        assert isinstance(process, RenewalArrivals)
        stream = open_stream(self._seed, "gap", self._replication)
        reached = 0.0
        while True:
            gaps = process.gaps.draw(stream.uniforms(chunk))
            # One running sum from the first query on, so that the size of chunks cannot change a rounding.
            gaps[0] += reached
            operational = np.cumsum(gaps)
            reached = float(operational[-1])
            yield np.rint(process.clock.time_ns(operational)).astype(np.int64)

    def _trace_times(self, chunk: int) -> Iterator[NDArray[np.int64]]:
        process = self._process
        assert isinstance(process, TraceArrivals)
        first = 0
        while True:
            times = process.times(first, chunk)
            if not len(times):
                return
            yield times
            first += len(times)


def _network_ns(network: NetworkSpec, u: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the delays at the uniforms `u`."""
    if network.cv == 0:
        return np.full(u.shape, network.delay, dtype=np.int64)
    beyond = GammaGaps(network.cv).draw(u) if network.cv != 1 else ExponentialGaps().draw(u)
    return np.rint(network.floor + (network.delay - network.floor) * beyond).astype(np.int64)


def _stream_name(purpose: str, attempt: int) -> str:
    """Return the name of the stream of an attempt: copies and retries draw their own."""
    return f"{purpose}.attempt{attempt}" if attempt else purpose
