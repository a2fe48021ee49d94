"""Discrete-event simulation of recommendation inference at datacenter scale."""

from sim._version import __version__

__all__ = ["__version__"]
