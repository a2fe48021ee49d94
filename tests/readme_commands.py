"""Runs every command of README.md as it stands there, in an empty folder, and fails with the first that fails.

Commands are the lines after ``$ `` of fenced console blocks. `make` and `pip` are left to those who install.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = ("make ", "pip ", "git ")


def commands() -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    lines = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    return [line for line in lines if not line.startswith(LEFT_OUT)]


def main() -> None:
    found = commands()
    assert found, "README.md has no commands"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as folder:
        # The README's own experiment file, so that its commands have something to run.
        text = (ROOT / "README.md").read_text(encoding="utf-8")
        yaml = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
        assert yaml is not None
        (Path(folder) / "mine.yaml").write_text(yaml.group(1), encoding="utf-8")
        for command in found:
            print(f"$ {command}", flush=True)
            subprocess.run(command, shell=True, cwd=folder, env={**os.environ, "PATH": path}, check=True)
    print(f"{len(found)} passed, 0 failed")


if __name__ == "__main__":
    main()
