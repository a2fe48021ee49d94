"""Replications, sweeps and the processes that run them."""
