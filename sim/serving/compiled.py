"""The one place where functions are handed to numba."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar, cast

import numba

__all__ = ["jit"]

F = TypeVar("F", bound=Callable[..., object])


@functools.cache
def _compile(function: Callable[..., object]) -> Callable[..., object]:
    return cast(Callable[..., object], numba.njit(cache=True, fastmath=False)(function))


def jit(function: F) -> F:
    """Compile `function` with numba in nopython mode, cached on disk, without reordering floating point.

    The same function always gives the same compiled one.

    Fast-math stays off: both engines have to compute the same nanosecond from the same numbers.
    """
    return cast(F, _compile(function))
