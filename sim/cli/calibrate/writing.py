"""What a command says when it cannot write."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

__all__ = ["told_if_unwritable"]


@contextmanager
def told_if_unwritable() -> Iterator[None]:
    """Turn a file that cannot be written within the block into a line on stderr and exit code 2."""
    from sim.report.rundir import RunDirectoryError

    try:
        yield
    except RunDirectoryError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from error
