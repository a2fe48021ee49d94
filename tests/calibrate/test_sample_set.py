"""The common form of service-time samples: exactly back from its file, and every bad row by its line."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import pytest

from sim.calibrate.sample_set import SampleKey, SampleSet, parse_sample_csv, read_sample_csv, write_sample_csv
from sim.spec.problems import SpecError

SAMPLES = SampleSet(
    {
        SampleKey("m", "table", "total", 2, 1): np.array([30, 10, 20]),
        SampleKey("m", "table", "total", 2, 0): np.array([5]),
        SampleKey("m", "table", "bottom MLP", 2, 0): np.array([3]),
        SampleKey("m, large", "dhe", "total", 1, 0): np.array([7, 8]),
    },
    {"device": "cpu", "host": "two words: and a colon"},
)

HEADER = "model,representation,stage,size,block,service_ns\n"


@pytest.mark.parametrize("name", ["s.csv", "s.csv.xz"])
def test_a_file_gives_the_samples_back(tmp_path: Path, name: str) -> None:
    read = read_sample_csv(write_sample_csv(tmp_path / "new" / name, SAMPLES))
    assert read.about == SAMPLES.about
    assert list(read.cells) == list(SAMPLES.cells)
    assert all(np.array_equal(read.cells[key], cell) for key, cell in SAMPLES.cells.items())
    assert len(read.sha256) == 64


def test_what_a_set_holds() -> None:
    assert SAMPLES.pairs() == (("m", "table"), ("m, large", "dhe"))
    assert SAMPLES.stages("m", "table") == ("total", "bottom MLP")
    assert SAMPLES.service_ns("m", "table", 2).tolist() == [5, 30, 10, 20]
    assert SAMPLES.service_ns("m", "table", 3).tolist() == []
    assert (SAMPLES.samples(), SAMPLES.samples("bottom MLP")) == (6, 1)


def test_sets_are_joined_without_mixing_blocks() -> None:
    both = SampleSet.joined([SAMPLES, SAMPLES.with_about(device="gpu")])
    assert both.blocks("m", "table", 2) == (0, 1, 2, 3)
    assert both.service_ns("m", "table", 2).tolist() == [5, 30, 10, 20] * 2
    assert both.about["device"] == "cpu; gpu"
    assert both.about["host"] == SAMPLES.about["host"]


def test_bad_rows_are_told_by_line() -> None:
    text = (
        "# device: cpu\n"
        + HEADER
        + "m,table,total,4,0,12\n"
        + "m,table,total,4,0,-12\n"
        + "m,table,botom MLP,4,0,12\n"
        + "m,table,total,4,0\n"
        + "m,table,total,0,x,1.5\n"
    )
    with pytest.raises(SpecError) as caught:
        parse_sample_csv(text, "s.csv")
    assert [(p.position.line, p.position.column) for p in caught.value.problems if p.position] == [
        (4, 19),
        (5, 9),
        (6, 1),
        (7, 15),
        (7, 17),
        (7, 19),
    ]
    assert caught.value.problems[1].nearest == "bottom MLP"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: not the columns"),
        (HEADER, "1:1: a header but no samples"),
        (HEADER + "m,t,total,1,0,12\nm,t,total,1,0,1", "3:1: the last line has no end"),
        ("model,service_ns\n", "1:1: not the columns"),
    ],
)
def test_files_that_are_none(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_sample_csv(text, "s.csv")


def test_a_packed_file_that_is_cut_off(tmp_path: Path) -> None:
    (tmp_path / "s.csv.xz").write_bytes(lzma.compress(b"a" * 1000)[:60])
    with pytest.raises(SpecError, match="damaged or cut off"):
        read_sample_csv(tmp_path / "s.csv.xz")
