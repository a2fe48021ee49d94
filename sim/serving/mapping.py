"""The offline mapping: which representations live in which device's memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Candidate", "most_accurate_first", "resident_bytes"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A representation that could live on a device.

    Attributes
    ----------
    representation : str
        Name of the representation.
    accuracy : float
        Fraction of correct predictions.
    total_bytes, table_bytes : int
        Size of the whole representation, and the part of it that is embedding tables.
    mean_ns : float
        Mean service time on this device at the workload's mean query size.
    """

    representation: str
    accuracy: float
    total_bytes: int
    table_bytes: int
    mean_ns: float


def resident_bytes(residents: Iterable[Candidate], *, shared_tables: bool) -> int:
    """Return the memory that representations take on one device, in bytes.

    With `shared_tables` the embedding tables are held once: the tables of select are some of those of table,
    and hybrid holds the same ones as table, so the largest set of tables serves all.
    """
    residents = list(residents)
    if not shared_tables:
        return sum(resident.total_bytes for resident in residents)
    tables = max((resident.table_bytes for resident in residents), default=0)
    return tables + sum(resident.total_bytes - resident.table_bytes for resident in residents)


def most_accurate_first(
    candidates: Sequence[Candidate],
    memory_bytes: int | None,
    *,
    shared_tables: bool = False,
    reserve_fastest: bool = False,
) -> tuple[str, ...]:
    """Return the representations that a device holds, most accurate first.

    Parameters
    ----------
    candidates : sequence of Candidate
        The representations that have a profile on this device.
    memory_bytes : int or None
        Capacity; None is unlimited.
    shared_tables : bool
        Count the embedding tables once, see `resident_bytes`.
    reserve_fastest : bool
        Place the candidate with the least mean service time first, then go by accuracy.

    Notes
    -----
    One pass: a representation that does not fit in what is left is passed over and the next one is tried.
    Equal accuracies go by mean service time, then by name. This is the rule recalled of MP-Rec (ASPLOS 2023);
    its memory fill order and the sharing of tables are not known, hence the two options.
    """
    by_accuracy = sorted(candidates, key=lambda c: (-c.accuracy, c.mean_ns, c.representation))
    order = by_accuracy
    if reserve_fastest and candidates:
        fitting = [c for c in candidates if memory_bytes is None or c.total_bytes <= memory_bytes]
        if fitting:
            fastest = min(fitting, key=lambda c: (c.mean_ns, -c.accuracy, c.representation))
            order = [fastest, *(c for c in by_accuracy if c is not fastest)]
    residents: list[Candidate] = []
    for candidate in order:
        needed = resident_bytes([*residents, candidate], shared_tables=shared_tables)
        if memory_bytes is None or needed <= memory_bytes:
            residents.append(candidate)
    held = {resident.representation for resident in residents}
    return tuple(c.representation for c in by_accuracy if c.representation in held)
