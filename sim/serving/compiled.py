"""The one place where functions are handed to numba, and where it keeps what it compiled."""

from __future__ import annotations

import contextlib
import functools
import getpass
import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

__all__ = ["cache_folder", "compile_now", "jit", "jit_inline", "jit_inner", "jit_once", "source_hash"]

F = TypeVar("F", bound=Callable[..., object])

UNUSED_S = 30 * 86400
"""Compiled code that was not used for this long is removed."""


def jit(function: F) -> F:
    """Compile `function` with numba in nopython mode, cached on disk, without reordering floating point.

    Fast-math stays off: both engines have to compute the same nanosecond from the same numbers. The same function
    always gives the same compiled one.
    """
    return cast(F, _compile(function))


def jit_inline(function: F) -> F:
    """Compile as `jit` does, into every compiled function that calls it: for what is short and often called."""
    return cast(F, _compile(function, inline=True))


def compile_now(function: Callable[..., object], *arguments: Any) -> None:
    """Compile what `jit` returned for arguments of these numba types, or take it from the disk."""
    compiled: Any = function
    compiled.compile(arguments)


def jit_inner(function: F) -> F:
    """Compile as `jit` does, for calls from compiled functions alone: what Python would need to call it is left out."""
    return cast(F, _compile(function, inner=True))


def jit_once(function: F) -> F:
    """Compile as `jit_inner` does, as a piece of its caller: for what is called from one place or two.

    A function of its own would be optimised again with every function that calls it, however indirectly.
    """
    return cast(F, _compile(function, inner=True, piece=True))


@functools.cache
def _compile(
    function: Callable[..., object], *, inner: bool = False, inline: bool = False, piece: bool = False
) -> Callable[..., object]:
    _use_cache_folder()
    options: dict[str, Any] = {"no_cpython_wrapper": inner, "no_cfunc_wrapper": inner, "forceinline": inline}
    if piece:
        options["inline"] = "always"
    compiled = numba.njit(cache=True, fastmath=False, **options)(function)
    _take_constants_as_numbers(compiled)
    _go_on_without_room(compiled)
    return cast(Callable[..., object], compiled)


def _go_on_without_room(compiled: Any) -> None:
    """Let compiled code that cannot be kept, because the disk is full, say, be used all the same by this process."""
    save = compiled._cache.save_overload

    def save_if_there_is_room(signature: Any, data: Any) -> None:
        with contextlib.suppress(OSError):
            save(signature, data)

    compiled._cache.save_overload = save_if_there_is_room


def _take_constants_as_numbers(compiled: Any) -> None:
    """Let calls with constants use the code for any number; numba would compile a function anew for each constant."""
    of_types = compiled.get_call_template
    as_number: Callable[[Any], Any] = numba.types.unliteral

    def get_call_template(args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
        return of_types(
            tuple(as_number(given) for given in args),
            {name: as_number(given) for name, given in kws.items()},
        )

    compiled.get_call_template = get_call_template


def source_hash(*folders: Path) -> str:
    """Return a hash of every Python source below `folders`."""
    digest = hashlib.sha256()
    for folder in folders:
        for file in sorted(folder.rglob("*.py")):
            digest.update(str(file.relative_to(folder)).encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def cache_folder() -> Path:
    """Return the folder for compiled code of exactly this source.

    numba looks only at the file of the function itself when it decides whether compiled code is current, and would go
    on using code that has an older version of a *called* function inlined. A folder per state of the source rules
    that out.
    """
    package = Path(__file__).resolve().parent.parent
    sources = source_hash(package / "serving", package / "engine", package / "stats")
    name = f"{sources}-py{sys.version_info.major}{sys.version_info.minor}"
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    for parent in (base / "mprec-sim", Path(tempfile.gettempdir()) / f"mprec-sim-{getpass.getuser()}"):
        try:
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            (parent / name).mkdir(exist_ok=True)
            os.utime(parent / name)
        except OSError:
            continue
        if not _is_mine(parent):
            continue
        _remove_unused(parent)
        return parent / name
    return Path(tempfile.mkdtemp(prefix="mprec-sim-"))


def _is_mine(folder: Path) -> bool:
    """Whether nobody else can have put code into a folder, which would be run."""
    status = folder.stat()
    return not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o002)


def _remove_unused(parent: Path) -> None:
    for folder in parent.iterdir():
        if time.time() - folder.stat().st_mtime > UNUSED_S:
            shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def _use_cache_folder() -> None:
    if not os.environ.get("NUMBA_CACHE_DIR"):
        numba.config.CACHE_DIR = str(cache_folder())  # type: ignore[attr-defined]
