"""Whatever a file holds, reading it ends in data or in problems with their places, never in another exception."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sim.calibrate.imported_runs import write_samples
from sim.calibrate.sources.choices import Choices
from sim.calibrate.sources.percentile_rows import percentile_tables
from sim.calibrate.sources.reading import FORMATS, Format, read_runs
from sim.spec.problems import SpecError
from tests.calibrate.loadgen_logs import detail_log, summary_log

WHOLE: dict[Format, str] = {
    "samples": "size,latency_ms,model,block\n8,1.5,m,0\n16,2.5,m,1\n",
    "percentiles": "size,p50_ms,p99_ms,model\n8,1,2,m\n16,2,3,m\n",
    "loadgen": summary_log(),
    "loadgen-detail": detail_log(),
    "perf-analyzer": "Concurrency,Inferences/Second,p50 latency,p99 latency\n1,10,20,30\n2,10,20,30\n",
    "kairos": "kind,instance,model,batch,sample,latency_ms\ncompute,r5n.large,rm2,10,0,2.5\n",
    "ribbon": "kind,instance,model,batch,sample,latency_ms\ncompute,r5n.large,dien,10,0,2.5\n",
}


@st.composite
def damaged(draw: st.DrawFn) -> tuple[Format, str]:
    """A whole file of some format with a stretch of it cut out, repeated, or replaced."""
    kind = draw(st.sampled_from(FORMATS))
    text = WHOLE[kind]
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, len(text)))
    middle = draw(
        st.one_of(
            st.just(""),
            st.just(2 * text[start:end]),
            st.sampled_from(["-1", "nan", "1e999", "9" * 30, '"', "\n", ",", "0", "ms", "\x00", "1.5us", ": "]),
            st.text(max_size=12),
        )
    )
    return kind, text[:start] + middle + text[end:]


def outcome(kind: Format | None, text: str) -> str:
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "kairos.csv"
        file.write_bytes(text.encode("utf-8", errors="surrogatepass"))
        before = set(Path(name).rglob("*"))
        try:
            found = read_runs([file], Choices(model="m", with_queueing=True), sizes=(8,), wanted=kind)
            if found.rows:
                percentile_tables(found.rows)
            else:
                write_samples(found.samples, Path(name) / "out")
        except SpecError as error:
            assert error.problems
            assert set(Path(name).rglob("*")) == before
            return "problems"
    return "data"


def test_whole_files_are_read() -> None:
    for kind, text in WHOLE.items():
        model = {"kairos": "rm2", "ribbon": "dien"}.get(kind)
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / "whole").write_text(text)
            found = read_runs(
                [Path(name) / "whole"], Choices(model=model or "m", with_queueing=True), sizes=(8,), wanted=kind
            )
        assert found.rows or found.samples


@given(damaged())
@settings(max_examples=400, deadline=None)
@example(("kairos", 'kind,instance,model,batch,sample,latency_ms\ncompute,"r5n\n'))
def test_damaged_files_end_in_problems_or_data(file: tuple[Format, str]) -> None:
    kind, text = file
    assert outcome(kind, text) in ("problems", "data")
    assert outcome(None, text) in ("problems", "data")


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_text_ends_in_problems_or_data(text: str) -> None:
    assert outcome(None, text) in ("problems", "data")
