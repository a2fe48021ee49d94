"""Builds the wheel, installs it in an environment of its own, and runs an experiment by name from an empty folder.

What is imported and read must come from the wheel: the checkout is neither the working directory nor on the path.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PIP = ["-m", "pip", "--quiet", "--disable-pip-version-check"]


def main() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheels, empty, python = folder / "wheels", folder / "empty", folder / "venv" / "bin" / "python"
        empty.mkdir()

        def call(*command: str | Path) -> str:
            print("$", *command, flush=True)
            done = subprocess.run(command, cwd=empty, env=environment, check=True, stdout=subprocess.PIPE, text=True)
            return done.stdout

        call(sys.executable, *PIP, "wheel", "--no-deps", "--wheel-dir", wheels, ROOT)
        (wheel,) = wheels.glob("mprec_sim-*.whl")
        call(sys.executable, "-m", "venv", folder / "venv")
        call(python, *PIP, "install", wheel)
        where = call(python, "-c", "import sim; print(sim.__file__)").strip()
        assert Path(where).is_relative_to(folder / "venv"), where
        mprec = python.with_name("mprec")
        listed = call(mprec, "profiles", "list")
        assert "kairos-" in listed and "broadwell-dlrm-rmc1" in listed
        call(mprec, "run", "mprec-kaggle-hw2", "--quiet", "--replications", "2", "--set", "workload.queries=500")
        assert list(empty.glob("runs/*/summary.json")), "no summary was written"
        page = call(mprec, "report", "mprec-kaggle-hw2").strip()
        assert "Verdict" in (empty / page).read_text(encoding="utf-8"), "no report was written"
    print(f"{wheel.name} runs elsewhere")


if __name__ == "__main__":
    main()
