"""Runs tests with the oldest versions that setup.cfg allows, in an environment of its own; opt-in: it installs a lot.

    python tests/oldest_versions.py [PYTEST_ARGUMENT...]

By default all tests.
"""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PIP = ["-m", "pip", "--quiet", "--disable-pip-version-check"]
EXTRAS = ("cluster", "frames", "optimise")
"""What users install besides; PyTorch is too large, and what only developers use may be new."""


def oldest(setup: str) -> list[str]:
    """Return a constraint on each package that users install: the oldest release that is allowed."""
    config = configparser.ConfigParser()
    config.read_string(setup)
    extras = config["options.extras_require"]
    lines = [config["options"]["install_requires"], *(extras[name] for name in EXTRAS)]
    wanted = [line for text in lines for line in text.split("\n") if line]
    found = [re.match(r"([\w-]+)>=([\d.]+)", line) for line in wanted]
    assert all(found), wanted
    return [f"{one[1]}=={one[2]}" + (".0.*", ".*", "")[one[2].count(".")] for one in found if one]


def main() -> int:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python, constraints = folder / "venv" / "bin" / "python", folder / "oldest.txt"
        pinned = oldest((ROOT / "setup.cfg").read_text(encoding="utf-8"))
        print("\n".join(pinned), flush=True)
        constraints.write_text("\n".join(pinned))
        # The compiled engine of other versions is of no use here, nor theirs of this.
        environment["XDG_CACHE_HOME"] = str(folder / "cache")
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        subprocess.run([python, *PIP, "install", "-c", constraints, "-e", f"{ROOT}[dev]"], check=True, env=environment)
        asked = sys.argv[1:] or ["-n", "auto", "--dist", "worksteal"]
        return subprocess.run([python, "-m", "pytest", *asked], cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
