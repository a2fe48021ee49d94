"""Problems of an input, all of them at once, each with its place and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Position", "Problem", "SpecError", "nearest_name"]


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a file; lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an input."""

    message: str
    position: Position | None = None
    key_path: str = ""
    value: Any = None
    allowed: str | None = None
    nearest: str | None = None

    def __str__(self) -> str:
        where = f"{self.position}: " if self.position is not None else ""
        key = f"{self.key_path}: " if self.key_path else ""
        details = []
        if self.value is not None:
            details.append(f"got {_shown(self.value)}")
        if self.allowed:
            details.append(f"allowed: {self.allowed}")
        text = f"{where}{key}{self.message}"
        if details:
            text += f" ({'; '.join(details)})"
        if self.nearest:
            text += f"; did you mean {self.nearest!r}?"
        return text


def _shown(value: Any) -> str:
    # As a YAML file says it.
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


class SpecError(ValueError):
    """An input that cannot be used; `problems` says everything that is wrong with it.

    With `more` they are only the first: reading ended there, and there may be others.
    """

    def __init__(self, problems: Iterable[Problem], *, more: bool = False) -> None:
        self.more = more
        unique = {str(problem): problem for problem in problems}.values()
        self.problems = tuple(sorted(unique, key=lambda p: (p.position is None, p.position or Position("", 0, 0))))
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type[SpecError], tuple[tuple[Problem, ...]], dict[str, bool]]:
        return SpecError, (self.problems,), {"more": self.more}


def nearest_name(name: str, names: Sequence[str]) -> str | None:
    """Return the one of `names` that looks most like `name`, if any does."""
    matches = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return matches[0] if matches else None
