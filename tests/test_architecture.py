"""The house: imports point down, heavy libraries load where they are used, modules keep one subject."""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
from pathlib import Path

import pytest

import sim

PACKAGE = Path(sim.__file__).parent
LAYERS = ("spec", "profile", "workload", "serving", "engine", "stats", "report", "study", "cli")
"""From the ground up; `calibrate` stands beside `study`."""

FLOOR = {name: number for number, name in enumerate(LAYERS)} | {"calibrate": LAYERS.index("study")}
HEAVY = ("matplotlib", "scipy", "numba", "torch", "rich", "simpy", "pandas")
VAGUE = {"utils", "util", "helpers", "common", "misc", "manager", "core"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports_of(file: Path) -> list[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{file}: relative import"
            found.append(node.module)
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def layer_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "sim" and len(parts) > 1 and parts[1] in FLOOR else None


def violations(file: Path) -> list[str]:
    own = layer_of(".".join(("sim", *file.relative_to(PACKAGE).with_suffix("").parts)))
    if own is None:
        return []
    return [
        f"{file.relative_to(PACKAGE)} imports {module}"
        for module in imports_of(file)
        if (other := layer_of(module)) is not None
        and other != own
        and (FLOOR[other] > FLOOR[own] or {own, other} == {"study", "calibrate"})
    ]


def test_imports_only_point_down() -> None:
    assert [line for file in modules() for line in violations(file)] == []


def test_an_arrow_that_runs_up_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "spec").mkdir()
    bad = tmp_path / "spec" / "bad.py"
    bad.write_text("from sim.engine import reference\n")
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    assert violations(bad)


def test_torch_is_imported_by_calibrate_only() -> None:
    for file in modules():
        if file.relative_to(PACKAGE).parts[0] != "calibrate":
            assert not any(name.split(".")[0] == "torch" for name in imports_of(file)), file


def test_no_module_is_a_drawer() -> None:
    for file in modules():
        assert file.stem not in VAGUE, file
        assert len(file.read_text(encoding="utf-8").splitlines()) <= 500, f"{file} has more than one subject"
        assert ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))), f"{file} does not say what it is for"


@pytest.mark.parametrize("command", ["--help", "schema"])
def test_light_commands_load_nothing_heavy(command: str) -> None:
    code = (
        "import sys\nfrom sim.cli.entry import main\nsys.argv = ['mprec', " + repr(command) + "]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print(sorted(set({HEAVY!r}) & {{name.split('.')[0] for name in sys.modules}}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = ast.literal_eval(done.stderr.strip().splitlines()[-1])
    assert [name for name in loaded if name != "rich"] == []


def test_validate_does_not_load_numba() -> None:
    code = (
        "import sys\nfrom sim.cli.entry import main\nsys.argv = ['mprec', 'validate', 'mprec-kaggle-hw1']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "assert 'numba' not in sys.modules and 'simpy' not in sys.modules and 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_every_package_is_in_the_wheel() -> None:
    settings = configparser.ConfigParser()
    settings.read(PACKAGE.parent / "setup.cfg", encoding="utf-8")
    named = {name for name in settings["options"]["packages"].split() if not name.startswith("sim._data")}
    packages = {".".join(("sim", *file.parent.relative_to(PACKAGE).parts)) for file in PACKAGE.rglob("__init__.py")}
    assert named == packages
