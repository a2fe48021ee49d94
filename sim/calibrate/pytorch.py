"""PyTorch, which only some calibration commands need: is it there, and what to install where it is not."""

from __future__ import annotations

import importlib.util

from sim.spec.problems import Problem, SpecError

__all__ = ["require_pytorch"]


def require_pytorch(command: str) -> None:
    """Fail where PyTorch is not installed, before anything is read or computed.

    Parameters
    ----------
    command : str
        What needs it, for the message.

    Raises
    ------
    SpecError
        Saying which extra to install.
    """
    if importlib.util.find_spec("torch") is None:
        raise SpecError([Problem(f"{command} needs PyTorch: pip install 'mprec-sim[calibrate]'")])
