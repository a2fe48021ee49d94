"""The effect of a cache as it is composed, against one that was measured: hand-worked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sim.calibrate.about_samples import measured_notes
from sim.calibrate.cache_effect import cache_effects, effect_lines
from sim.profile.device import Device
from sim.profile.library import load_device, load_model
from sim.profile.model import Model
from sim.spec.problems import SpecError

MODEL = """\
name: m
dlrm:
  embedding_dim: 8
  table_rows: [10, 20]
  bottom_mlp: [4, 8]
  top_mlp: [1]
  dhe: {k: 4, decoder: [8]}
representations:
  table: {accuracy: {value: 78%, evidence: assumed}}
  dhe: {accuracy: {value: 79%, evidence: assumed}}
"""
DEVICE = """\
evidence: measured
provenance: {source: by hand}
service:
  m:
    table: {table: NAME.csv}
    dhe: {table: NAME.csv, stages: stages.csv}
"""
ALL_HELD = "{encoder: 1MB, popularity: {kind: uniform}}"


@pytest.fixture(name="parts")
def _parts(tmp_path: Path) -> tuple[Device, Device, Model]:
    """Without the cache 1000 and 2000 ns, of which encoder and decoder 600 and 1500; with it 440 and 600."""
    (tmp_path / "m.yaml").write_text(MODEL)
    (tmp_path / "stages.csv").write_text(
        "stage,size,mean_ns\nencoder,1,400\nencoder,8,1000\nencoder,16,1800\ndecoder,1,200\ndecoder,8,500\ndecoder,16,900\n"
    )
    for name, rows in (("plain", "1,1000\n8,2000"), ("cached", "1,440\n8,600\n16,700")):
        (tmp_path / f"{name}.csv").write_text(f"size,0.5\n{rows}\n")
        (tmp_path / f"{name}.yaml").write_text(DEVICE.replace("NAME", name))
    plain, cached = (load_device(tmp_path / f"{name}.yaml") for name in ("plain", "cached"))
    return plain, cached, load_model(tmp_path / "m.yaml")


def test_what_is_saved_is_predicted_and_held_against_the_measurement(parts: tuple[Device, Device, Model]) -> None:
    plain, cached, model = parts
    # Nothing to cache in a table; every ID of the 30 is held.
    (effect,) = cache_effects(plain, cached, [model], ALL_HELD)
    assert (effect.representation, effect.hit_rate) == ("dhe", 1.0)
    assert effect.sizes.tolist() == [1, 8]
    assert effect.predicted == pytest.approx([0.4, 0.25])
    assert effect.measured == pytest.approx([0.44, 0.3])
    assert effect.errors == pytest.approx([0.4 / 0.44 - 1, 0.25 / 0.3 - 1])
    lines = effect_lines([effect])
    assert lines[0] == "m, dhe: hit rate 100.0%"
    assert "encoder cache is taken to cost nothing" in lines[1]
    assert lines[3].split() == ["1", "0.400", "0.440", "-9.1%"]
    assert lines[-1].endswith("1 of 2 predicted within 10%; error 12.9% in the median, 16.7% at worst")


def test_what_cannot_be_compared_is_told(parts: tuple[Device, Device, Model]) -> None:
    plain, cached, model = parts
    with pytest.raises(SpecError, match="no representation in common"):
        cache_effects(plain, cached, [], ALL_HELD)
    with pytest.raises(SpecError, match=r"--cache:1:\d+: encodr: unknown key.*did you mean 'encoder'"):
        cache_effects(plain, cached, [model], "{encodr: 1MB}")
    with pytest.raises(SpecError, match="holds no entry"):
        cache_effects(plain, cached, [model], "{encoder: 8B, popularity: {kind: uniform}}")
    assert np.all(plain.service(model, "dhe").mean_at([1, 8]) == [1000, 2000])  # type: ignore[union-attr]


def test_a_comparison_that_the_notes_contradict_is_refused(parts: tuple[Device, Device, Model]) -> None:
    plain, cached, model = parts
    other = {"waiting": "back-to-back", "load": "1", "threads": "1", "interference": "0 of 10 blocks set aside"}
    asked = "{encoder: 1.5MB, decoder_centroids: 4, popularity: {kind: zipf, exponent: 1.05}}"
    told = "encoder=1500kB, decoder=4"

    def refused(first: Device, second: Device) -> list[str]:
        with pytest.raises(SpecError) as caught:
            cache_effects(first, second, [], asked)
        return [str(problem) for problem in caught.value.problems]

    def said(device: Device, ids: str, cache: str) -> Device:
        notes = measured_notes({"ids": ids, "cache": cache, **other})
        return replace(device, provenance=f"source: s\nnotes: {' '.join(notes)}")

    assert refused(plain, plain) == ["plain and plain are one profile: there is no effect to measure"]
    assert refused(said(plain, "zipf:1.05", told), said(cached, "zipf:1.05", "none")) == [
        f"plain was measured with MP-Cache: {told}; one without is compared",
        "cached was measured with MP-Cache: none; --cache says another",
    ]
    assert refused(plain, said(cached, "uniform", "encoder=1.5MB")) == [
        "cached was measured with MP-Cache: encoder=1.5MB; --cache says another",
        "cached was measured with IDs drawn by uniform; --cache says another popularity",
    ]
    # What agrees, and what cannot be compared, is no contradiction: only the models are missing.
    for cache in (told, "decoder=4,encoder=1.5MB", "of our own"):
        (problem,) = refused(said(plain, "zipf:1.05", "none"), said(cached, "zipf:1.05", cache))
        assert "no representation in common" in problem
    with_notes = (said(plain, "uniform", "none"), said(cached, "uniform", "encoder=1MB"))
    assert len(cache_effects(*with_notes, [model], ALL_HELD)) == 1
