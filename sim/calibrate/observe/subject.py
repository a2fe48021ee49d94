"""What a worker serves: something that answers a query of a size. Real models, a busy loop, and nothing at all."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sim.profile.dlrm import DlrmShape, RepresentationName
from sim.profile.service import Service
from sim.workload.popularity import Popularity

__all__ = ["BusyLoop", "Empty", "Rehearsal", "Subject", "SubjectSpec", "TorchModel"]

POOL_SAMPLES = 131_072
"""Samples whose inputs are drawn before anything is timed; queries take their turn through them."""


class Subject(Protocol):
    """Answers queries."""

    def serve(self, size: int) -> None:
        """Answer one query of `size` samples, and return when the answer is there."""


class SubjectSpec(Protocol):
    """How a worker makes a subject. It travels to the worker's process, so it holds plain values only."""

    def load(self, seed: int) -> Subject:
        """Make the subject, in the process that is to serve it; `seed` is of all that it draws."""


@dataclass(frozen=True, slots=True)
class Empty:
    """Answers at once: what is left is the cost of dispatch."""

    def load(self, _seed: int) -> Subject:  # noqa: D102
        return self

    def serve(self, size: int) -> None:  # noqa: D102
        pass


@dataclass(frozen=True, slots=True)
class BusyLoop:
    """Keeps its core busy for a time that grows with the size; for trials and tests.

    Parameters
    ----------
    query_ns, sample_ns : int
        Time of any query, and what each of its samples adds.
    """

    query_ns: int
    sample_ns: int = 0

    def load(self, _seed: int) -> Subject:  # noqa: D102
        return self

    def serve(self, size: int) -> None:  # noqa: D102
        until_ns = time.perf_counter_ns() + self.query_ns + self.sample_ns * size
        while time.perf_counter_ns() < until_ns:
            pass


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Keeps its core busy for as long as a profile says, drawn anew for each query.

    What comes out is known beforehand, so it checks the server and everything around it.
    """

    service: Service

    def load(self, seed: int) -> Subject:  # noqa: D102
        return _Rehearsing(self.service, seed)


class _Rehearsing:
    """A profile, and draws from it."""

    def __init__(self, service: Service, seed: int) -> None:
        self.service = service
        self.random = np.random.default_rng(seed)

    def serve(self, size: int) -> None:
        began_ns = time.perf_counter_ns()
        until_ns = began_ns + int(self.service.quantile_at(size, self.random.random()))
        while time.perf_counter_ns() < until_ns:
            pass


@dataclass(frozen=True, slots=True)
class TorchModel:
    """A DLRM in PyTorch; loading it needs the `calibrate` extra.

    Parameters
    ----------
    shape : DlrmShape
    representation : {"table", "dhe", "select", "hybrid"}
    device : {"cpu", "cuda"}
    law : Popularity
        How often the IDs of a feature are asked.
    threads : int
        Threads that a query is served with.
    """

    shape: DlrmShape
    representation: RepresentationName
    device: str
    law: Popularity
    threads: int = 1

    def load(self, seed: int) -> Subject:  # noqa: D102
        return _LoadedModel(self, seed)


class _LoadedModel:
    """A model in memory, and inputs for it."""

    def __init__(self, spec: TorchModel, seed: int) -> None:
        import torch

        from sim.calibrate.models.dlrm import Dlrm
        from sim.calibrate.models.ids import draw_dense, draw_ids

        torch.set_num_threads(spec.threads)
        self.model = Dlrm(spec.shape, spec.representation, device=spec.device)
        self.on_device = spec.device != "cpu"
        random = np.random.default_rng(seed)
        self.ids = draw_ids(spec.shape, POOL_SAMPLES, spec.law, random)
        self.dense = draw_dense(spec.shape, POOL_SAMPLES, random)
        self.next = 0

    def serve(self, size: int) -> None:
        first = self.next if self.next + size <= POOL_SAMPLES else 0
        self.next = first + size
        dense, ids = self.dense[first : first + size], self.ids[first : first + size]
        if self.on_device:
            dense, ids = dense.to(self.model.device), ids.to(self.model.device)
        # Copying the answer back waits until it is there.
        self.model.serve(dense, ids).cpu()
