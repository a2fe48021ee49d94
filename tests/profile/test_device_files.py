"""Device files: what ships, what inline devices give, what bad ones say, and the content hash."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from sim.profile.device import Device
from sim.profile.library import build_device, find_device, find_model, list_devices, load_device
from sim.profile.service import ParametricService, ServiceTable
from sim.report.profiles import device_text
from sim.spec.binding import bind
from sim.spec.device import DeviceSpec, TableFileSpec
from sim.spec.problems import SpecError
from sim.spec.source import parse_yaml

KAIROS = ("c5n.2xlarge", "g4dn.xlarge", "r5n.large", "t3.xlarge")
RIBBON = (
    *("c5.2xlarge", "c5a.2xlarge", "g4dn.xlarge", "m5.xlarge"),
    *("m5n.xlarge", "r5.large", "r5n.large", "t3.xlarge"),
)
TRITON = ("t4", "a30", "a100")
MODELLED = (
    *(
        "cpu-broadwell",
        "cpu-epyc-1core-roofline",
        "gpu-h200-roofline",
        "gpu-v100",
        "tpu-v3-8",
        "ipu-gc200",
        "ipu-pod16",
    ),
    *(f"gpu-{name}" for name in TRITON),
)
UNFIT = ("cpu-xeon-1core", "cpu-xeon-1core-mp-cache", "gpu-h200", "gpu-h200-mp-cache")
OWN = (
    *("cpu-epyc-1core", "cpu-epyc-1core-mp-cache", "cpu-xeon-m167-1core", "cpu-xeon-m167-1core-mp-cache"),
    *UNFIT,
)
PUBLISHED = tuple(f"triton-{name}" for name in TRITON)


def inline(text: str, folder: Path | None = None) -> Device:
    node = parse_yaml(text, "d.yaml")
    return build_device(bind(node, DeviceSpec), folder=folder, node=node)


def problems(text: str, folder: Path | None = None) -> list[str]:
    with pytest.raises(SpecError) as caught:
        inline(text, folder)
    return [str(problem) for problem in caught.value.problems]


def test_what_ships() -> None:
    expected = [*MODELLED, *PUBLISHED, *OWN, *(f"kairos-{t}" for t in KAIROS), *(f"ribbon-{t}" for t in RIBBON)]
    assert list(list_devices()) == sorted(expected)


@pytest.mark.parametrize("name", list_devices())
def test_shipped_devices_are_whole(name: str) -> None:
    device = find_device(name)
    assert device.name == name
    evidence = {**dict.fromkeys(MODELLED, "modelled"), **dict.fromkeys(PUBLISHED, "published")}
    assert device.evidence == evidence.get(name, "measured")
    assert "source: " in device.provenance
    assert device.memory_bytes is not None
    assert device.lanes >= 1
    assert device.unfit == (name in UNFIT)
    assert len(device.content_hash) == 64


@pytest.mark.parametrize("kind", KAIROS)
def test_kairos_profiles(kind: str) -> None:
    device = find_device(f"kairos-{kind}")
    assert device.price_usd_per_h is not None
    for name in ("rm2", "ncf", "wnd", "mtwnd", "dien"):
        model = find_model(name)
        alone = device.service(model, "table")
        loaded = device.service(model, "table", data_loading=True)
        assert isinstance(alone, ServiceTable)
        assert isinstance(loaded, ServiceTable)
        assert alone.sizes.tolist() == list(range(10, 1001, 10))
        assert (alone.min_size, alone.max_size, alone.evidence) == (10, 1000, "measured")
        assert np.all(loaded.mean_ns > alone.mean_ns)
        assert device.representations(model) == ("table",)


@pytest.mark.parametrize("kind", RIBBON)
def test_ribbon_profiles(kind: str) -> None:
    device = find_device(f"ribbon-{kind}")
    assert device.price_usd_per_h is not None
    for name in ("mtwnd", "dien"):
        service = device.service(find_model(name), "table")
        assert isinstance(service, ServiceTable)
        assert service.sizes.tolist() == list(range(10, 501, 10))
        assert device.service(find_model(name), "table", data_loading=True) is None
    assert device.service(find_model("rm2"), "table") is None


def test_no_profile_is_none() -> None:
    kairos = find_device("kairos-g4dn.xlarge")
    assert kairos.service(find_model("dlrm-kaggle"), "table") is None
    assert kairos.service(find_model("rm2"), "dhe") is None
    assert kairos.representations(find_model("dlrm-kaggle")) == ()
    v100 = find_device("gpu-v100")
    assert v100.service(find_model("rm2"), "table") is None
    assert v100.service(find_model("dlrm-kaggle"), "table", data_loading=True) is None


def test_a_plain_service_answers_for_every_model() -> None:
    device = inline("service: {distribution: gamma, mean: 1ms, per_sample: 2us, cv: 0.5}\nmemory: 1GB\nlanes: 2\n")
    service = device.service(find_model("dlrm-kaggle"), "hybrid")
    assert service == ParametricService("gamma", 1e6, 2e3, 0.5)
    assert device.representations(find_model("rm2")) == ("table",)
    assert (device.memory_bytes, device.lanes, device.evidence) == (10**9, 2, "modelled")
    assert device.service(find_model("rm2"), "dhe") is None


def test_an_inline_table_and_services_by_model() -> None:
    device = inline(
        "service:\n"
        "  rm2:\n"
        "    table: {sizes: [1, 10], quantiles: [0, 1], service: [[1ms, 2ms], [3ms, 4ms]],\n"
        "            beyond: linear, round_to: 1ms, size_step: ceil}\n"
        "  ncf:\n"
        "    table: {distribution: exponential, mean: 3ms}\n"
    )
    table = device.service(find_model("rm2"), "table")
    assert isinstance(table, ServiceTable)
    assert (table.beyond, table.round_to_ns, table.size_step) == ("linear", 10**6, "ceil")
    assert table.quantile_at(5, 0.4) == 3_000_000
    assert isinstance(device.service(find_model("ncf"), "table"), ParametricService)


def test_a_table_file_lies_beside_the_device_file(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("size,0.5\n1,1000\n2,2000\n")
    path = tmp_path / "mine.yaml"
    path.write_text("service: {rm2: {table: {table: t.csv, beyond: linear}}}\n")
    device = load_device(path)
    assert device.name == "mine"
    service = device.service(find_model("rm2"), "table")
    assert service is not None
    assert service.mean_at(3) == 3000.0


def test_stages_lie_beside_the_table(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("size,0.5\n10,100\n40,400\n")
    (tmp_path / "s.csv").write_text("stage,size,mean_ns\nencoder,10,40\nencoder,40,90\n")
    text = "service: {dlrm-kaggle: {dhe: {table: t.csv, stages: s.csv}, table: {table: t.csv}}}\n"
    device = inline(text, tmp_path)
    stages = device.profiles["dlrm-kaggle", "dhe"].stages
    assert stages is not None and stages.mean_at("encoder", [10, 25]).tolist() == [40.0, 65.0]
    assert device.profiles["dlrm-kaggle", "table"].stages is None
    assert device.with_overrides(beyond="linear").profiles["dlrm-kaggle", "dhe"].stages is stages
    assert "stages: encoder" in device_text(device, [find_model("dlrm-kaggle")])
    before = device.content_hash
    (tmp_path / "s.csv").write_text("stage,size,mean_ns\nencoder,10,40\nencoder,40,91\n")
    assert inline(text, tmp_path).content_hash != before
    # What a profile without stages is hashed by has no word of them, as before there were any.
    assert "stages" not in TableFileSpec(table="t.csv").model_dump(mode="json")
    assert TableFileSpec(table="t.csv", stages="s.csv").model_dump(mode="json")["stages"] == "s.csv"


def test_stages_that_do_not_reach_as_far_as_the_table(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("size,0.5\n10,100\n40,400\n")
    (tmp_path / "s.csv").write_text("stage,size,mean_ns\nencoder,10,40\nencoder,30,90\n")
    text = "service: {dlrm-kaggle: {dhe: {table: t.csv, stages: %s}}}\n"
    assert problems(text % "s.csv", tmp_path) == [
        "d.yaml:1:53: service.dlrm-kaggle.dhe.stages: encoder is given for the sizes 10 to 30, and the table goes from "
        "10 to 40 (got 's.csv')"
    ]
    assert problems(text % "none.csv", tmp_path) == [
        "d.yaml:1:53: service.dlrm-kaggle.dhe.stages: cannot read the stage file: No such file or directory (got "
        "'none.csv')"
    ]
    (tmp_path / "s.csv").write_text("stage,size,mean_ns\nencoder,10,fast\n")
    assert problems(text % "s.csv", tmp_path) == [
        f"{tmp_path / 's.csv'}:2:12: not a mean time (got 'fast'; allowed: a number of ns, at least 0)"
    ]


def test_the_content_hash_follows_the_content(tmp_path: Path) -> None:
    csv, path = tmp_path / "t.csv", tmp_path / "mine.yaml"
    csv.write_text("size,0.5\n1,1000\n")
    path.write_text("service: {rm2: {table: {table: t.csv}}}\n")
    first = load_device(path).content_hash
    assert load_device(path).content_hash == first
    csv.write_text("size,0.5\n1,1001\n")
    second = load_device(path).content_hash
    path.write_text("# the same\nservice:\n  rm2:\n    table: {table: t.csv}\n")
    assert load_device(path).content_hash == second
    path.write_text("lanes: 2\nservice: {rm2: {table: {table: t.csv}}}\n")
    assert len({first, second, load_device(path).content_hash}) == 3


def test_overrides() -> None:
    device = find_device("ribbon-g4dn.xlarge")
    read = device.with_overrides(
        memory_bytes=5, lanes=3, beyond="linear", round_to_ns=10**6, size_step="ceil", name="gpu"
    )
    service = read.service(find_model("mtwnd"), "table")
    original = device.service(find_model("mtwnd"), "table")
    assert isinstance(service, ServiceTable)
    assert isinstance(original, ServiceTable)
    assert (service.min_size, service.quantile_at(3, 0.5) % 10**6) == (None, 0)
    assert service.mean_at(11) == original.mean_at(20)
    assert (read.name, read.memory_bytes, read.lanes) == ("gpu", 5, 3)
    assert read.content_hash != device.content_hash
    assert device.with_overrides(name="gpu").content_hash == device.content_hash
    with pytest.raises(ValueError, match="two sizes"):
        inline("service: {sizes: [4], service: [[1ms]]}\n").with_overrides(beyond="linear")


def test_specifications_round_trip_and_have_a_schema() -> None:
    for text in (
        "service: {distribution: gamma, mean: 1ms, per_sample: 2us, cv: 0.5}\nprice: 0.1USD/h\n",
        "service: {sizes: [1, 2], quantiles: [0, 1], service: [[1ms, 2ms], [3ms, 4ms]], round_to: 1ms}\n",
        "service: {rm2: {table: {table: a.csv}}}\npower: {busy: 20W}\n",
        "roofline: {peak: 14TFLOP/s, bandwidth: 900GB/s, on_chip_memory: 1MB, on_chip_bandwidth: 1TB/s}\n",
    ):
        spec = bind(parse_yaml(text, "d.yaml"), DeviceSpec)
        assert DeviceSpec.model_validate(spec.model_dump(mode="json")) == spec
        assert DeviceSpec.model_validate(spec) == spec
    properties = DeviceSpec.model_json_schema()["properties"]
    assert {"service", "roofline", "memory", "lanes", "provenance"} <= set(properties)


def test_devices_travel_between_processes() -> None:
    device = find_device("kairos-r5n.large")
    copy = pickle.loads(pickle.dumps(device))
    model = find_model("ncf")
    assert copy.content_hash == device.content_hash
    assert copy.service(model, "table").mean_at(55) == device.service(model, "table").mean_at(55)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lanes: 1\n", ["d.yaml:1:1: a device has either service or roofline"]),
        ("lanes: 0\nservice: {distribution: exponential, mean: 1ms}\n", ["d.yaml:1:8: lanes: "]),
        ("lane: 1\nservice: {distribution: exponential, mean: 1ms}\n", ["d.yaml:1:1: lane: unknown key"]),
        ("service: {distribution: exponential, mean: 1}\n", ["d.yaml:1:44: service.mean: "]),
        ("service: {distribution: exponential, mean: -1ms}\n", ["d.yaml:1:44: service.mean: "]),
        ("service: {distribution: exponentail, mean: 1ms}\n", ["d.yaml:1:25: service.distribution: "]),
        ("service: {distribution: lognormal, mean: 1ms}\n", ["d.yaml:1:10: service: lognormal needs cv"]),
        (
            "service: {distribution: exponential, mean: 1ms, cv: 2}\n",
            ["d.yaml:1:10: service: exponential has no cv"],
        ),
        ("service: {distribution: exponential}\n", ["d.yaml:1:10: service: the mean service time is 0"]),
        (
            "service:\n  sizes: [1, 2]\n  quantiles: [0.5, 0.1]\n  service: [[1ms, 2ms], [1ms, 2ms]]\n",
            ["d.yaml:3:14: service.quantiles: must increase strictly: 0.1 follows 0.5"],
        ),
        (
            "service:\n  sizes: [1, 2]\n  quantiles: [0.1, 0.5]\n  service: [[1ms, 2ms], [3ms, 2ms]]\n",
            ["d.yaml:4:12: service.service: the quantiles of size 2 cross"],
        ),
        (
            "service:\n  sizes: [1, 2]\n  quantiles: [0.1, 0.5]\n  service: [[1ms, 2ms], [3ms]]\n",
            ["d.yaml:4:12: service.service: the row of size 2 has 1 values for 2 quantiles"],
        ),
        (
            "service:\n  sizes: [1, 2]\n  service: [[1ms], [-3ms]]\n",
            ["d.yaml:3:21: service.service"],
        ),
        (
            "service: {sizes: [1], service: [[2ms]], beyond: linear}\n",
            ["d.yaml:1:10: service: beyond: linear needs at least two sizes"],
        ),
        (
            "service: {rm2: {table: {table: nowhere.csv}}}\n",
            ["d.yaml:1:32: service.rm2.table.table: cannot read the table file: No such file"],
        ),
        (
            "service: {rm2: {table: {table: a.csv}}, ncf: {table: {table: b.csv, data_loading: c.csv}}}\n",
            ["d.yaml:1:32: ", "d.yaml:1:62: ", "d.yaml:1:83: service.ncf.table.data_loading: "],
        ),
        (
            "evidence: measured\nservice: {distribution: exponential, mean: 1ms}\n",
            ["d.yaml:1:1: a roofline or a parametric service is modelled, not measured"],
        ),
        (
            "evidence: measured\nservice: {sizes: [1], service: [[1ms]]}\n",
            ["d.yaml:1:1: evidence: measured needs a provenance block"],
        ),
        ("service: 3ms\n", ["d.yaml:1:10: service: expected a service time"]),
        ("service: {rm2: {table: 3ms}}\n", ["d.yaml:1:24: service.rm2.table: expected a service time"]),
        (
            "power: {idle: 30W, busy: 20W}\nservice: {distribution: exponential, mean: 1ms}\n",
            ["d.yaml:1:8: power: idle power exceeds busy power"],
        ),
        (
            "roofline: {peak: 14TFLOP, bandwidth: 900GB/s}\n",
            ["d.yaml:1:18: roofline.peak: "],
        ),
    ],
)
def test_bad_devices_say_where(text: str, expected: list[str], tmp_path: Path) -> None:
    found = problems(text, tmp_path)
    assert len(found) == len(expected), found
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(start), line


def test_a_bad_table_file_says_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("size,0.5\n10,5\n20,-5\n")
    (found,) = problems("service: {rm2: {table: {table: bad.csv}}}\n", tmp_path)
    assert found.startswith(f"{tmp_path / 'bad.csv'}:3:4: the service time must be positive")
    (tmp_path / "one.csv").write_text("size,0.5\n10,5\n")
    (found,) = problems("service: {rm2: {table: {table: one.csv, beyond: linear}}}\n", tmp_path)
    assert found.startswith("d.yaml:1:32: service.rm2.table.table: beyond: linear needs at least two sizes")
