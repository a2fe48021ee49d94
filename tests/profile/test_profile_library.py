"""Finding by name, model files, and that loading the library stays light."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sim.profile.library import (
    UnknownName,
    build_model,
    data_dir,
    find_device,
    find_model,
    list_models,
    load_model,
)
from sim.profile.model import Model
from sim.spec.binding import bind
from sim.spec.model import ModelSpec
from sim.spec.problems import SpecError
from sim.spec.source import parse_yaml


def inline(text: str) -> Model:
    return build_model(bind(parse_yaml(text, "m.yaml"), ModelSpec))


def test_models_that_ship() -> None:
    dlrms = ("dlrm-frappe", "dlrm-kaggle", "dlrm-ml-100k", "dlrm-nvidia", "dlrm-terabyte")
    assert list_models() == ("dien", *dlrms, "mtwnd", "ncf", "rm2", "wnd")
    for name in list_models():
        assert find_model(name).name == name


def test_accuracies_carry_their_evidence() -> None:
    recalled = {
        "dlrm-kaggle": {"table": 0.7879, "dhe": 0.7894, "hybrid": 0.7898},
        "dlrm-terabyte": {"table": 0.8081, "dhe": 0.8099, "hybrid": 0.8103},
    }
    for name, accuracies in recalled.items():
        representations = find_model(name).representations
        assert tuple(representations) == ("table", "dhe", "select", "hybrid")
        for representation, accuracy in accuracies.items():
            assert representations[representation].accuracy == pytest.approx(accuracy, abs=1e-12)
            assert representations[representation].accuracy_evidence == "recalled"
        # No value is known for select: the midpoint of table and DHE, and it says so.
        midpoint = (accuracies["table"] + accuracies["dhe"]) / 2
        assert representations["select"].accuracy == pytest.approx(midpoint, abs=1e-12)
        assert representations["select"].accuracy_evidence == "assumed"
        assert "midpoint" in representations["select"].accuracy_source
    # The gains that the abstract states, in points.
    for name, gain in (("dlrm-kaggle", 0.19), ("dlrm-terabyte", 0.22)):
        representations = find_model(name).representations
        difference = representations["hybrid"].accuracy - representations["table"].accuracy
        assert 100 * difference == pytest.approx(gain, abs=1e-9)


def test_opaque_models_know_no_bytes() -> None:
    for name in ("rm2", "ncf", "wnd", "mtwnd", "dien"):
        table = find_model(name).representations["table"]
        assert (table.bytes, table.flops_per_sample, table.stages) == (None, None, ())
        assert (table.accuracy, table.accuracy_evidence) == (1.0, "assumed")


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(UnknownName) as caught:
        find_device("gpu-v1000")
    assert (caught.value.name, caught.value.kind) == ("gpu-v1000", "device")
    assert "gpu-v100" in caught.value.known
    assert "gpu-v1000" in str(caught.value)
    assert isinstance(caught.value, KeyError)
    with pytest.raises(UnknownName, match="unknown model"):
        find_model("../devices/gpu-v100")


def test_an_inline_model() -> None:
    model = inline(
        "family: mine\n"
        "representations:\n"
        "  small: {accuracy: {value: 70%, evidence: measured}, bytes: 2GB}\n"
        "  large: {accuracy: {value: 0.75, evidence: measured}}\n"
    )
    assert model.representations["small"].bytes == 2 * 10**9
    assert model.representations["large"].accuracy == 0.75
    assert model.name == "inline"


def test_the_model_hash_follows_the_content() -> None:
    path = data_dir("hwprofiles") / "models" / "dlrm-kaggle.yaml"
    text = path.read_text(encoding="utf-8")
    same = inline("# a comment\n" + text)
    changed = inline(text.replace("78.79%", "78.80%"))
    assert load_model(path).content_hash == same.content_hash != changed.content_hash


DLRM = "dlrm: {embedding_dim: 2, table_rows: [3], bottom_mlp: [4, 2], top_mlp: [1]%s}\n"
ACCURACY = "{accuracy: {value: 70%, evidence: assumed}}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: x\n", "m.yaml:1:1: representations"),
        (
            "representations: {a: {accuracy: {value: 120%, evidence: assumed}}}\n",
            "m.yaml:1:41: representations.a",
        ),
        (
            "representations: {a: {accuracy: {value: 70%, evidence: guessed}}}\n",
            "m.yaml:1:56: representations.a",
        ),
        (
            DLRM % "" + f"representations: {{tables: {ACCURACY}}}\n",
            "m.yaml:1:1: a dlrm has no representation 'tables'",
        ),
        (
            DLRM % "" + f"representations: {{dhe: {ACCURACY}}}\n",
            "m.yaml:1:1: representation 'dhe' needs dlrm.dhe",
        ),
        (
            "dlrm: {embedding_dim: 3, table_rows: [3], bottom_mlp: [4, 2], top_mlp: [1]}\n"
            f"representations: {{table: {ACCURACY}}}\n",
            "m.yaml:1:55: dlrm.bottom_mlp: must end with embedding_dim (3)",
        ),
    ],
)
def test_bad_models_say_where(text: str, expected: str) -> None:
    with pytest.raises(SpecError) as caught:
        inline(text)
    assert any(str(problem).startswith(expected) for problem in caught.value.problems), str(caught.value)


def test_loading_profiles_imports_nothing_heavy() -> None:
    code = (
        "import sys, sim.profile.library as library\n"
        "library.find_device('gpu-v100'); library.find_device('kairos-t3.xlarge')\n"
        "heavy = {'numba', 'scipy', 'matplotlib', 'torch', 'simpy'} & set(sys.modules)\n"
        "raise SystemExit(', '.join(sorted(heavy)) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
