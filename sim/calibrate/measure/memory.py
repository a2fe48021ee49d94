"""Whether models fit in memory, asked before anything is loaded, and which of them fit together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sim.spec.problems import Problem, SpecError
from sim.spec.units import format_bytes

__all__ = ["available_bytes", "rounds_that_fit"]


def available_bytes(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Memory that can be filled without swapping, by the system and by the limit of the container; None if unknown."""
    found = []
    try:
        for line in (proc / "meminfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) * 1024)
    except OSError:
        pass
    try:
        limit = (cgroup / "memory.max").read_text(encoding="utf-8").strip()
        used = int((cgroup / "memory.current").read_text(encoding="utf-8"))
        if limit != "max":
            found.append(max(int(limit) - used, 0))
    except (OSError, ValueError):
        pass
    return min(found) if found else None


def rounds_that_fit(needed_bytes: Mapping[str, int], available: int | None, where: str) -> list[list[str]]:
    """Divide representations over rounds so that those of a round fit in memory together, in the given order.

    Parameters
    ----------
    needed_bytes : mapping
        Bytes by representation, on all lanes.
    available : int or None
        None: no limit is known, and all go together.
    where : str
        Whose memory, for the message.

    Raises
    ------
    SpecError
        With every representation that does not even fit alone.
    """
    if available is None:
        return [list(needed_bytes)]
    problems = [
        Problem(f"{name} does not fit in the memory of {where}", value=_rounded(size), allowed=_rounded(available))
        for name, size in needed_bytes.items()
        if size > available
    ]
    if problems:
        raise SpecError(problems)
    names = list(needed_bytes)
    return [[names[number] for number in numbers] for numbers in _first_fit(list(needed_bytes.values()), available)]


def _first_fit(sizes: Sequence[int], available: int) -> list[list[int]]:
    rounds: list[list[int]] = []
    free: list[int] = []
    for number, size in enumerate(sizes):
        for place, left in enumerate(free):
            if size <= left:
                rounds[place].append(number)
                free[place] -= size
                break
        else:
            rounds.append([number])
            free.append(available - size)
    return rounds


def _rounded(size_bytes: int) -> str:
    return format_bytes(max(round(size_bytes / 1e6), 1) * 10**6)
