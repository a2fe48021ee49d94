"""Caches that are impossible, or that could never act, are told before anything runs, at their place in the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.spec.problems import SpecError
from sim.study.planning import plan_scenarios
from sim.study.scenario import load_scenarios
from tests.harness import prepare_text

GOOD = """\
name: t
model: dlrm-kaggle
sla: 10ms
workload: {arrivals: {kind: poisson, rate: 100/s}, sizes: {kind: fixed, size: 100}, queries: 10}
policy: {kind: fastest}
fleet:
  - name: n
    devices:
      gpu:
        profile: gpu-v100
        cache: """
ZIPF = "popularity: {kind: zipf, exponent: 1}"


@pytest.mark.parametrize(
    ("cache", "expected"),
    [
        ("{}", "11:16: fleet[0].devices.gpu.cache: a cache without encoder and decoder_centroids does nothing"),
        ("{encoder: 2MB}", "11:16: fleet[0].devices.gpu.cache: the hit rate of encoder needs popularity"),
        (
            "{decoder_centroids: 9, popularity: {kind: uniform}}",
            "11:51: fleet[0].devices.gpu.cache.popularity: has no effect without encoder",
        ),
        (
            "{decoder_centroids: 9, sharing: evenly}",
            "11:48: fleet[0].devices.gpu.cache.sharing: has no effect without encoder",
        ),
        (
            f"{{encoder: 2MB, decoder_accuracy_cost: 0.1%, {ZIPF}}}",
            "11:54: fleet[0].devices.gpu.cache.decoder_accuracy_cost: has no effect without decoder_centroids",
        ),
        (
            "{decoder_centroids: 9, decoder_accuracy_cost: -1%}",
            "11:62: fleet[0].devices.gpu.cache.decoder_accuracy_cost: a fraction has to be at least 0",
        ),
        (
            "{decoder_centroids: 0}",
            "11:36: fleet[0].devices.gpu.cache.decoder_centroids: has to be at least 1 (got 0)",
        ),
        (
            "{encoder: 2MB, popularity: {kind: zipff, exponent: 1}}",
            "11:50: fleet[0].devices.gpu.cache.popularity.kind: not one of the known names (got 'zipff'; allowed: "
            "uniform, zipf, counts, stream); did you mean 'zipf'?",
        ),
        (
            "{encoder: 2MB, popularity: {kind: zipf, exponent: -1}}",
            "11:66: fleet[0].devices.gpu.cache.popularity.exponent: has to be at least 0.0 (got -1)",
        ),
        (
            f"{{encodr: 2MB, {ZIPF}}}",
            "11:17: fleet[0].devices.gpu.cache.encodr: unknown key (allowed: encoder, popularity, sharing, "
            "decoder_centroids, decoder_accuracy_cost); did you mean 'encoder'?",
        ),
        (
            f"{{encoder: 71B, {ZIPF}}}",
            "11:26: fleet[0].devices.gpu.cache.encoder: holds no entry (got '71B'; allowed: at least 72 bytes, which "
            "one takes)",
        ),
        (
            "{encoder: 2MB, popularity: {kind: counts, file: none.csv}}",
            "11:64: fleet[0].devices.gpu.cache.popularity.file: no such file of IDs beside the experiment file or in "
            "the working directory (got 'none.csv')",
        ),
        (
            "{encoder: 2MB, popularity: {kind: counts, file: few.csv}}",
            "11:64: fleet[0].devices.gpu.cache.popularity.file: has nothing for the features 2, 3, 4, 5, 6, 7, 8, 9 "
            "and others (from 0, in the order of table_rows)",
        ),
        (
            "{decoder_centroids: 9, decoder_accuracy_cost: 90%}",
            "11:62: fleet[0].devices.gpu.cache.decoder_accuracy_cost: more than the accuracy of dhe, 78.94%",
        ),
    ],
)
def test_message(cache: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "few.csv").write_text("feature,id,count\n0,1,5\n1,7,5\n")
    with pytest.raises(SpecError) as error:
        prepare_text(tmp_path, GOOD + cache + "\n")
    assert expected in str(error.value)
    # The same is told by `mprec validate`, which does not prepare.
    with pytest.raises(SpecError) as error:
        plan_scenarios(load_scenarios(str(tmp_path / "experiment.yaml")))
    assert expected in str(error.value)


def test_a_bad_line_of_a_file_is_told_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "ids.csv").write_text("id,count\n4,1\n5,many\n")
    with pytest.raises(SpecError) as error:
        prepare_text(tmp_path, GOOD + "{encoder: 2MB, popularity: {kind: counts, file: ids.csv}}\n")
    assert f"{tmp_path / 'ids.csv'}:3:1: count: not a number of look-ups of at least 0 (got 'many')" in str(error.value)


@pytest.mark.parametrize(
    ("model", "profile", "expected"),
    [
        ("rm2", "kairos-g4dn.xlarge", "kairos-g4dn.xlarge serves no representation with a deep hash embedding"),
        (
            "dlrm-kaggle",
            "{kind: cpu, service: {dlrm-kaggle: {dhe: {sizes: [1, 200], service: [[1ms], [2ms]]}}}}",
            "profile n/gpu has no times of the encoder and the decoder of dhe (allowed: a profile with stages: "
            "FILE.csv beside table: FILE.csv, or with a roofline)",
        ),
        (
            "dlrm-kaggle",
            "{kind: cpu, service: {dlrm-kaggle: {table: {sizes: [1, 200], service: [[1ms], [2ms]]}}}}",
            "serves no representation with a deep hash embedding (allowed: dhe, select or hybrid of a model with a "
            "dlrm shape)",
        ),
    ],
)
def test_a_cache_with_nothing_to_cache(model: str, profile: str, expected: str, tmp_path: Path) -> None:
    text = GOOD.replace("dlrm-kaggle", model).replace("gpu-v100", profile)
    with pytest.raises(SpecError) as error:
        prepare_text(tmp_path, text + f"{{encoder: 2MB, {ZIPF}}}\n")
    assert "11:16: fleet[0].devices.gpu.cache: " in str(error.value)
    assert expected in str(error.value)


def test_a_cache_that_the_mapping_leaves_without_a_path_is_told(tmp_path: Path) -> None:
    text = GOOD + f"{{encoder: 2MB, {ZIPF}}}\nmapping: {{kind: explicit, devices: {{gpu: [table]}}}}\n"
    (scenario,) = prepare_text(tmp_path, text)
    assert "the cache of gpu serves nothing: no path with a deep hash embedding is mapped there" in scenario.assumptions
