"""Discrete-event simulation of recommendation inference at datacenter scale.

``from sim import load, run, capacity, compare``: see docs/python.md.
"""

from typing import TYPE_CHECKING, Any

from sim._version import __version__

if TYPE_CHECKING:
    from sim.api import capacity, compare, load, run

__all__ = ["__version__", "capacity", "compare", "load", "run"]


def __getattr__(name: str) -> Any:
    # Found when it is asked for: `import sim` and the command line load none of it.
    if name in __all__:
        from sim import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
