"""Engines that carry out one replication, and the checks every run must pass."""
