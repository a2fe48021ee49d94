"""Whatever a file says, reading it ends in scenarios and profiles, or in problems; never in another exception."""

from __future__ import annotations

import copy
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sim.profile.library import data_dir, find_model, load_device, load_interference, load_model
from sim.report.profiles import device_text, interference_text, model_text
from sim.spec.problems import SpecError
from sim.study.prepare import prepare
from sim.study.scenario import load_scenarios

MUTANTS = 60
"""Of each kind, on every run of the tests; some thousand were looked at when this was written."""

ODD: tuple[Any, ...] = (
    *(None, "", [], {}, True, "x" * 5000, "日本 \u202e", "a: b", -1, 0, 1, -0.5, 1e308, 1e-320, 10**25, 10**400),
    *(float("inf"), float("nan"), 2**31, 2**53, 2**63, [[]], [{}], {"a": {"b": [1]}}, [1, "a", None], [0] * 300),
    *({"kind": "none"}, "-5ms", "0ms", "1e400s", "1e-400s", "10 GB", "1e300/s", "1e-12/s", "9e18ns", "4e9s", "NaN"),
    *("../../etc/passwd", "nan/s", "100%", "-3%", "1e9%", "0x10", "1_000", "1/s", "gpu-v100", "dlrm-kaggle"),
)

NUMBERS = ("0", "1e9", "1e18", "1e-9", "-1", "999999999999", "1e300")
BITS = ("\0", "\t", ":", "{", "[", "&a ", "*a", "\ufeff", "\r", "'", "#", "!x ")


def places(tree: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, inner in entries:
        yield (*above, key)
        yield from places(inner, (*above, key))


def mutant(tree: Any, chance: random.Random) -> Any:
    tree = copy.deepcopy(tree)
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        *above, key = chance.choice(list(places(tree)))
        holder = tree
        for step in above:
            holder = holder[step]
        value = holder[key]
        what = chance.random()
        if what < 0.45:
            holder[key] = copy.deepcopy(chance.choice(ODD))
        elif what < 0.65:
            text = re.sub(r"\d+(\.\d+)?", lambda _: chance.choice(NUMBERS), str(value))
            holder[key] = text if isinstance(value, str) else yaml.safe_load(text)
        elif what < 0.8:
            del holder[key]
        elif isinstance(holder, dict):
            holder[f"{key}{chance.choice(['x', ' ', 'é', '.'])}"] = holder.pop(key)
        else:
            holder.extend(copy.deepcopy([value]) * chance.choice([1, 3, 200]))
        if not list(places(tree)):
            break
    return tree


def written(source: Path, chance: random.Random) -> str:
    text = source.read_text(encoding="utf-8")
    if chance.random() < 0.85:
        return yaml.safe_dump(mutant(yaml.safe_load(text), chance), allow_unicode=True, sort_keys=False)
    at = chance.randrange(len(text))
    return text[:at] + chance.choice(BITS) + text[at:]


@pytest.mark.parametrize("seed", range(MUTANTS))
def test_experiments(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    file = tmp_path / "mutant.yaml"
    file.write_text(written(chance.choice(sorted(data_dir("experiments").glob("*.yaml"))), chance), newline="")
    try:
        prepare(load_scenarios(str(file)))
    except SpecError as error:
        assert error.problems


@pytest.fixture(scope="module")
def profiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("profiles")
    return Path(shutil.copytree(data_dir("hwprofiles"), folder / "hwprofiles"))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(MUTANTS))
def test_profiles(seed: int, profiles: Path) -> None:
    chance = random.Random(seed)
    source = chance.choice(sorted(profiles.glob("*/[!_]*.yaml")))
    file = source.with_name("_mutant.yaml")
    file.write_text(written(source, chance), newline="")
    try:
        if source.parent.name == "devices":
            device_text(load_device(file), [find_model("dlrm-kaggle"), find_model("rm2")])
        elif source.parent.name == "models":
            model_text(load_model(file))
        else:
            interference_text(load_interference(file))
    except SpecError as error:
        assert error.problems


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("models/dlrm-kaggle", "embedding_dim: 16", f"embedding_dim: {10**7}", "has to be at most 1000000"),
        ("models/dlrm-kaggle", "10131227", str(10**18), "has to be at most 1000000000000"),
        ("models/dlrm-kaggle", "k: 2048", f"k: {10**400}", "has to be at most 1000000"),
        ("models/dlrm-kaggle", "[3, ", f"[{', '.join([str(10**12)] * 90_000)}, ", "cannot be counted in 64 bits"),
    ],
)
def test_models_beyond_all_bounds(name: str, old: str, new: str, message: str, tmp_path: Path) -> None:
    text = (data_dir("hwprofiles") / f"{name}.yaml").read_text()
    assert old in text
    (tmp_path / "m.yaml").write_text(text.replace(old, new))
    with pytest.raises(SpecError, match=r"m\.yaml:\d+:\d+: .*" + message):
        load_model(tmp_path / "m.yaml")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("old", "new"), [("overhead: 50us", "overhead: 4e9s"), ("0.25", "1e-320")])
def test_a_datasheet_that_is_too_slow_to_count_is_shown_and_refused_by_a_run(
    old: str, new: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (data_dir("hwprofiles") / "devices" / "cpu-broadwell.yaml").read_text()
    assert old in text
    Path("slow.yaml").write_text(text.replace(old, new).replace("name: cpu-broadwell", "name: slow"))
    assert device_text(load_device(Path("slow.yaml")), [find_model("dlrm-kaggle")])
    with pytest.raises(SpecError, match="cannot be counted in 64 bits"):
        prepare(load_scenarios("quickstart", ["fleet.0.devices={cpu: slow.yaml}", "model=dlrm-kaggle"]))
