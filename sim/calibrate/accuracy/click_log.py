"""A click log in memory, what its IDs are numbered by, and its split into training and test rows by time."""

from __future__ import annotations

import gzip
import hashlib
import lzma
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from sim.spec.problems import Problem, SpecError

__all__ = ["MOST_PROBLEMS", "ClickLog", "LogFile", "joined", "numbered_lines", "with_dense_ids"]

MOST_PROBLEMS = 20
"""Reading stops after so many broken rows: a log of the wrong kind has as many as lines."""


@dataclass(frozen=True, slots=True)
class LogFile:
    """Which file a log was read from.

    Attributes
    ----------
    name : str
    sha256 : str
        Of the bytes on disk, hexadecimal.
    size_bytes : int
        On disk.
    """

    name: str
    sha256: str
    size_bytes: int

    @classmethod
    def of(cls, path: Path) -> LogFile:
        """Hash a file, without holding it in memory."""
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return cls(path.name, digest, path.stat().st_size)


@dataclass(frozen=True)
class ClickLog:
    """Impressions in the order in which they happened.

    Attributes
    ----------
    labels : float32, (rows,)
        1 where it was clicked, else 0.
    dense : float32, (rows, dense inputs)
    ids : int64, (rows, features)
    files : tuple of LogFile
        Where the rows come from.
    """

    labels: NDArray[np.float32]
    dense: NDArray[np.float32]
    ids: NDArray[np.int64]
    files: tuple[LogFile, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def split(self, test_share: float) -> tuple[ClickLog, ClickLog]:
        """Cut the log in time: the last rows are for testing.

        Parameters
        ----------
        test_share : float
            Share of the rows, in (0, 1).

        Raises
        ------
        ValueError
            If one side would be empty.
        """
        cut = len(self) - round(len(self) * test_share)
        if not 0 < cut < len(self):
            raise ValueError(f"{len(self)} rows cannot be split with {test_share:g} of them for testing")
        return self.rows(slice(0, cut)), self.rows(slice(cut, None))

    def rows(self, chosen: slice) -> ClickLog:
        """Some of the rows."""
        return replace(self, labels=self.labels[chosen], dense=self.dense[chosen], ids=self.ids[chosen])


def with_dense_ids(log: ClickLog, id_range: int | None = None) -> tuple[ClickLog, tuple[int, ...]]:
    """Number the IDs of each feature from 0 up, so that a table needs no more rows than IDs occur.

    IDs of the whole log are numbered, those that only test rows have too, as is done for the published figures
    (facebookresearch/dlrm): such an ID has a row that was never trained.

    Parameters
    ----------
    log : ClickLog
    id_range : int, optional
        Take IDs modulo this first, as is usual for Terabyte (10,000,000).

    Returns
    -------
    tuple
        The log with new IDs, and the rows that each feature's table needs.
    """
    ids = np.empty_like(log.ids)
    rows = []
    for feature in range(log.ids.shape[1]):
        column = log.ids[:, feature] if id_range is None else log.ids[:, feature] % id_range
        values, ids[:, feature] = np.unique(column, return_inverse=True)
        rows.append(len(values))
    return replace(log, ids=ids), tuple(rows)


def joined(logs: Sequence[ClickLog]) -> ClickLog:
    """One log of several that follow each other.

    Raises
    ------
    SpecError
        If they differ in the number of features or dense inputs.
    """
    first = logs[0]
    if len(logs) == 1:
        return first
    for log in logs[1:]:
        if log.ids.shape[1] != first.ids.shape[1] or log.dense.shape[1] != first.dense.shape[1]:
            raise SpecError(
                [
                    Problem(
                        f"{log.files[0].name} has {log.ids.shape[1]} features and {log.dense.shape[1]} dense inputs, "
                        f"{first.files[0].name} has {first.ids.shape[1]} and {first.dense.shape[1]}"
                    )
                ]
            )
    return ClickLog(
        labels=np.concatenate([log.labels for log in logs]),
        dense=np.concatenate([log.dense for log in logs]),
        ids=np.concatenate([log.ids for log in logs]),
        files=tuple(file for log in logs for file in log.files),
    )


def numbered_lines(path: Path, most: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Give the lines of a log, which may be packed (.gz, .xz), with their numbers from 1 and without their ends.

    Raises
    ------
    SpecError
        If the file cannot be read, or its packing is broken off.
    """
    number = 0
    try:
        with _opened(path) as stream:
            for number, line in enumerate(stream, start=1):
                if most is not None and number > most:
                    return
                yield number, line.rstrip(b"\r\n")
    except (OSError, EOFError, lzma.LZMAError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        after = f" after line {number}" if number else ""
        raise SpecError([Problem(f"{path} cannot be read{after}: {reason}")]) from error


def _opened(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(path, "rb"))
    return lzma.open(path, "rb") if path.suffix == ".xz" else path.open("rb")
