"""MP-Cache: what it holds, what it hits, what is left of the service time, and what memory and accuracy it takes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from sim.engine.engines import Engine
from sim.profile.library import find_device, find_model
from sim.profile.model import Representation
from sim.profile.mp_cache import (
    SPARE_IDS_ON_GPU,
    centroid_bytes,
    centroid_flops_per_id,
    entry_bytes,
    padded_batches,
    with_caches,
)
from sim.profile.roofline import GRID, Roofline, roofline_seconds
from sim.profile.service import ServiceTable
from sim.profile.stage_times import StageTimes
from sim.serving.cache import Misses, hot_entries
from sim.serving.paths import Path as ServingPath
from sim.serving.paths import Plan
from sim.spec.problems import SpecError
from sim.study.planning import plan_scenarios
from sim.study.runs import resolved_experiment
from sim.study.scenario import load_scenarios
from sim.workload.popularity import Popularity, UniformPopularity, ZipfPopularity, measured_counts
from tests.engine.test_engine_equality import differences
from tests.harness import prepare_text, run_record

KAGGLE = find_model("dlrm-kaggle")
DHE = KAGGLE.representations["dhe"]
assert DHE.dhe is not None
KAGGLE_ROWS = DHE.dhe.rows
MODELLED = """\
name: t
model: dlrm-kaggle
sla: 10ms
workload:
  arrivals: {kind: poisson, rate: 100/s}
  sizes: {kind: fixed, size: 128}
  queries: 200
fleet:
  - name: n
    devices: {gpu: {profile: gpu-v100, memory: 32GB%s}}
mapping: {kind: explicit, devices: {gpu: [dhe]}}
policy: {kind: fastest}
replications: 1
"""


def plan_text(folder: Path, text: str) -> Plan:
    (folder / "experiment.yaml").write_text(text)
    (plan,) = plan_scenarios(load_scenarios(str(folder / "experiment.yaml")))
    return plan


def only_path(plan: Plan) -> ServingPath:
    (path,) = plan.eligible
    return path


def table_of(path: ServingPath) -> ServiceTable:
    assert isinstance(path.service, ServiceTable)
    return path.service


# -- what the encoder cache holds and hits ---------------------------------------------------------------


@pytest.mark.parametrize("entries", [1, 7, 60, 333, 1000])
@pytest.mark.parametrize(
    "laws",
    [
        [ZipfPopularity(1.05)] * 4,
        [ZipfPopularity(0.6), UniformPopularity(), ZipfPopularity(2.0), measured_counts(np.arange(1, 500))],
    ],
    ids=["zipf", "mixed"],
)
def test_by_frequency_holds_the_ids_with_the_greatest_probabilities(laws: list[Popularity], entries: int) -> None:
    rows = [3, 50, 400, 900]
    of = list(zip(laws, rows, strict=True))
    probabilities = [np.diff([law.top_mass(n, size) for n in range(size + 1)]) for law, size in of]
    every = np.sort(np.concatenate(probabilities))[::-1]
    held = hot_entries(laws, rows, entries)
    # IDs that are never looked up are not held.
    assert sum(held) == min(entries, np.count_nonzero(every))
    gained = sum(law.top_mass(n, size) for (law, size), n in zip(of, held, strict=True))
    assert gained == pytest.approx(every[:entries].sum(), rel=1e-9)


def test_a_cache_with_room_for_all_holds_all() -> None:
    assert hot_entries([ZipfPopularity(1.0)] * 3, [3, 50, 400], 453) == (3, 50, 400)
    assert hot_entries([ZipfPopularity(1.0)] * 3, [3, 50, 400], 10**9, "evenly") == (3, 50, 400)


def test_evenly_gives_what_a_small_table_leaves_to_the_others() -> None:
    laws = [ZipfPopularity(1.0)] * 3
    assert hot_entries(laws, [400, 3, 50], 60, "evenly") == (29, 3, 28)
    assert hot_entries(laws, [400, 3, 50], 120, "evenly") == (67, 3, 50)


def test_uniform_ids_hit_in_the_proportion_of_the_memory(tmp_path: Path) -> None:
    cache = ", cache: {encoder: 9MB, sharing: evenly, popularity: {kind: uniform}}"
    cached = only_path(plan_text(tmp_path, MODELLED % cache)).cached
    assert cached is not None
    entries = 9_000_000 // (4 * 16 + 8)
    assert cached.entries == entries
    held = hot_entries([UniformPopularity()] * 26, DHE.dhe.rows, entries, "evenly")  # type: ignore[union-attr]
    shares = [n / rows for n, rows in zip(held, DHE.dhe.rows, strict=True)]  # type: ignore[union-attr]
    assert cached.hit_rate == pytest.approx(math.fsum(shares) / 26, rel=1e-12)


def test_zipf_hits_by_generalised_harmonic_numbers(tmp_path: Path) -> None:
    model = """\
model:
  name: small
  dlrm: {embedding_dim: 14, table_rows: [5000], bottom_mlp: [4, 14], top_mlp: [1], dhe: {k: 32, decoder: [16]}}
  representations: {dhe: {accuracy: {value: 0.8, evidence: assumed, source: a test}}}
"""
    text = MODELLED.replace("model: dlrm-kaggle\n", model) % (
        ", cache: {encoder: 6400B, popularity: {kind: zipf, exponent: 1.05}}"
    )
    cached = only_path(plan_text(tmp_path, text)).cached
    assert cached is not None
    # Entries of 14 x 4 + 8 bytes: 100 of them.
    powers = np.arange(1, 5001) ** -1.05
    assert cached.entries == 100
    assert cached.hit_rate == pytest.approx(powers[:100].sum() / powers.sum(), rel=1e-12)


def test_hits_and_mean_times_are_those_of_a_drawn_stream() -> None:
    # 400,000 IDs a feature; 5 standard errors on 6 figures: a false alarm in about 3e5 runs.
    rows, entries, size, queries = (30, 2000, 100_000), 700, 16, 25_000
    law = ZipfPopularity(1.05)
    held = hot_entries([law] * 3, rows, entries)
    rates = tuple(law.top_mass(n, count) for n, count in zip(held, rows, strict=True))
    generator = np.random.default_rng(11)
    misses = np.stack(
        [
            (law.draw(count, generator.random((queries, size))) >= n).sum(axis=1)
            for n, count in zip(held, rows, strict=True)
        ]
    )
    assert held[0] == 30 and misses[0].max() == 0
    for rate, missed in zip(rates, misses, strict=True):
        error = math.sqrt(rate * (1 - rate) / (size * queries))
        assert 1 - missed.mean() / size == pytest.approx(rate, abs=5 * error + 1e-12)
    # A stage of 300 ns and 90 ns a sample, in three equal parts for the features; a part without misses takes nothing.
    times = StageTimes({"decoder": (np.array([1, 64]), np.array([390.0, 300.0 + 64 * 90.0]))})
    taken = np.where(misses > 0, 100.0 + 30.0 * misses, 0.0).sum(axis=0)
    predicted = float(Misses(rates).mean_ns(times, "decoder", [size])[0])
    assert predicted == pytest.approx(taken.mean(), abs=5 * taken.std() / math.sqrt(queries))
    # What a mean leaves out: how much queries of one size differ, at most 1/(2 sqrt(IDs)) of the time at no hits.
    assert taken.std() < times.mean_at("decoder", size) / (2 * math.sqrt(3 * size))


@pytest.mark.parametrize("size", [1, 2, 16, 256, 1024, 4096])
def test_padded_batches_take_what_they_take_for_a_drawn_stream(size: int) -> None:
    """The batches of each of 300 queries, against one set of batches for their mean: within 4%."""
    rows = KAGGLE_ROWS
    held = hot_entries([ZipfPopularity(1.05)] * len(rows), rows, 27_777)
    rates = tuple(ZipfPopularity(1.05).top_mass(n, count) for n, count in zip(held, rows, strict=True))
    # Half a millisecond to begin with, and at 4,096 samples 11 ms, as an H200 takes for encoder and decoder.
    times = StageTimes({"decoder": (np.array([1, 64, 4096]), np.array([4.1e5, 5e5, 1.1e7]))})
    misses = np.random.default_rng(5).binomial(size, 1 - np.array(rates), size=(300, len(rows)))
    taken = [
        sum(
            float(times.mean_at("decoder", (last - first) * max(own[first:last]) / len(rows)))
            for first, last in padded_batches(own, SPARE_IDS_ON_GPU)
        )
        for own in misses.tolist()
    ]
    assert Misses(rates).batched_ns(times, "decoder", [size])[0] == pytest.approx(np.mean(taken), rel=0.04)


def test_a_batch_on_a_gpu_by_hand(measured: Path) -> None:
    # Uniform IDs, evenly shared: by the rows, every small feature is held whole, and the large ones in a part.
    on_gpu = measured_text(measured, SOME).replace("kind: cpu", "kind: gpu")
    path = only_path(plan_text(measured, on_gpu))
    assert path.cached is not None
    held = hot_entries([UniformPopularity()] * 26, KAGGLE_ROWS, 900_000_000 // 72, "evenly")
    missed = [1 - n / rows for n, rows in zip(held, KAGGLE_ROWS, strict=True)]
    first = next(feature for feature, rate in enumerate(missed) if rate > 0)
    assert first > 20
    # All misses of a query of 40 make one batch, as wide as the feature with most misses.
    samples = (26 - first) * 40 * max(missed) / 26
    # Encoder and decoder take 60 ns a sample between them, and 1600 ns are no work of theirs.
    assert table_of(path).mean_ns[1] == pytest.approx(1600 + 60 * samples, rel=1e-3)


def test_no_hits_change_no_stage_and_all_hits_leave_nothing() -> None:
    times = StageTimes({"encoder": (np.array([1, 8]), np.array([50.0, 90.0]))})
    assert Misses((0.0, 0.0)).mean_ns(times, "encoder", [1, 4, 8, 20]).tolist() == pytest.approx(
        times.mean_at("encoder", [1, 4, 8, 20]).tolist()
    )
    assert Misses((1.0, 1.0)).mean_ns(times, "encoder", [1, 100]).tolist() == [0.0, 0.0]
    # By hand: of four IDs 1, 2, 3 or 4 miss in 4, 6, 4 and 1 of 16 cases, and the time is no line in their number.
    bent = StageTimes({"encoder": (np.array([1, 2, 4]), np.array([100.0, 110.0, 200.0]))})
    by_hand = (4 * 100 + 6 * 110 + 4 * 155 + 1 * 200) / 16
    assert Misses((0.5,)).mean_ns(bent, "encoder", [4]).tolist() == pytest.approx([by_hand])
    # A feature that always hits takes its share of the stage away.
    assert Misses((1.0, 0.5, 0.5)).mean_ns(bent, "encoder", [4]).tolist() == pytest.approx([by_hand * 2 / 3])
    # Two IDs a feature and sample: a query of one sample has misses with 1 - 0.5^2, and 1 of 2 IDs on average.
    expected = 0.75 * times.mean_at("encoder", 0.5 / 0.75)
    assert Misses((0.5,), ids_per_feature=2).mean_ns(times, "encoder", [1])[0] == pytest.approx(expected)


# -- what is left of the service time ---------------------------------------------------------------------


def test_centroids_break_even_with_the_decoder_at_578() -> None:
    assert DHE.dhe is not None
    assert DHE.dhe.decoder_flops_per_id == 2 * (2048 * 512 + 512 * 256 + 256 * 16)
    assert centroid_flops_per_id(DHE.dhe, 577) < DHE.dhe.decoder_flops_per_id < centroid_flops_per_id(DHE.dhe, 579)


def test_a_modelled_path_is_the_roofline_stage_by_stage(tmp_path: Path) -> None:
    cache = ", cache: {encoder: 2MB, decoder_centroids: 256, popularity: {kind: zipf, exponent: 1.05}}"
    table = table_of(only_path(plan_text(tmp_path, MODELLED % cache)))
    assert DHE.dhe is not None
    roofline = find_device("gpu-v100").roofline
    assert roofline is not None
    changed = with_caches(DHE, encoder_bytes=2_000_000, centroids=256)
    law = ZipfPopularity(1.05)
    held = hot_entries([law] * 26, DHE.dhe.rows, 2_000_000 // 72)
    rates = [law.top_mass(n, rows) for n, rows in zip(held, DHE.dhe.rows, strict=True)]
    for size in (64, 1024):
        seconds = roofline_seconds(roofline, changed, size)
        assert seconds is not None
        left = 0.0
        for name in ("encoder", "decoder cache 256"):
            assert name in seconds and "decoder" not in seconds
            misses = np.arange(1, size + 1)
            takes = between(roofline, changed, name, misses)
            left += sum(float(binom.pmf(misses, size, 1 - rate) @ takes) for rate in rates) / 26
        rest = sum(value for name, value in seconds.items() if name not in ("encoder", "decoder cache 256"))
        assert table.mean_at(size) == pytest.approx((rest + left) * 1e9, abs=0.51)


def between(roofline: Roofline, changed: Representation, name: str, work: NDArray[np.int64]) -> NDArray[np.float64]:
    """The time of a stage, on the line between the sizes of the roofline's grid around each amount of work."""
    parts = [roofline_seconds(roofline, changed, size) for size in GRID]
    return np.interp(work, np.array(GRID), [part[name] for part in parts if part is not None])


def test_caches_that_hold_everything_leave_the_rest_and_the_look_up(tmp_path: Path) -> None:
    plain = table_of(only_path(plan_text(tmp_path, MODELLED % "")))
    full = only_path(
        plan_text(tmp_path, MODELLED % ", cache: {encoder: 3GB, popularity: {kind: zipf, exponent: 1.05}}")
    )
    assert full.cached is not None and full.cached.hit_rate == 1.0
    roofline = find_device("gpu-v100").roofline
    assert roofline is not None
    seconds = roofline_seconds(roofline, with_caches(DHE, encoder_bytes=3 * 10**9), 128)
    assert seconds is not None
    rest = sum(value for name, value in seconds.items() if name not in ("encoder", "decoder"))
    assert table_of(full).mean_at(128) == pytest.approx(rest * 1e9, abs=1.0)
    assert table_of(full).mean_at(128) < 0.5 * plain.mean_at(128)


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """A folder with a measured profile: 1000 and 4000 ns at the median, 600 and 2400 of them in the two stages."""
    (tmp_path / "dhe.csv").write_text("size,0.0,1.0\n10,500,1500\n40,2000,6000\n")
    (tmp_path / "stages.csv").write_text(
        "stage,size,mean_ns\nencoder,10,200\nencoder,40,800\ndecoder,10,400\ndecoder,40,1600\n"
    )
    return tmp_path


SOME = ", cache: {encoder: 900MB, sharing: evenly, popularity: {kind: uniform}}"


def measured_text(folder: Path, cache: str, stages: str | None = None) -> str:
    if stages is not None:
        (folder / "stages.csv").write_text(stages)
    files = f"table: {folder / 'dhe.csv'}, stages: {folder / 'stages.csv'}"
    service = "service: {dlrm-kaggle: {dhe: {" + files + "}}}"
    profile = "{name: m, kind: cpu, evidence: measured, memory: 32GB, provenance: {source: a test}, " + service + "}"
    return (
        MODELLED.replace("gpu: {profile: gpu-v100, memory: 32GB%s}", "gpu: {profile: " + profile + cache + "}")
        .replace("size: 128", "size: 20")
        .replace("kind: fastest", "kind: static, representation: dhe")
    )


def test_a_measured_path_by_hand(measured: Path) -> None:
    # Every ID fits: encoder and decoder, 600 of 1000 ns and 2400 of 4000, are saved at every quantile.
    cache = ", cache: {encoder: 3GB, popularity: {kind: uniform}}"
    path = only_path(plan_text(measured, measured_text(measured, cache)))
    assert table_of(path).service_ns == pytest.approx(np.array([[200.0, 600.0], [800.0, 2400.0]]))
    assert table_of(path).evidence == "modelled"
    # The decoder alone, by its FLOPs: 289 centroids take half of what it takes, 200 of 400 ns and 800 of 1600.
    half = 2 * 289 * 2048 / DHE.dhe.decoder_flops_per_id  # type: ignore[union-attr]
    path = only_path(plan_text(measured, measured_text(measured, ", cache: {decoder_centroids: 289}")))
    factor = 1 - 0.4 * (1 - half)
    assert table_of(path).service_ns == pytest.approx(factor * np.array([[500.0, 1500.0], [2000.0, 6000.0]]))


def test_measured_stages_of_the_caches_are_taken_where_they_are(measured: Path) -> None:
    stages = (measured / "stages.csv").read_text()
    for name, ns in (("encoder cache", 50), ("decoder cache 64", 100), ("decoder cache 128", 300)):
        stages += f"{name},10,{ns}\n{name},40,{4 * ns}\n"
    cache = ", cache: {encoder: 3GB, decoder_centroids: 64, popularity: {kind: uniform}}"
    path = only_path(plan_text(measured, measured_text(measured, cache, stages)))
    # All hit: 600 saved, 50 spent.
    assert table_of(path).service_ns[0] == pytest.approx([0.45 * 500, 0.45 * 1500])
    cache = ", cache: {decoder_centroids: 64}"
    path = only_path(plan_text(measured, measured_text(measured, cache)))
    # 400 of the decoder saved, 100 spent.
    assert table_of(path).service_ns[0] == pytest.approx([0.7 * 500, 0.7 * 1500])
    assert path.cached is not None and path.cached.notes == ()


def test_misses_are_worked_on_feature_by_feature_where_that_was_measured(measured: Path) -> None:
    # Twice as slow by feature. Of 1000 and 4000 ns, 400 and 1600 are no work of encoder and decoder.
    stages = (measured / "stages.csv").read_text()
    batched = only_path(plan_text(measured, measured_text(measured, SOME, stages)))
    stages += "encoder by feature,10,400\nencoder by feature,40,1600\n"
    stages += "decoder by feature,10,800\ndecoder by feature,40,3200\n"
    apart = only_path(plan_text(measured, measured_text(measured, SOME, stages)))
    together, by_itself = (table_of(path).mean_ns - np.array([400.0, 1600.0]) for path in (batched, apart))
    assert np.all(together > 0)
    assert by_itself == pytest.approx(2 * together)
    # Without an encoder cache nothing is missed, and all features are worked on together.
    cache = ", cache: {decoder_centroids: 289}"
    path = only_path(plan_text(measured, measured_text(measured, cache, stages)))
    half = 2 * 289 * 2048 / DHE.dhe.decoder_flops_per_id  # type: ignore[union-attr]
    assert table_of(path).service_ns[0] == pytest.approx((1 - 0.4 * (1 - half)) * np.array([500.0, 1500.0]))


def test_the_rest_takes_what_it_takes_behind_the_caches_where_that_was_measured(measured: Path) -> None:
    stages = (measured / "stages.csv").read_text() + "".join(
        f"{name},10,{ns}\n{name},40,{4 * ns}\n"
        for name, ns in (("table", 30), ("top MLP", 70), ("rest behind caches", 60))
    )
    cache = ", cache: {encoder: 3GB, popularity: {kind: uniform}}"
    path = only_path(plan_text(measured, measured_text(measured, cache, stages)))
    # Nothing is left of 600 ns of encoder and decoder, and 60 of the 100 of all else.
    left = 60 / 700
    assert table_of(path).service_ns[0] == pytest.approx([left * 500, left * 1500])


def test_loading_the_data_is_not_what_a_cache_saves(measured: Path) -> None:
    (measured / "loaded.csv").write_text("size,0.0,1.0\n10,1000,3000\n40,4000,12000\n")
    cache = ", data_loading: true, cache: {encoder: 3GB, popularity: {kind: uniform}}"
    text = measured_text(measured, cache).replace("stages: ", f"data_loading: {measured / 'loaded.csv'}, stages: ")
    # 600 of 2000 ns are saved.
    assert table_of(only_path(plan_text(measured, text))).service_ns[0] == pytest.approx([700.0, 2100.0])


def test_stages_that_take_longer_than_the_table_are_an_error(measured: Path) -> None:
    stages = "stage,size,mean_ns\nencoder,10,700\nencoder,40,800\ndecoder,10,400\ndecoder,40,1600\n"
    text = measured_text(measured, ", cache: {encoder: 3GB, popularity: {kind: uniform}}", stages)
    with pytest.raises(SpecError, match="at size 10 it would save more than the whole service time of dhe"):
        plan_text(measured, text)


# -- memory and accuracy ----------------------------------------------------------------------------------


def test_caches_take_memory_and_the_mapping_sees_it(tmp_path: Path) -> None:
    assert DHE.dhe is not None and DHE.bytes is not None
    assert entry_bytes(DHE.dhe) == 72
    assert centroid_bytes(DHE.dhe, 256) == 26 * 256 * (2048 + 16) * 4
    text = MODELLED.replace("mapping: {kind: explicit, devices: {gpu: [dhe]}}\n", "").replace("32GB", "200MB")
    held = [path.representation for path in plan_text(tmp_path, text % "").mapped]
    assert "dhe" in held
    with_cache = plan_text(tmp_path, text % ", cache: {encoder: 80MB, popularity: {kind: uniform}}")
    # 126 MB and 80 MB do not fit 200 MB; select, 62 MB with as much, does.
    assert [path.representation for path in with_cache.mapped] == ["select"]


def test_centroids_cost_accuracy_and_the_mapping_sees_it(tmp_path: Path) -> None:
    text = MODELLED.replace("devices: {gpu: [dhe]}", "devices: {gpu: [dhe, table]}")
    plain = plan_text(tmp_path, text % "")
    assert [path.representation for path in plain.mapped] == ["dhe", "table"]
    costly = plan_text(tmp_path, text % ", cache: {decoder_centroids: 16, decoder_accuracy_cost: 1%}")
    assert [path.representation for path in costly.mapped] == ["table", "dhe"]
    assert costly.mapped[1].accuracy == pytest.approx(0.7894 - 0.01)
    assert any("takes 1 points off the accuracy" in line for line in costly.assumptions)
    free = plan_text(tmp_path, text % ", cache: {decoder_centroids: 16}")
    assert free.mapped[0].accuracy == 0.7894
    assert any("is assumed to cost no accuracy" in line for line in free.assumptions)


def test_paths_without_a_deep_hash_embedding_stay_as_they_are(tmp_path: Path) -> None:
    text = MODELLED.replace("devices: {gpu: [dhe]}", "devices: {gpu: [hybrid, select, table]}")
    cache = ", cache: {encoder: 2MB, popularity: {kind: zipf, exponent: 1.05}}"
    plain = {path.representation: path for path in plan_text(tmp_path, text % "").mapped}
    cached = {path.representation: path for path in plan_text(tmp_path, text % cache).mapped}
    assert cached["table"].cached is None
    assert np.array_equal(table_of(cached["table"]).service_ns, table_of(plain["table"]).service_ns)
    for name in ("hybrid", "select"):
        assert table_of(cached[name]).mean_at(256) < table_of(plain[name]).mean_at(256)
    # Select caches its five largest features only, which are hit less often than small ones.
    assert cached["select"].cached is not None and cached["hybrid"].cached is not None
    assert cached["select"].cached.hit_rate < cached["hybrid"].cached.hit_rate


# -- the whole chain --------------------------------------------------------------------------------------


def test_both_engines_serve_a_cached_path_alike(tmp_path: Path) -> None:
    cache = ", cache: {encoder: 2MB, decoder_centroids: 256, popularity: {kind: zipf, exponent: 1.05}}"
    text = MODELLED.replace("devices: {gpu: [dhe]}", "devices: {gpu: [dhe, table]}").replace("fastest", "mp-rec")
    (scenario,) = prepare_text(tmp_path, text % cache)
    one = run_record(scenario, 0, engine=Engine.REFERENCE)
    assert differences(one, run_record(scenario, 0, engine=Engine.COMPILED)) == []


def test_a_measured_stream_of_ids_is_found_and_counts_for_the_hash(tmp_path: Path) -> None:
    lines = [f"{feature},{one}" for feature in range(26) for one in (0, 0, 1, 0, 0, 2)]
    (tmp_path / "ids.csv").write_text("feature,id\n" + "\n".join(lines) + "\n")
    text = MODELLED % ", cache: {encoder: 1872B, popularity: {kind: stream, file: ids.csv}}"
    (scenario,) = prepare_text(tmp_path, text)
    # 26 entries: ID 0 of every feature; in the second half it is 2 of 3 look-ups.
    (path,) = plan_text(tmp_path, text).eligible
    assert path.cached is not None and path.cached.hit_rate == pytest.approx(2 / 3)
    before = scenario.profiles["IDs of gpu"]["content_hash"]
    (tmp_path / "ids.csv").write_text("feature,id\n" + "\n".join(lines) + "\n0,0\n")
    (again,) = prepare_text(tmp_path, text)
    assert again.profiles["IDs of gpu"]["content_hash"] != before
    # The resolved experiment lies in the run directory, and finds the file from there.
    resolved = resolved_experiment(load_scenarios(str(tmp_path / "experiment.yaml")))
    assert f"file: {tmp_path.resolve() / 'ids.csv'}" in resolved


@pytest.mark.parametrize(
    ("device", "size", "expected"),
    [("gpu-v100", 1, 0.020), ("gpu-v100", 128, 0.0032), ("cpu-broadwell", 1, 0.13), ("cpu-broadwell", 128, 0.022)],
)
def test_how_much_queries_of_one_size_differ_is_what_the_documentation_says(
    device: str, size: int, expected: float
) -> None:
    # 20,000 queries: the standard deviation is known to 0.5%, and the figures are rounded by up to 4%.
    assert DHE.dhe is not None
    roofline = find_device(device).roofline
    assert roofline is not None
    changed = with_caches(DHE, encoder_bytes=2_000_000)
    law = ZipfPopularity(1.05)
    held = hot_entries([law] * 26, DHE.dhe.rows, 2_000_000 // 72)
    rates = np.array([law.top_mass(n, rows) for n, rows in zip(held, DHE.dhe.rows, strict=True)])
    misses = np.random.default_rng(3).binomial(size, 1 - rates[:, None], size=(26, 20_000))
    parts = [seconds for n in GRID if (seconds := roofline_seconds(roofline, changed, n)) is not None]
    times = StageTimes(
        {name: (np.array(GRID), np.array([part[name] for part in parts])) for name in ("encoder", "decoder")}
    )
    whole = roofline_seconds(roofline, changed, size)
    assert whole is not None
    taken = np.full(20_000, sum(value for name, value in whole.items() if name not in times.stages))
    for name in times.stages:
        taken += np.where(misses > 0, times.mean_at(name, np.maximum(misses, 1)), 0.0).sum(axis=0) / 26
    assert taken.std() / taken.mean() == pytest.approx(expected, rel=0.07)
    # And the mean is that of the composed table, to 5 standard errors of the draws and what a bent line may differ.
    composed = sum(float(Misses(tuple(rates)).mean_ns(times, name, [size])[0]) for name in times.stages)
    composed += sum(value for name, value in whole.items() if name not in times.stages)
    assert composed == pytest.approx(taken.mean(), abs=5 * taken.std() / math.sqrt(20_000), rel=0.002)
