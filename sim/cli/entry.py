"""Where ``mprec`` begins and ends: Ctrl-C while it is still being imported, output that cannot be written."""

from __future__ import annotations

import io
import os
import signal
import sys

from sim.study.interrupts import interrupts_remembered

__all__ = ["main"]

FAILED = 1
INTERRUPTED = 130


class _CannotWrite(Exception):
    """Nothing more can be written to stdout; no `OSError`, because commands take these for what they do themselves."""


class _Stdout(io.FileIO):
    """stdout that says of its errors that they are its own."""

    def write(self, content: object) -> int:
        try:
            return super().write(content)  # type: ignore[arg-type]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise _CannotWrite(f"the output cannot be written: {error.strerror}") from error


def main() -> None:
    """Run the command line and exit; what commands need is imported here, where Ctrl-C is told."""
    try:
        with interrupts_remembered((signal.SIGINT,)):
            _open_stdout()
            try:
                from sim.cli.main import run_command

                run_command()
            finally:
                sys.stdout.flush()
    except KeyboardInterrupt:
        _end("interrupted", INTERRUPTED)
    except _CannotWrite as error:
        _end(str(error), FAILED)
    except BrokenPipeError:
        # The reader of stdout went away (head, a closed pager): nothing is wrong here.
        _end("", FAILED)


def _open_stdout() -> None:
    """Put in the place of stdout one that tells its own errors, and writes what its encoding lacks as escapes."""
    if sys.stdout is None:
        # It was closed: nobody wants the output.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
        return
    before = sys.stdout
    before.flush()
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Stdout(before.fileno(), "wb", closefd=False)),
        encoding=before.encoding,
        errors="backslashreplace",
        line_buffering=bool(before.line_buffering),
        write_through=getattr(before, "write_through", False),
    )


def _end(said: str, code: int) -> None:
    """Exit with a line on stderr; what is left in the buffer of stdout goes nowhere, as it would fail again."""
    if said:
        print(said, file=sys.stderr)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(code)
