"""Files of measured IDs: what they say, and every mistake by its line."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from sim.spec.problems import SpecError
from sim.workload.id_files import read_counts, read_stream


def write(folder: Path, text: str) -> Path:
    file = folder / "ids.csv"
    file.write_text(text)
    return file


def test_counts_of_single_ids_and_of_groups(tmp_path: Path) -> None:
    single = read_counts(write(tmp_path, "# from a log\nid,count\n17,1\n4,6\n9,3\n"))
    assert single[None].top_mass(2, 100) == pytest.approx(0.9)
    grouped = read_counts(write(tmp_path, "count,ids\n1.5,4\n\n14,1\n"))
    assert grouped[None].top_mass(1, 100) == pytest.approx(0.7)
    assert grouped[None].top_mass(3, 100) == pytest.approx(0.85)


def test_features_have_laws_of_their_own(tmp_path: Path) -> None:
    laws = read_counts(write(tmp_path, "feature,id,count\n0,1,9\n0,2,1\n3,1,5\n3,2,5\n"))
    assert sorted(feature for feature in laws if feature is not None) == [0, 3]
    assert laws[0].top_mass(1, 10) == pytest.approx(0.9)
    assert laws[3].top_mass(1, 10) == pytest.approx(0.5)
    streams = read_stream(write(tmp_path, "id,feature\n5,0\n5,1\n5,0\n6,1\n"))
    assert streams[0].top_mass(1, 10) == 1.0
    assert streams[1].top_mass(1, 10) == 0.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ":1:1: the header is not that of IDs (got ''; allowed: id,count, or ids,count; with a column feature"),
        ("id,cuont\n1,2\n", ":1:1: the header is not that of IDs (got 'id,cuont'"),
        ("id,count\n", ":1:1: the file has a header but no rows"),
        ("id,count\n1,2,3\n", ":2:1: 3 columns, the header has 2 (got '1,2,3')"),
        ("id,count\n1,2\n1.5,2\n", ":3:1: id: not a whole number of at least 0 (got '1.5')"),
        ("id,count\n1,-2\n", ":2:1: count: not a number of look-ups of at least 0 (got '-2')"),
        ("id,count\n1,nan\n", ":2:1: count: not a number of look-ups of at least 0 (got 'nan')"),
        ("id,count\n1,2\n2,1\n1,3\n", ":4:1: id: was counted in a row above (got 1)"),
        ("ids,count\n0,2\n", ":2:1: ids: has to be at least 1 (got 0)"),
        ("id,count\n1,0\n", ":1:1: no look-up was counted"),
        ("feature,id,count\n0,1,1\n1,1,0\n", ":1:1: no look-up of feature 1 was counted"),
    ],
)
def test_mistakes_in_counts(text: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as error:
        read_counts(write(tmp_path, text))
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ids\n1\n", ":1:1: the header is not that of IDs (got 'ids'; allowed: id; with"),
        ("id\n1\nx\n", ":3:1: id: not a whole number of at least 0 (got 'x')"),
        ("feature,id\n0,1\n0,2\n4,1\n", ":1:1: a stream needs at least two look-ups of feature 4, for its two halves"),
    ],
)
def test_mistakes_in_streams(text: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as error:
        read_stream(write(tmp_path, text))
    assert expected in str(error.value)


def test_a_published_reuse_histogram_is_a_file_of_counts(tmp_path: Path) -> None:
    given = os.environ.get("MPREC_SHARED")
    shared = Path(given) if given else Path(__file__).resolve().parents[2].parent / "shared"
    file = shared / "data" / "id_streams" / "meta_2021_locality_stats.txt"
    if not file.is_file():
        pytest.skip("the histograms are absent: no id_streams in $MPREC_SHARED or ../shared/data")
    first = file.read_text().split(".pt")[1]
    of_ids, of_lookups = (
        np.array([float(share) for share in re.findall(r"\(\d+(?:, \d+\]|\+): ([\d.]+)", part)])
        for part in first.split("Ratio of index distribution")
    )
    lookups, ids = (int(re.search(rf"# of {what}: (\d+)", first)[1]) for what in ("indices", "unique cols"))  # type: ignore[index]
    # The bins up to (8, 16], each a group of so many IDs with its mean count; what is hotter is known to 3 digits only.
    known = of_ids >= 0.05
    counts = of_lookups[known] * lookups / (of_ids[known] * ids)
    edges = 2.0 ** np.arange(known.sum())
    assert np.all(counts <= edges * 1.02) and np.all(counts > edges / 2)
    rows = [f"{round(share * ids)},{count}" for share, count in zip(of_ids[known], counts, strict=True)]
    law = read_counts(write(tmp_path, "ids,count\n" + "\n".join(rows) + "\n"))[None]
    held = np.cumsum(np.round(of_ids[known] * ids)[::-1]).astype(int)
    expected = np.cumsum(of_lookups[known][::-1]) / of_lookups[known].sum()
    assert [law.top_mass(int(n), 10**9) for n in held] == pytest.approx(expected.tolist(), rel=1e-6)
