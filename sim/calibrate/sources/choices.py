"""What the user says of files that do not say it themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["CONTENTS", "Choices"]

CONTENTS = ("size", "service", "model", "representation", "device", "stage", "block", "repeat", "unit", "queries")
"""What a column may be chosen to hold."""


@dataclass(frozen=True)
class Choices:
    """Choices of an import.

    Attributes
    ----------
    model, device : str or None
        Where a file has no column for them, or to choose among several.
    representation : str
        Where a file has no column for it.
    size : int or None
        Query size of the whole file, where it does not say one by row.
    unit : str or None
        "ns", "us", "ms" or "s", for time columns that do not say theirs.
    columns : dict
        By what a column holds (`CONTENTS`): its name.
    where : dict
        Column -> the value that rows must have; others are left out.
    with_queueing : bool
        Take latencies that include waiting for other queries as if they were service times.
    """

    model: str | None = None
    device: str | None = None
    representation: str = "table"
    size: int | None = None
    unit: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    where: Mapping[str, str] = field(default_factory=dict)
    with_queueing: bool = False
