"""Other tools' files: what comes out of a good one, and where a bad one is bad."""

from __future__ import annotations

import lzma
import pickle
import re
import sys
from pathlib import Path
from typing import Literal

import pytest

from sim.calibrate.fitted_device import devices_in
from sim.calibrate.imported_runs import with_origin
from sim.calibrate.sources.choices import Choices
from sim.calibrate.sources.columns import column_unit, percentile_level
from sim.calibrate.sources.percentile_rows import percentile_tables
from sim.calibrate.sources.reading import Imported, detect_format, read_runs
from sim.cli.main import run_command
from sim.spec.problems import SpecError
from tests.calibrate.loadgen_logs import LATENCIES, detail_log, summary_log

PERF_ANALYZER = (
    "Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,Server Compute Input,"
    "Server Compute Infer,Server Compute Output,Client Recv,p50 latency,p90 latency,p95 latency,p99 latency\n"
    "4,9000,20,100,900,10,300,5,1,1300,1400,1500,1900\n"
    "1,3000,20,100,10,10,300,5,1,440,450,460,480\n"
)
KAIROS = (
    "kind,instance,model,batch,sample,latency_ms\n"
    "compute,g4dn.xlarge,rm2,10,1,2.5\n"
    "compute,g4dn.xlarge,rm2,10,0,9.0\n"
    "compute,g4dn.xlarge,rm2,10,2,3.5\n"
    "data_loading,g4dn.xlarge,rm2,10,0,1.0\n"
    "compute,r5n.large,rm2,10,0,7.0\n"
    "compute,r5n.large,resnet,10,0,7.0\n"
)
LEVELS_NS = {round(float(name) / 100, 4): value for name, value in LATENCIES.items()}


def read(tmp_path: Path, text: str, name: str = "runs.csv", size: int | None = None, **choices: object) -> Imported:
    file = tmp_path / name
    file.write_text(text)
    return read_runs([file], Choices(**choices), sizes=() if size is None else (size,))  # type: ignore[arg-type]


def problems(
    tmp_path: Path, text: str, name: str = "runs.csv", size: int | None = None, **choices: object
) -> list[str]:
    with pytest.raises(SpecError) as caught:
        read(tmp_path, text, name, size, **choices)
    return [str(problem).removeprefix(f"{tmp_path / name}:") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("name", "level", "unit"),
    [
        ("p50", 0.5, None),
        ("p99 latency (ms)", 0.99, "ms"),
        ("p999_ns", 0.999, "ns"),
        ("95th percentile", 0.95, None),
        ("q0.5", 0.5, None),
        ("Max latency (ns)", 1.0, "ns"),
        ("min_us", 0.0, "us"),
        ("median_ms", 0.5, "ms"),
        ("Median latency", 0.5, None),
        ("mean_ms", None, "ms"),
        ("latency_usec", None, "us"),
        ("samples", None, None),
        ("parts", None, None),
        ("stop 50", None, None),
    ],
)
def test_columns_are_known_by_their_names(name: str, level: float | None, unit: str | None) -> None:
    assert (percentile_level(name), column_unit(name)) == (level, unit)


def test_samples_with_names_and_units_found(tmp_path: Path) -> None:
    text = "# host: two cores\nBatch,latency_ms,repeat\n8,2.5,1\n8,1.25,0\n16,4e0,0\n"
    found = read(tmp_path, text, "mine.csv", model="m")
    assert found.formats == ["samples"]
    samples = found.samples["mine"]
    assert samples.service_ns("m", "table", 8).tolist() == [1_250_000, 2_500_000]
    assert samples.service_ns("m", "table", 16).tolist() == [4_000_000]
    assert samples.about == {"host": "two cores", "device": "mine"}


def test_runs_that_number_their_repeats_alike_are_blocks(tmp_path: Path) -> None:
    text = "size,latency_ms,iteration,run\n8,2,0,1\n8,3,0,2\n"
    found = read(tmp_path, text, model="m", columns={"block": "run"}).samples["runs"]
    assert found.service_ns("m", "table", 8).tolist() == [2_000_000, 3_000_000]


def test_units_may_differ_from_row_to_row_where_rows_say_so(tmp_path: Path) -> None:
    found = read(tmp_path, "size,latency,unit\n8,2,us\n8,3,ms\n8,4s,s\n", model="m").samples["runs"]
    assert found.service_ns("m", "table", 8).tolist() == [2000, 3_000_000, 4_000_000_000]


def test_samples_with_names_and_units_given(tmp_path: Path) -> None:
    text = "n,t,wall_ms,gpu,model\n8,2,9,a,m\n8,3,9,b,m\n8,4,9,b,other\n"
    columns = {"size": "n", "service": "t"}
    found = read(tmp_path, text, unit="us", columns=columns, model="m", where={"wall_ms": "9"})
    assert {name: one.service_ns("m", "table", 8).tolist() for name, one in found.samples.items()} == {
        "a": [2000],
        "b": [3000],
    }
    assert list(read(tmp_path, text, unit="us", columns=columns, model="m", device="b").samples) == ["b"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "size,latency_ms\n8,-2\n8,0\n8\n",
            ["2:3: the time is negative", "3:3: the time is not positive", "4:1: 1 col"],
        ),
        ("size,latency_ms\n8,x\n8\n9,1,1\n", ["2:3: not a time", "3:1: 1 columns, the header has 2"]),
        ("size,latency_ms\n0,1\n2.5,1\n", ["2:1: not a query size", "3:1: not a query size"]),
        ("size,latency_ms\n8,1\n8,2us\n", ["3:3: mixed units: this time is in us, the column in ms"]),
        ("size,latency\n8,1\n", ["2:3: a time without a unit"]),
        ("latency_ms\n8\n", ["1:1: missing column: the query size"]),
        ("size,model\n8,m\n", ["1:1: missing column: the service time"]),
        ("size,wall_ms,cpu_ms\n8,1,1\n", ["1:1: several columns may hold the service time: wall_ms, cpu_ms"]),
        ("size,latency_ms,unit\n8,1,parsec\n", ["2:5: unknown unit"]),
        ("size,latency_ms,unit\n8,1,us\n", ["2:5: mixed units: the row says us, the columns or --unit say ms"]),
        (
            "size,latency_ms\n8,1e400\n1e30,1\n8,nan\n",
            ["2:3: the time is longer", "3:1: not a query", "4:3: not a time"],
        ),
        ("size;latency_ms\n8;1\n", ["1:1: missing column: the query size"]),
        ("size,latency_ms,stage\n8,1,decodr\n", ["2:5: unknown stage"]),
        ("size,latency_ms,repeat\n8,1,0\n16,1,0\n8,2,0\n", ["4:5: line 2 has this repeat of size 8, too"]),
        ("size,latency_ms\n", ["1:1: no rows"]),
        ("", ["1:1: the file is empty"]),
    ],
)
def test_bad_samples_are_told_by_line(tmp_path: Path, text: str, expected: list[str]) -> None:
    found = problems(tmp_path, text, model="m")
    for line in expected:
        assert any(problem.startswith(line) for problem in found), found


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("batch_size,percentile,latency_ms\n1,50,1\n1,90,2\n1,99,10\n", "1:12"),
        ("Quantile,size,latency_ms\n0.5,1,1\n0.9,1,2\n", "1:1"),
        ("size,latency_ms,metric\n1,1,throughput\n1,2,P99\n", "1:17"),
        ("size,stat,value\n1,mean,1\n1,std,2\n", "1:6"),
        ("size,statistic,latency_ms\n1,avg_latency,1\n1,95th,2\n", "1:6"),
    ],
)
@pytest.mark.parametrize("wanted", ["samples", None])
def test_rows_of_percentiles_are_no_samples(
    tmp_path: Path, text: str, place: str, wanted: Literal["samples"] | None
) -> None:
    (tmp_path / "runs.csv").write_text(text)
    with pytest.raises(SpecError) as caught:
        read_runs([tmp_path / "runs.csv"], Choices(model="m"), wanted=wanted)
    (problem,) = caught.value.problems
    assert f"runs.csv:{place}: rows of percentiles or means are no samples: percentiles have to be a" in str(problem)
    assert "allowed: size,p50_ms,p99_ms" in str(problem)


def test_a_metric_may_be_what_was_measured(tmp_path: Path) -> None:
    text = "size,metric,latency_ms,gpu\n8,latency,2,P100\n8,latency,3,P100\n8,p99,9,P100\n"
    found = read(tmp_path, text, model="m", where={"metric": "latency"})
    assert found.samples["P100"].service_ns("m", "table", 8).tolist() == [2_000_000, 3_000_000]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('size,latency_ms\n1,"1\n1,2\n1,3\n', "2:3"),
        ('size,latency_ms\n1,"1\n' + 20_000 * "1,2.25\n", "2:3"),
        ('size,latency_ms\n1,2\n"8,2', "3:1"),
        ('# host: h\nsize,latency_ms,note\n\n1,2,"ok\n1,3,"fine"\n1,4,x\n', "4:5"),
        ('size,latency_ms,note\n1,2,"two\nlines"\n"1",2,"open ""quote"" here\n', "4:7"),
        ('size,latency_ms,note\n1,2,"two\nlines ""and"" more","open\n', "3:21"),
        ('size,"latency_ms\n1,2\n1,3\n', "1:6"),
        ('\n\nsize,"latency_ms\n1,2\n', "3:6"),
    ],
)
def test_a_quote_that_is_not_closed_is_told_where_it_opens(tmp_path: Path, text: str, expected: str) -> None:
    (found,) = problems(tmp_path, text, model="m")
    assert found.startswith(f"{expected}: a quote that opens here is not closed")


def test_quotes_that_are_closed_are_read(tmp_path: Path) -> None:
    text = 'size,latency_ms,disk,note\n"8",1,5" disk,"a ""b"", c"\n8,"2","x"y,"two\nlines"\n8,"3",,""\n8,x,,""""\n'
    assert [found[:15] for found in problems(tmp_path, text, model="m")] == ["6:3: not a time"]
    whole = read(tmp_path, text.replace(",x,", ",4,"), model="m").samples["runs"]
    assert whole.service_ns("m", "table", 8).tolist() == [1_000_000, 2_000_000, 3_000_000, 4_000_000]


@pytest.mark.parametrize("time", ["latency_ms", "p50_ms"])
@pytest.mark.parametrize(
    ("holds", "names"),
    [("size", ("size", "batch_size")), ("model", ("Model_Name", "model")), ("device", ("instance", "gpu"))],
)
def test_columns_that_may_hold_the_same_are_told(tmp_path: Path, time: str, holds: str, names: tuple[str, str]) -> None:
    text = f"{','.join(names)},n,{time}\n8,16,4,1\n"
    chosen = {"size": "n"} if holds != "size" else {}
    (found,) = problems(tmp_path, text, model="8", columns=chosen)
    assert found == f"1:1: several columns may hold the {holds}: {', '.join(names)} (allowed: --column {holds}=NAME)"
    read(tmp_path, text, model="8" if names[0] == "Model_Name" else "m", columns={**chosen, holds: names[0]})


def test_a_column_that_rows_are_chosen_by_says_nothing_else(tmp_path: Path) -> None:
    text = "size,batch,latency_ms\nlarge,8,1\nsmall,8,2\n"
    found = read(tmp_path, text, model="m", where={"size": "large"}).samples["runs"]
    assert found.service_ns("m", "table", 8).tolist() == [1_000_000]
    # Where it is the only one it still says it.
    alone = read(tmp_path, "model,size,latency_ms\nm,8,1\nn,8,2\n", where={"model": "m"}).samples["runs"]
    assert alone.pairs() == (("m", "table"),)


def test_repeats_are_chosen_among_several_and_what_is_chosen_for_another_content_is_none(tmp_path: Path) -> None:
    text = "size,latency_ms,iteration,sample\n8,1,1,0\n8,2,0,0\n"
    assert problems(tmp_path, text, model="m")[0].startswith("1:1: several columns may hold the repeat")
    found = read(tmp_path, text, model="m", columns={"repeat": "iteration"}).samples["runs"]
    assert found.service_ns("m", "table", 8).tolist() == [2_000_000, 1_000_000]
    found = read(tmp_path, text, model="m", columns={"block": "iteration"}).samples["runs"]
    assert {key.block: cell.tolist() for key, cell in found.cells.items()} == {1: [1_000_000], 0: [2_000_000]}


@pytest.mark.parametrize("row", ["8,x", "8"])
def test_problems_that_are_cut_off_are_said_to_be(
    tmp_path: Path, row: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "runs.csv"
    for rows, said in ((3000, "these are the first 20 problems, there may be more"), (19, "19 problems found")):
        file.write_text("size,latency_ms\n" + rows * f"{row}\n")
        command = ["mprec", "calibrate", "import", str(file), "--model", "m", "--out", str(tmp_path / "out.csv")]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit):
            run_command()
        assert capsys.readouterr().err.splitlines()[-1] == f"{said}; nothing was run"
    with pytest.raises(SpecError) as caught:
        file.write_text("model,representation,stage,size,block,service_ns\n" + 30 * "m,table,total,8,0,x\n")
        devices_in([file])
    assert caught.value.more and pickle.loads(pickle.dumps(caught.value)).more


def test_a_unit_that_contradicts_the_header_is_told_once(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, "size,latency_ms\n8,1\n", model="m", unit="us")
    assert found.startswith("1:6: mixed units: ms and us")


def test_a_model_is_needed(tmp_path: Path) -> None:
    assert problems(tmp_path, "size,latency_ms\n8,1\n")[0].startswith("1:1: missing column: the model")


def test_percentiles_become_rows_as_they_are(tmp_path: Path) -> None:
    text = "size,p50_us,p99_us,min_us,model,count\n16,4,9.5,3,m,70\n8,5,6,0,m,30\n"
    found = read(tmp_path, text)
    assert found.formats == ["percentiles"]
    (table,) = percentile_tables(found.rows)
    assert (table.sizes.tolist(), table.levels.tolist()) == ([8, 16], [0.0, 0.5, 0.99])
    assert table.service_ns.tolist() == [[1, 5000, 6000], [3000, 4000, 9500]]
    assert [row.queries for row in found.rows] == [70, 30]


def test_medians_are_percentiles_and_means_are_said_to_be_left_out(tmp_path: Path) -> None:
    found = read(tmp_path, "size,median_ms,mean_ms,p99_ms,Average latency (ms),mean_batch\n8,2,3,4,3,8\n", model="m")
    assert found.rows[0].service_ns == {0.5: 2_000_000, 0.99: 4_000_000}
    assert found.remarks == [
        f"{tmp_path / 'runs.csv'}: the column {name} is left out: a table of percentiles holds no means"
        for name in ("mean_ms", "Average latency (ms)")
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("size,p50_ms,p99_ms\n8,2,1\n", "2:5: percentiles are not sorted: p99 is 1000000 ns, p50 2000000 ns"),
        ("size,p50_ms,p99_us\n8,2,1\n", "1:13: mixed units: ms and us"),
        ("size,p50_ms,p99_ms\n8,-2,1\n", "2:3: the time is negative"),
        ("size,p50,p99\n8,1,2\n", "2:3: a time without a unit"),
        ("size,p50_ms,p50_ms\n8,1,2\n", "1:1: two columns are called p50_ms"),
        ("size,p50_ms,median latency p50_ms\n8,1,2\n", "1:6: two columns hold the 50th percentile"),
        ("p50_ms\n8\n", "1:1: missing column: the query size"),
    ],
)
def test_bad_percentiles_are_told_by_line(tmp_path: Path, text: str, expected: str) -> None:
    found = problems(tmp_path, text, model="m")
    assert any(problem.startswith(expected) for problem in found), found


def test_a_size_comes_once_and_all_have_the_same_percentiles(tmp_path: Path) -> None:
    rows = read(tmp_path, "size,p50_ms\n8,1\n8,2\n", model="m").rows
    with pytest.raises(SpecError, match=r"runs.csv:3:1: size 8 of m, table is there already, at .*runs.csv:2:1"):
        percentile_tables(rows)
    other = read(tmp_path, "size,p90_ms\n9,1\n", model="m").rows
    with pytest.raises(SpecError, match="other percentiles"):
        percentile_tables([*rows[:1], *other])


def test_perf_analyzer_alone(tmp_path: Path) -> None:
    found = read(tmp_path, PERF_ANALYZER, size=64, model="dlrm")
    assert found.formats == ["perf-analyzer"]
    (row,) = found.rows
    assert (row.size, row.service_ns) == (64, {0.5: 440_000, 0.9: 450_000, 0.95: 460_000, 0.99: 480_000})
    (remark,) = found.remarks
    assert remark.startswith(f"{tmp_path / 'runs.csv'}: 1 of 2 rows are left out: their concurrency is not 1")


def test_perf_analyzer_has_its_own_unit(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, PERF_ANALYZER, size=64, model="m", unit="ms")
    assert found.startswith("1:1: mixed units: the times of perf_analyzer are in us (got '--unit ms'")
    assert read(tmp_path, PERF_ANALYZER, size=64, model="m", unit="us").rows[0].service_ns[0.5] == 440_000
    named = PERF_ANALYZER.replace(" latency", " latency (ms)")
    assert read(tmp_path, named, size=64, model="m", unit="ms").rows[0].service_ns[0.5] == 440_000_000


def test_perf_analyzer_with_queueing_is_refused_unless_asked(tmp_path: Path) -> None:
    busy = "\n".join(PERF_ANALYZER.splitlines()[:2]) + "\n"
    assert problems(tmp_path, busy, size=64, model="m")[0].startswith("2:1: no row of concurrency 1")
    assert len(read(tmp_path, busy, size=64, model="m", with_queueing=True).rows) == 1
    rate = busy.replace("Concurrency", "Request Rate")
    assert problems(tmp_path, rate, size=64, model="m")[0].startswith("1:1: missing column: Concurrency")
    assert problems(tmp_path, PERF_ANALYZER, model="m")[0].startswith("1:1: missing column: the query size")


def test_loadgen_summary(tmp_path: Path) -> None:
    found = read(tmp_path, summary_log(verdict="INVALID"), "mlperf_log_summary.txt", size=270, model="dlrm")
    assert found.formats == ["loadgen"]
    (row,) = found.rows
    assert (row.size, row.device) == (270, "MadeUp")
    assert row.service_ns == {0.0: 3_000_000, **LEVELS_NS, 1.0: 9_000_000}
    assert "invalid" in found.remarks[0]
    assert read(tmp_path, summary_log("MultiStream", 8), model="dlrm").rows[0].size == 8


def test_loadgen_detail(tmp_path: Path) -> None:
    found = read(tmp_path, detail_log(), "mlperf_log_detail.txt", model="dlrm")
    assert found.formats == ["loadgen-detail"]
    assert (found.rows[0].service_ns, found.rows[0].queries) == (LEVELS_NS, 1200)
    streams = read(tmp_path, detail_log("MultiStream", per_query=True), model="dlrm").rows[0]
    assert (streams.service_ns, streams.size) == (LEVELS_NS, 8)


@pytest.mark.parametrize("log", [summary_log, detail_log])
@pytest.mark.parametrize("scenario", ["Server", "Offline"])
def test_loadgen_latencies_with_waiting_are_refused_unless_asked(tmp_path: Path, log: object, scenario: str) -> None:
    text = log(scenario)  # type: ignore[operator]
    assert "include waiting" in problems(tmp_path, text, model="m")[0]
    assert len(read(tmp_path, text, model="m", with_queueing=True).rows) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (summary_log()[:-80], "the summary is cut off"),
        (summary_log().replace(": 5000000\n", ": 50000000\n"), "21:1: percentiles are not sorted: p99 is 7000000 ns"),
        (summary_log().replace(": 3000000", ": -3"), "16:1: the time is not positive"),
        (summary_log().replace(": 7000000", ": seven"), "21:1: 99.00 percentile latency (ns) is not a whole number"),
        (detail_log()[:-100], "a broken line of the log"),
        ("".join(detail_log().splitlines(keepends=True)[:-1]), "the log is cut off"),
    ],
)
def test_bad_logs_are_told_by_line(tmp_path: Path, text: str, expected: str) -> None:
    found = problems(tmp_path, text, model="m")
    assert any(expected in problem for problem in found), found


def test_published_samples_are_taken_as_their_campaign_says(tmp_path: Path) -> None:
    found = read(tmp_path, KAIROS, "kairos_samples.csv")
    assert found.formats == ["kairos"]
    # The first repeat of the GPU type is warm-up; data loading and models that recommend nothing are left out.
    assert {name: one.service_ns("rm2", "table", 10).tolist() for name, one in found.samples.items()} == {
        "kairos-g4dn.xlarge": [2_500_000, 3_500_000],
        "kairos-r5n.large": [7_000_000],
    }
    assert found.samples["kairos-r5n.large"].pairs() == (("rm2", "table"),)
    assert "HPDC 2023" in found.samples["kairos-r5n.large"].about["citation"]
    assert list(read(tmp_path, KAIROS, "kairos_samples.csv", device="kairos-r5n.large").samples) == ["kairos-r5n.large"]
    with pytest.raises(SpecError, match="does not say of which"):
        detect_format(KAIROS, tmp_path / "samples.csv")
    bad = problems(tmp_path, KAIROS.replace("3.5", "-3.5"), "kairos_samples.csv")
    assert bad[0].startswith("4:30: the time is negative")


def test_everything_wrong_in_any_file_is_told(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("size,latency_ms\n8,-1\n")
    with pytest.raises(SpecError) as caught:
        read_runs([tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "none.csv"], Choices(model="m"))
    assert len(caught.value.problems) == 3
    (tmp_path / "a.csv").write_text("size,latency_ms\n8,1\n")
    (tmp_path / "b.csv").write_text("size,p50_ms\n8,1\n")
    with pytest.raises(SpecError, match="import them apart"):
        read_runs([tmp_path / "a.csv", tmp_path / "b.csv"], Choices(model="m"))
    with pytest.raises(SpecError, match="as many query sizes"):
        read_runs([tmp_path / "a.csv"], Choices(model="m"), sizes=(1, 2))


def test_a_file_or_its_copy_counts_once(tmp_path: Path) -> None:
    text = "size,latency_ms\n8,1\n8,2\n"
    own, copy, packed = (tmp_path / name for name in ("a.csv", "b.csv", "c.csv.xz"))
    own.write_text(text)
    copy.write_text(text)
    packed.write_bytes(lzma.compress(text.encode()))
    for other, why in (
        (own, "is given twice"),
        (copy, f"holds the same as {own}"),
        (packed, f"holds the same as {own}"),
    ):
        with pytest.raises(SpecError, match=re.escape(f"{other} {why}: its samples would count twice")):
            read_runs([own, Path(str(other))], Choices(model="m"))
    own.write_text(summary_log())
    with pytest.raises(SpecError, match="is given twice: its percentiles would count twice"):
        read_runs([own, Path(str(own))], Choices(model="m"), sizes=(8, 16))


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"size,latency_ms\n8,1.5\n16,2.\xe9\n", "3:6: not UTF-8 text"),
        (b"\xef\xbb\xbfsize,latency_ms\n8,1.5\xe9\n", "2:6: not UTF-8 text"),
        ("size,latency_ms\n8,1\n".encode("utf-16"), "1:1: not UTF-8 text"),
        (b"size,latency_ms,model\n8,1.5,\xc3\xa9\0\n", "2:8: a byte that is 0"),
    ],
)
def test_bytes_that_are_no_text_have_a_place(content: bytes, place: str, tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_bytes(content)
    with pytest.raises(SpecError, match=re.escape(f"runs.csv:{place}")):
        read_runs([tmp_path / "runs.csv"], Choices(model="m"))


def test_files_of_other_systems_are_read_alike(tmp_path: Path) -> None:
    text = "size,latency_ms\n8,1.5\n16,2.5\n"
    plain = read(tmp_path, text, model="m").samples["runs"]
    for other in ("\ufeff" + text, text.replace("\n", "\r\n"), text.replace("\n", "\r")):
        (tmp_path / "runs.csv").write_bytes(other.encode())
        found = read_runs([tmp_path / "runs.csv"], Choices(model="m"))
        assert found.samples["runs"].cells.keys() == plain.cells.keys() and not found.remarks
    (remark,) = read(tmp_path, text.rstrip(), model="m").remarks
    assert remark.endswith("the last line has no end; if the file was cut, so is its last number")


@pytest.mark.parametrize("log", [summary_log(), detail_log()])
def test_the_logs_of_two_runs_in_one_file_are_told(log: str, tmp_path: Path) -> None:
    found = problems(tmp_path, log + log, model="m")
    assert len(found) >= len(LATENCIES)
    assert all("stands twice (first on line" in line for line in found)


def test_a_perf_analyzer_file_of_which_no_row_is_whole(tmp_path: Path) -> None:
    header = PERF_ANALYZER.partition("\n")[0]
    assert problems(tmp_path, header + "\n", size=8, model="m") == ["1:1: no rows"]
    (line,) = problems(tmp_path, header + "\n1,3000\n", size=8, model="m")
    assert line == "2:1: 2 columns, the header has 13 (got '1,3000')"


def test_what_files_say_of_themselves_is_kept(tmp_path: Path) -> None:
    text = "# source: our rack\n# command: bench --all\nsize,latency_ms\n8,2\n"
    found = read(tmp_path, text, model="m")
    (kept,) = with_origin(found, [tmp_path / "runs.csv"], "import it", {"source": None}).values()
    assert kept.about == {"source": "our rack", "command": "bench --all && import it", "device": "runs"}
    given = {"source": "theirs", "licence": "MIT", "lanes": 4, "kind": "gpu"}
    (said,) = with_origin(found, [tmp_path / "runs.csv"], "import it", given, with_queueing=True).values()
    assert said.about | {"notes": ""} == kept.about | {key: str(value) for key, value in given.items()} | {"notes": ""}
    assert said.about["notes"] == "They include waiting for other queries, so a simulation counts waiting twice."


def test_what_an_import_doubts_is_in_what_it_writes(tmp_path: Path) -> None:
    text = "size,latency_ms\n8,2\n8,3"
    (samples,) = with_origin(read(tmp_path, text, model="m"), [tmp_path / "runs.csv"], "import it", {}).values()
    assert "the last line has no end; if the file was cut" in samples.about["notes"]
