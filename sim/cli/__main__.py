"""``python -m sim.cli`` is ``mprec``."""

from sim.cli.entry import main

if __name__ == "__main__":
    main()
