"""Splitting: a query is cut into nearly equal parts of at most a given size."""

from __future__ import annotations

import numpy as np

__all__ = ["most_parts", "nth_part", "part_bounds", "part_sizes"]


def part_sizes(size: int, part: int) -> list[int]:
    """Return the sizes of the parts of a query, largest first.

    As few parts as `part` allows, as even as whole samples allow: 300 with a part of 128 gives 100, 100, 100.

    Parameters
    ----------
    size, part : int
        Query size and largest part, in samples; a `part` of 0 does not split.
    """
    if part <= 0 or size <= part:
        return [size]
    count = most_parts(size, part)
    return [nth_part(size, count, k) for k in range(count)]


def nth_part(size: int, count: int, k: int) -> int:
    """Return the size of part k of a query that is cut into so many."""
    return size // count + (1 if k < size % count else 0)


def most_parts(largest: int, part: int) -> int:
    """Return the number of parts of a query of `largest` samples, hence the most of any smaller one."""
    return 1 if part <= 0 else max(1, -(-largest // part))


def part_bounds(sizes: tuple[int, int], part: int) -> tuple[int, int]:
    """Return the least and greatest part size over all query sizes in `sizes` (both ends included)."""
    queries = np.arange(sizes[0], sizes[1] + 1, dtype=np.int64)
    counts = np.maximum(1, -(-queries // part))
    return int((queries // counts).min()), int((-(-queries // counts)).max())
