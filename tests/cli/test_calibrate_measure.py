"""``mprec calibrate measure`` on a tiny model: one command, and the profile runs at once; and what it refuses."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sim.calibrate.sample_set import read_sample_csv

TINY = """\
name: tiny
dlrm:
  embedding_dim: 8
  table_rows: [100, 50000]
  bottom_mlp: [4, 16, 8]
  top_mlp: [16, 1]
  dhe: {k: 32, decoder: [16]}
  select: {dhe_features: 1}
representations:
  table: {accuracy: {value: 78%, evidence: assumed}}
  dhe: {accuracy: {value: 79%, evidence: assumed}}
  select: {accuracy: {value: 79%, evidence: assumed}}
  hybrid: {accuracy: {value: 80%, evidence: assumed}}
"""
RUN = """\
name: measured
model: tiny.yaml
sla: 10ms
workload:
  arrivals: {kind: poisson, rate: 100/s}
  sizes: {kind: uniform, min: 1, max: 16}
  queries: 200
fleet:
  - {name: node, count: 1, devices: {cpu: mine}}
policy: {kind: mp-rec}
replications: 2
seed: 1
"""
NOTHING_WILL_DO = (
    "import sim.calibrate.measure.campaign as campaign\n"
    "from sim.calibrate.measure.interference import Rule\n"
    "campaign.Rule = lambda: Rule(most_clock_drift=-1.0)"
)
"""A rule that nothing can meet stands for a busy machine."""

has_torch = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not has_torch, reason="PyTorch is not installed")


def mprec(folder: Path, *arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    start = f"import sys\n{code}\nfrom sim.cli.entry import main\nsys.argv = ['mprec', *sys.argv[1:]]\nmain()\n"
    command = [sys.executable, "-c", start, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


def measure(folder: Path, *more: str, code: str = "") -> subprocess.CompletedProcess[str]:
    (folder / "tiny.yaml").write_text(TINY)
    fixed = ("--model", "tiny.yaml", "--sizes", "1..16", "--repeats", "60", "--blocks", "3", "--quantile", "p50")
    named = ("--out", "hwprofiles", "--name", "mine")
    return mprec(folder, "calibrate", "measure", *fixed, *named, *more, code=code)


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@needs_torch
def test_one_command_and_the_profile_runs(tmp_path: Path) -> None:
    # On a busy machine blocks are disturbed; what is measured is not judged here.
    done = measure(tmp_path, "--keep-unfit", "--cache-stages", "encoder=1kB,decoder=4")
    assert done.returncode == 0, done.stderr
    assert "interference: " in done.stderr
    assert done.stdout == "wrote hwprofiles/samples/mine-tiny.csv.xz\nwrote hwprofiles/devices/mine.yaml\n"
    assert not (tmp_path / "hwprofiles" / "unfinished").exists()
    samples = read_sample_csv(tmp_path / "hwprofiles" / "samples" / "mine-tiny.csv.xz")
    assert samples.pairs() == tuple(("tiny", name) for name in ("table", "dhe", "select", "hybrid"))
    assert samples.sizes("tiny", "dhe") == (1, 2, 4, 8, 16)
    apart = {
        "encoder cache",
        "decoder cache 4",
        *(f"{one} by feature" for one in ("encoder", "decoder", "decoder cache 4")),
    }
    assert apart < set(samples.stages("tiny", "dhe")) and not apart & set(samples.stages("tiny", "table"))
    assert all(samples.service_ns("tiny", "select", size).size >= 60 for size in (1, 16))
    written = yaml.safe_load((tmp_path / "hwprofiles" / "devices" / "mine.yaml").read_text())
    assert written["evidence"] == "measured" and written["lanes"] == 1
    notes = written["provenance"]["notes"]
    assert "back-to-back, load 1" in notes and "blocks set aside" in notes and "zipf:1.05" in notes
    assert written["provenance"]["command"].startswith("mprec calibrate measure --model tiny.yaml")

    (tmp_path / "run.yaml").write_text(RUN)
    cached = "{profile: mine, cache: {encoder: 1kB, decoder_centroids: 4, popularity: {kind: zipf, exponent: 1.05}}}"
    (tmp_path / "cached.yaml").write_text(RUN.replace("cpu: mine", f"cpu: {cached}"))
    # With a cache service times are composed of the measured stages.
    for file, evidence in (("run.yaml", "measured"), ("cached.yaml", "modelled")):
        ran = mprec(tmp_path, "run", file)
        assert ran.returncode == 0, ran.stderr
        assert f"Evidence: {evidence}" in ran.stdout


@needs_torch
def test_with_and_without_a_cache_in_turn(tmp_path: Path) -> None:
    done = measure(tmp_path, "--keep-unfit", "--cache-effect", "encoder=1kB,decoder=4")
    assert done.returncode == 0, done.stderr
    names = ("mine", "mine-mp-cache")
    files = [f"hwprofiles/{file}" for name in names for file in (f"samples/{name}-tiny.csv.xz", f"devices/{name}.yaml")]
    assert done.stdout.splitlines() == [f"wrote {file}" for file in files]
    assert all(f"{name}: interference: " in done.stderr for name in names)
    assert not (tmp_path / "hwprofiles" / "unfinished").exists()
    plain, cached = (read_sample_csv(tmp_path / "hwprofiles" / "samples" / f"{name}-tiny.csv.xz") for name in names)
    assert "decoder cache 4 by feature" in plain.stages("tiny", "dhe")
    assert "decoder cache 4 by feature" not in cached.stages("tiny", "dhe")
    assert [name for _, name in plain.pairs()] == ["table", "dhe", "select", "hybrid"]
    assert [name for _, name in cached.pairs()] == ["dhe", "select", "hybrid"]
    assert plain.about["cache"] == "none" and cached.about["cache"] == "encoder=1kB,decoder=4"
    told = "{encoder: 1kB, decoder_centroids: 4, popularity: {kind: zipf, exponent: 1.05}}"
    compared = mprec(tmp_path, "calibrate", "cache-effect", *names, "--cache", told, "--model", "tiny.yaml")
    assert compared.returncode == 0, compared.stderr
    assert "of 15 predicted within 10%" in compared.stdout

    # Only the second is there.
    for file in (tmp_path / "hwprofiles").rglob("mine[.-]*"):
        if not file.name.startswith("mine-mp-cache"):
            file.unlink()
    left = everything(tmp_path)
    assert all("mp-cache" in name or name == "tiny.yaml" for name in left)
    # Both are refused if one is there, before a folder for the blocks of the other is made.
    again = measure(tmp_path, "--name", "mine", "--cache-effect", "encoder=1kB,decoder=4")
    assert again.returncode == 2 and "is there already; give --replace" in again.stderr
    assert everything(tmp_path) == left


@needs_torch
def test_a_pair_of_which_one_could_not_be_written_is_finished_by_resuming(tmp_path: Path) -> None:
    full_disk = (
        "import sim.calibrate.measure.measuring as measuring\n"
        "from sim.report.rundir import RunDirectoryError\n"
        "write = measuring.write_device\n"
        "def fails(folder, name, *rest, **more):\n"
        "    if name.endswith('-mp-cache'): raise RunDirectoryError('no space left on device')\n"
        "    return write(folder, name, *rest, **more)\n"
        "measuring.write_device = fails"
    )
    options = ("--representation", "dhe", "--keep-unfit", "--cache-effect", "encoder=1kB")
    done = measure(tmp_path, *options, code=full_disk)
    assert done.returncode == 1 and "no space left on device; what is finished is kept" in done.stderr
    assert (tmp_path / "hwprofiles" / "devices" / "mine.yaml").exists()
    assert measure(tmp_path, *options).returncode == 2
    resumed = measure(tmp_path, *options, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert (tmp_path / "hwprofiles" / "devices" / "mine-mp-cache.yaml").exists()
    assert not (tmp_path / "hwprofiles" / "unfinished").exists()


@needs_torch
def test_a_pair_has_to_fit_in_memory_together(tmp_path: Path) -> None:
    """Half as much again as one side needs: that one fits alone, and so would the other."""
    narrow = (
        "import sim.calibrate.measure.measuring as measuring\n"
        "fit, need, needed = measuring.rounds_that_fit, measuring.DlrmSource.memory_need, []\n"
        "def noted(self, *rest):\n"
        "    needed.append(need(self, *rest))\n"
        "    return needed[-1]\n"
        "measuring.DlrmSource.memory_need = noted\n"
        "measuring.rounds_that_fit = lambda asked, _, where: fit(asked, needed[0].total_bytes * 3 // 2, where)"
    )
    refused = measure(tmp_path, "--representation", "dhe", "--cache-effect", "encoder=1kB", code=narrow)
    assert refused.returncode == 2, refused.stderr
    assert "all that is measured in turn does not fit in the memory of this machine" in refused.stderr
    assert everything(tmp_path) == ["tiny.yaml"]
    alone = measure(tmp_path, "--representation", "dhe", "--cache-stages", "encoder=1kB", "--keep-unfit", code=narrow)
    assert alone.returncode == 0, alone.stderr


@needs_torch
def test_an_interrupted_pair_is_resumed_as_a_whole(tmp_path: Path) -> None:
    options = ("--representation", "dhe", "--cache-effect", "encoder=1kB")
    done = measure(tmp_path, *options, code=NOTHING_WILL_DO)
    assert done.returncode == 1 and "this measurement is unfit" in done.stderr
    assert {Path(name).parts[1] for name in everything(tmp_path) if name != "tiny.yaml"} == {"unfinished"}
    refused = measure(tmp_path, *options)
    assert refused.returncode == 2 and "holds an unfinished measurement" in refused.stderr
    kept = measure(tmp_path, *options, "--resume", "--keep-unfit", code=NOTHING_WILL_DO)
    assert kept.returncode == 0, kept.stderr
    for name in ("mine", "mine-mp-cache"):
        assert "UNFIT" in (tmp_path / "hwprofiles" / "devices" / f"{name}.yaml").read_text()
    assert not (tmp_path / "hwprofiles" / "unfinished").exists()


@needs_torch
def test_an_unfit_measurement_is_not_saved_but_for_its_blocks(tmp_path: Path) -> None:
    options = ("--representation", "table", "--load", "0.5", "--waiting", "block")
    done = measure(tmp_path, *options, code=NOTHING_WILL_DO)
    assert done.returncode == 1
    assert "this measurement is unfit: 4 of 4 blocks were disturbed, more than 25%" in done.stderr
    assert "--resume --keep-unfit" in done.stderr and "Traceback" not in done.stderr
    assert {Path(name).parts[1] for name in everything(tmp_path) if name != "tiny.yaml"} == {"unfinished"}

    refused = measure(tmp_path, *options)
    assert refused.returncode == 2 and "holds an unfinished measurement" in refused.stderr
    kept = measure(tmp_path, *options, "--resume", "--keep-unfit", code=NOTHING_WILL_DO)
    assert kept.returncode == 0, kept.stderr
    written = yaml.safe_load((tmp_path / "hwprofiles" / "devices" / "mine.yaml").read_text())
    assert written["description"].startswith("UNFIT: ")
    assert written["provenance"]["notes"].startswith("UNFIT: 4 of 4 blocks were disturbed")
    assert "blocking (asleep between queries), load 0.5" in written["provenance"]["notes"]


@needs_torch
def test_a_second_model_completes_the_profile(tmp_path: Path) -> None:
    small = ("--representation", "table", "--keep-unfit")
    assert measure(tmp_path, *small).returncode == 0
    (tmp_path / "other.yaml").write_text(TINY.replace("name: tiny", "name: other"))
    second = measure(tmp_path, *small, "--model", "other.yaml")
    assert second.returncode == 0, second.stderr
    written = yaml.safe_load((tmp_path / "hwprofiles" / "devices" / "mine.yaml").read_text())
    assert set(written["service"]) == {"tiny", "other"}
    before = everything(tmp_path)
    again = measure(tmp_path, *small)
    assert again.returncode == 2 and "is there already; give --replace" in again.stderr
    otherwise = measure(tmp_path, *small, "--replace", "--load", "0.5")
    assert otherwise.returncode == 2 and "was measured otherwise" in otherwise.stderr
    assert everything(tmp_path) == before


@needs_torch
@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--repeats", "10"), "10 repeats do not carry p50"),
        (("--sizes", "8..1"), "--sizes: bad sizes"),
        (("--representation", "tabel"), "did you mean 'table'?"),
        (("--model", "dlrm-kagle"), "did you mean 'dlrm-kaggle'?"),
        (("--model", "rm2"), "its file gives no shape"),
        (("--representation", "table", "--cache", "decoder=4"), "there is nothing to cache"),
        (("--cache", "l2=4MB"), "--cache: bad cache"),
        (("--cache", "decoder=4", "--cache-stages", "decoder=4"), "either on or looked up apart"),
        (("--cache-effect", "l2=4MB"), "--cache-effect: bad cache"),
        (("--cache-effect", "decoder=4", "--cache", "decoder=4"), "--cache-effect: it measures without a cache"),
        (("--representation", "table", "--cache-effect", "decoder=4"), "--cache-effect: there is nothing to cache"),
        (("--ids", "normal"), "--ids: bad popularity"),
        (("--load", "2"), "--load: bad load"),
        (("--lanes", "9999"), "9999 lanes of 1 threads need 9999 cores"),
        (("--quantile", "p101"), "--quantile: bad quantile"),
        (("--cell-limit", "soon"), "--cell-limit: not a duration"),
        (("--model", "dlrm-terabyte", "--sizes", "1000000"), "does not fit in the memory of this machine"),
    ],
)
def test_bad_options_are_told_before_anything_is_measured(tmp_path: Path, more: tuple[str, ...], message: str) -> None:
    done = measure(tmp_path, *more)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr
    assert everything(tmp_path) == ["tiny.yaml"]


@pytest.mark.skipif(has_torch and importlib.import_module("torch").cuda.is_available(), reason="there is a GPU")
@needs_torch
def test_without_a_gpu_cuda_is_refused(tmp_path: Path) -> None:
    done = measure(tmp_path, "--device", "cuda")
    assert done.returncode == 2 and "finds no CUDA GPU" in done.stderr
    assert everything(tmp_path) == ["tiny.yaml"]


def test_without_pytorch_it_says_what_to_install(tmp_path: Path) -> None:
    hidden = (
        "import importlib.util\nfind = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'torch' else find(name, *rest)"
    )
    done = measure(tmp_path, code=hidden)
    assert done.returncode == 2
    assert "needs PyTorch: pip install 'mprec-sim[calibrate]'" in done.stderr
    assert everything(tmp_path) == ["tiny.yaml"]
