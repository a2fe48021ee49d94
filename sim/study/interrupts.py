"""Ctrl-C and SIGTERM: remembered where code of others swallows them, and kept from the processes that we start.

Python raises KeyboardInterrupt wherever the main thread happens to be. Where that is a function that C code called, the
C code may drop it (numpy drops what is raised while it describes an array) or raise something else in its place
(pydantic does, while it writes a model), and the user's Ctrl-C did nothing, about once in a hundred times.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["interrupts_held_back", "interrupts_remembered", "raise_if_interrupted"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Schedulers and `kill` end a process with SIGTERM: what is finished is kept then, too."""

_interrupted = False


@contextmanager
def interrupts_remembered(signals: Sequence[signal.Signals] = SIGNALS) -> Iterator[None]:
    """Raise KeyboardInterrupt on Ctrl-C and on SIGTERM, and instead of any exception that comes out after them.

    Parameters
    ----------
    signals : sequence of signal.Signals
        Those that are to interrupt.

    Notes
    -----
    `raise_if_interrupted` raises it again inside of the block. For the main thread only. A signal that is ignored, as
    shells let background jobs ignore Ctrl-C, stays ignored. Blocks may be nested.
    """
    global _interrupted
    outermost = not any(signal.getsignal(number) is _interrupt for number in SIGNALS)
    if outermost:
        _interrupted = False
    previous = {
        number: signal.signal(number, _interrupt) for number in signals if signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        raise_if_interrupted()
        yield
    except Exception as error:
        if not _interrupted:
            raise
        interruption = KeyboardInterrupt()
        for note in getattr(error, "__notes__", ()):
            interruption.add_note(note)
        raise interruption from error
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if outermost:
            _interrupted = False


def raise_if_interrupted() -> None:
    """Raise KeyboardInterrupt where one was raised since `interrupts_remembered` began, and swallowed."""
    if _interrupted:
        raise KeyboardInterrupt


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach: it is for this one to handle, here at the end of the block."""
    # Imported here because every command imports this module before anything else.
    from multiprocessing import resource_tracker

    # It lets the signal through once it runs, and is therefore started before.
    resource_tracker.ensure_running()
    came = False

    def hold_back(_number: int, _frame: FrameType | None) -> None:
        nonlocal came
        came = True

    # Processes inherit what this thread blocks. The signal may go to another thread, and then to the handler here.
    handler = _set_handler(hold_back)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        if handler is not None:
            _set_handler(handler)
        if came:
            signal.raise_signal(signal.SIGINT)


def _set_handler(handler: Any) -> Any:
    """Let Ctrl-C call this; return what it did before, None where that is not changed: it is ignored, or not ours."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        return None
    return signal.signal(signal.SIGINT, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    global _interrupted
    _interrupted = True
    raise KeyboardInterrupt
