"""How ``mprec`` ends: Ctrl-C while it starts, a stdout that takes nothing more, names that no encoding has."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.test_damaged_runs import SMALL

MPREC = Path(sys.executable).parent / "mprec"


def ended(*arguments: str, shell: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    line = ["bash", "-c", f'"$0" "$@" {shell}', MPREC, *arguments]
    return subprocess.run(line, capture_output=True, env={**os.environ, **environment}, timeout=120, check=False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("arguments", [("schema",), ("--help",), ("run", "--help"), ("validate", "quickstart")])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_cannot_be_written_is_said(arguments: tuple[str, ...], unbuffered: str) -> None:
    done = ended(*arguments, shell="> /dev/full", PYTHONUNBUFFERED=unbuffered)
    assert done.stderr == b"the output cannot be written: No space left on device\n"
    assert done.returncode == 1


def test_a_reader_that_goes_away_and_output_that_is_closed_are_no_errors() -> None:
    # `true` reads nothing, and the schema is longer than a pipe holds.
    done = ended("schema", shell="| true; exit ${PIPESTATUS[0]}")
    assert (done.stderr, done.returncode) == (b"", 1)
    assert ended("schema", shell=">&-").stderr == b""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("module", ["typer", "sim.study.runs", "numpy"])
def test_an_interruption_while_modules_are_imported_is_told(module: str, tmp_path: Path) -> None:
    """A finder of modules stands in for the user: it waits where the module is looked for until Ctrl-C comes."""
    start = f"""\
import sys, time
class Waits:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            print("waiting", file=sys.stderr, flush=True)
            time.sleep(60)
sys.meta_path.insert(0, Waits())
sys.argv = ["mprec", "run", "quickstart", "--out", "out"]
from sim.cli.entry import main
main()
"""
    process = subprocess.Popen([sys.executable, "-c", start], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None and process.stderr.readline() == "waiting\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (errors, process.returncode) == ("interrupted\n", 130)


@pytest.mark.skipif(sys.platform != "linux", reason="names of files that are no UTF-8")
def test_names_that_are_no_text_are_written_as_escapes(tmp_path: Path) -> None:
    file, one, two = (os.fsdecode(os.fsencode(tmp_path) + name) for name in (b"/e\xff.yaml", b"/a\xff", b"/b\xff"))
    Path(file).write_text(SMALL)
    for out in (one, two):
        done = ended(
            "run", file, "--out", out, "--engine", "reference", "--no-figures", "--jobs", "1", LC_ALL="C.UTF-8"
        )
        assert done.returncode == 0 and done.stdout.endswith(rf"{out[-2]}\udcff".encode() + b"\n"), done.stderr
    assert json.loads((Path(one) / "manifest.json").read_text())["command"][2] == file
    for arguments in (("report", one), ("plot", one), ("compare", one, two, "--json", f"{two}/c.json")):
        done = ended(*arguments, LC_ALL="C.UTF-8")
        assert done.returncode == 0 and rb"\udcff" in done.stdout, done.stderr
    done = ended("report", f"{one}/\udcff", LC_ALL="C.UTF-8")
    assert done.returncode == 2 and rb"a\udcff/\udcff" in done.stderr and b"Traceback" not in done.stderr
