"""Stage files: read back exactly, and every mistake told by line and column."""

from __future__ import annotations

import numpy as np
import pytest

from sim.profile.stage_file import format_stage_csv, parse_stage_csv
from sim.profile.stage_times import StageTimes
from sim.spec.problems import SpecError

ROWS = [
    ("decoder", 1, 200.0),
    ("encoder", 4, 90.5),
    ("decoder cache 256 by feature", 1, 60.0),
    ("encoder", 1, 30.0),
    ("decoder cache 256", 1, 50.0),
]


def test_what_is_written_is_read_back() -> None:
    text = format_stage_csv(ROWS)
    assert text.splitlines() == [
        "stage,size,mean_ns",
        "encoder,1,30.0",
        "encoder,4,90.5",
        "decoder,1,200.0",
        "decoder cache 256,1,50.0",
        "decoder cache 256 by feature,1,60.0",
    ]
    times = parse_stage_csv(b"# measured\n" + text.encode(), "stages.csv")
    assert times.stages == ("encoder", "decoder", "decoder cache 256", "decoder cache 256 by feature")
    assert times.bounds("encoder") == (1, 4)
    assert times.mean_at("encoder", [1, 4]).tolist() == [30.0, 90.5]


def test_times_follow_their_line_between_sizes_and_beyond() -> None:
    times = StageTimes({"encoder": (np.array([2, 4, 8]), np.array([10.0, 30.0, 70.0]))})
    # 10 per sample: at 1 the line of the first segment is at 0, and it goes no lower; 10 more per sample behind 8.
    assert times.mean_at("encoder", [0.5, 1.0, 1.5, 3.0, 9.5]).tolist() == [0.0, 0.0, 5.0, 20.0, 85.0]
    one = StageTimes({"encoder": (np.array([16]), np.array([10.0]))})
    assert one.mean_at("encoder", [1, 100]).tolist() == [10.0, 10.0]
    falling = StageTimes({"encoder": (np.array([1, 2]), np.array([10.0, 9.0]))})
    assert falling.mean_at("encoder", [0.0, 50.0]).tolist() == [10.0, 9.0]


@pytest.mark.parametrize(
    ("line", "column", "message", "value"),
    [
        ("encodr,1,5", 1, "unknown stage", "encodr"),
        ("encoder,0,5", 9, "not a query size", "0"),
        ("encoder, 1.5,5", 9, "not a query size", "1.5"),
        ("encoder,3,5", 9, "sizes of encoder must increase, 3 follows 4", "3"),
        ("encoder,16,-1", 12, "not a mean time", "-1"),
        ("encoder,16,nan", 12, "not a mean time", "nan"),
        ("encoder,16", 1, "2 columns, the header has 3", "encoder,16"),
        ("decoder cache 0,16,1", 1, "unknown stage", "decoder cache 0"),
    ],
)
def test_mistakes_are_told_by_line_and_column(line: str, column: int, message: str, value: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_stage_csv(f"stage,size,mean_ns\nencoder,4,20\n{line}\nencoder,32,40\n".encode(), "s.csv")
    (problem,) = caught.value.problems
    assert problem.position is not None
    assert (problem.position.file, problem.position.line, problem.position.column) == ("s.csv", 3, column)
    assert (problem.message, problem.value) == (message, value)


@pytest.mark.parametrize("content", [b"", b"size,stage,mean_ns\n", b"stage,size,mean_ns\n", b"\xff\xfe"])
def test_files_without_rows_or_header(content: bytes) -> None:
    with pytest.raises(SpecError):
        parse_stage_csv(content, "s.csv")


def test_what_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="unknown stage 'total'"):
        format_stage_csv([("total", 1, 3.0)])
    with pytest.raises(ValueError, match="comes twice"):
        format_stage_csv([("encoder", 1, 3.0), ("encoder", 1, 4.0)])
    with pytest.raises(ValueError, match="not negative"):
        format_stage_csv([("encoder", 1, -3.0)])
