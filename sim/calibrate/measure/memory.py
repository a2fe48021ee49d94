"""Whether models fit in memory, asked before anything is loaded, and which of them fit together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sim.spec.problems import Problem, SpecError
from sim.spec.units import format_bytes

__all__ = ["MemoryNeed", "available_bytes", "rounds_that_fit"]


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


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """Memory of a representation, on all lanes.

    Attributes
    ----------
    kept_bytes : int
        Parameters and inputs, for as long as it is loaded.
    working_bytes : int
        Activations, while it serves; one representation serves at a time.
    """

    kept_bytes: int
    working_bytes: int

    @property
    def total_bytes(self) -> int:
        """What it needs when it is alone."""
        return self.kept_bytes + self.working_bytes


def rounds_that_fit(needs: Mapping[str, MemoryNeed], available: int | None, where: str) -> list[list[str]]:
    """Divide representations over rounds so that those of a round fit in memory together, in the given order.

    Parameters
    ----------
    needs : mapping
        By representation.
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
        return [list(needs)]
    problems = [
        Problem(f"{name} does not fit in the memory of {where}", None, "", _rounded(need), _rounded(available))
        for name, size in needs.items()
        if (need := size.total_bytes) > available
    ]
    if problems:
        raise SpecError(problems)
    rounds: list[list[str]] = []
    for name in needs:
        for together in rounds:
            joined = [needs[one] for one in (*together, name)]
            if sum(one.kept_bytes for one in joined) + max(one.working_bytes for one in joined) <= available:
                together.append(name)
                break
        else:
            rounds.append([name])
    return rounds


def _rounded(size_bytes: int) -> str:
    return format_bytes(max(round(size_bytes / 1e6), 1) * 10**6)
