"""A real server on this machine, run by the simulator's own router and policy, and what it leaves to compare with."""
