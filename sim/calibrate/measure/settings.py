"""What is to be measured and how, checked before anything is loaded."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from sim.calibrate.measure.pacing import Waiting, WaitingStyle
from sim.calibrate.measure.subject import Cell
from sim.spec.problems import Problem, SpecError
from sim.spec.units import parse_duration_ns

__all__ = [
    "BEYOND",
    "LARGEST_SIZE",
    "MeasureSettings",
    "highest_level",
    "least_repeats",
    "parse_cell_limit",
    "parse_level",
    "parse_load",
    "parse_sizes",
]

BEYOND = 10
"""Repeats that must lie beyond a quantile, as everywhere in this project."""

LARGEST_SIZE = 1_000_000


@dataclass(frozen=True, slots=True)
class MeasureSettings:
    """Everything that the figures of a measurement depend on.

    Attributes
    ----------
    model : str
    representations : tuple of str
    device : {"cpu", "cuda"}
    sizes : tuple of int
        Increasing.
    lanes, threads : int
        Processes that measure at once, and threads of each.
    repeats, blocks : int
        Repeats of a cell on each lane, and blocks over which they are spread.
    level : float
        Highest quantile level that is asked for.
    style : {"poll", "block"}
    load : float
    ids : str
        Popularity of the IDs, as it was written.
    cache, cache_stages : str
        MP-Cache that serves, and one that is looked up apart, as they were written; empty without one.
    cell_limit_ns : int or None
        Sizes that would take longer than this, with all repeats, get fewer.
    fewest_repeats : int or None
        Sizes that would get fewer than this are left out; None: as `repeats`, so that all carry the quantile.
    seed : int
    """

    model: str
    representations: tuple[str, ...]
    device: Literal["cpu", "cuda"]
    sizes: tuple[int, ...]
    lanes: int = 1
    threads: int = 1
    repeats: int = 1000
    blocks: int = 10
    level: float = 0.99
    style: WaitingStyle = "poll"
    load: float = 1.0
    ids: str = "zipf:1.05"
    cache: str = ""
    cache_stages: str = ""
    cell_limit_ns: int | None = None
    fewest_repeats: int | None = None
    seed: int = 1

    def check(self) -> None:
        """Check what can be checked without loading anything.

        Raises
        ------
        SpecError
            With everything that is wrong.
        """
        problems = []
        needed = least_repeats(self.level)
        if self.repeats < needed:
            message = f"{self.repeats} repeats do not carry p{self.level * 100:g}: {BEYOND} of them must lie beyond it"
            carried = f"and they carry p{highest_level(self.repeats) * 100:g}" if self.repeats > BEYOND else ""
            problems.append(Problem(message, key_path="--repeats", allowed=f"at least {needed} {carried}".rstrip()))
        if not 3 <= self.blocks <= self.repeats:
            allowed = "from 3, of which drift can be told, to the number of repeats"
            problems.append(Problem("bad number of blocks", key_path="--blocks", value=self.blocks, allowed=allowed))
        if self.fewest_repeats is not None and not self.blocks <= self.fewest_repeats <= self.repeats:
            allowed = f"from {self.blocks}, one a block, to {self.repeats}"
            message = "bad least number of repeats"
            problems.append(Problem(message, None, "--fewest-repeats", self.fewest_repeats, allowed))
        if problems:
            raise SpecError(problems)

    @property
    def waiting(self) -> Waiting:
        """How lanes wait for a query."""
        return Waiting(self.style, self.load)

    @property
    def behind_cache(self) -> bool:
        """Whether a CPU serves behind an MP-Cache."""
        return self.device == "cpu" and bool(self.cache)

    @property
    def repeats_per_block(self) -> int:
        """Repeats of a cell in a block; with all blocks at least `repeats`."""
        return -(-self.repeats // self.blocks)

    def repeats_within_limit(self, usual_ns: int) -> int:
        """Repeats in a block of a cell whose queries take `usual_ns`; 0 where it is to be left out."""
        if self.cell_limit_ns is None:
            return self.repeats_per_block
        affordable = min(self.cell_limit_ns // max(usual_ns * self.blocks, 1), self.repeats_per_block)
        fewest = self.repeats if self.fewest_repeats is None else self.fewest_repeats
        return affordable if affordable * self.blocks >= fewest else 0

    @property
    def most_extra_blocks(self) -> int:
        """How many blocks may be measured in place of those that are set aside."""
        return -(-self.blocks // 4)

    def cells(self, representations: Sequence[str]) -> list[Cell]:
        """Every size of these representations."""
        return [Cell(name, size) for name in representations for size in self.sizes]

    def described(self) -> dict[str, Any]:
        """All of it as JSON can hold it."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def least_repeats(level: float) -> int:
    """Repeats of which ten lie beyond the quantile `level`: 1000 for p99, 200 for p95."""
    # 1 - 0.99 is a little more than 0.01.
    return math.ceil(BEYOND / (1.0 - level) - 1e-6)


def highest_level(repeats: int) -> float:
    """Highest quantile level that so many repeats carry, to a tenth of a percentile; more than ten repeats."""
    return math.floor((1.0 - BEYOND / repeats) * 1000 + 1e-9) / 1000


def parse_level(written: str) -> float:
    """Parse a quantile as in "p99" or "0.99".

    Raises
    ------
    SpecError
    """
    match = re.fullmatch(r"p(\d+(?:\.\d+)?)", written.strip())
    try:
        level = float(match.group(1)) / 100 if match else float(written)
    except ValueError:
        level = math.nan
    if not 0.5 <= level < 1:
        raise SpecError([Problem("bad quantile", key_path="--quantile", value=written, allowed="p50 to p99.9")])
    return level


def parse_load(written: float) -> float:
    """Check a load.

    Raises
    ------
    SpecError
    """
    if not 0.01 <= written <= 1:
        allowed = "from 0.01 to 1, which is back-to-back"
        raise SpecError([Problem("bad load", key_path="--load", value=written, allowed=allowed)])
    return written


def parse_cell_limit(written: str) -> int:
    """Parse a time as in "60s" to ns.

    Raises
    ------
    SpecError
    """
    try:
        return parse_duration_ns(written)
    except ValueError as error:
        raise SpecError([Problem(str(error), key_path="--cell-limit", value=written)]) from error


def parse_sizes(written: str) -> tuple[int, ...]:
    """Parse query sizes: "1..4096" is the powers of two from 1 to 4096 with both ends, "1,10,100" a list; or both.

    Raises
    ------
    SpecError
    """
    sizes: set[int] = set()
    for part in written.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:\.\.\s*(\d+)\s*)?", part)
        low = int(match.group(1)) if match else 0
        high = int(match.group(2) or match.group(1)) if match else 0
        if not 1 <= low <= high <= LARGEST_SIZE:
            allowed = f"sizes from 1 to {LARGEST_SIZE}, as in 1..4096 or 1,10,100"
            raise SpecError([Problem("bad sizes", key_path="--sizes", value=part.strip(), allowed=allowed)])
        sizes |= {low, high} | {2**power for power in range(high.bit_length()) if low <= 2**power <= high}
    return tuple(sorted(sizes))
