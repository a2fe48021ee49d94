"""Bad experiment files: the whole message, with place, key, value, what is allowed and the nearest name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sim.profile.library import model_file
from sim.spec.problems import SpecError
from sim.study.planning import plan_scenarios
from sim.study.scenario import find_experiment, load_scenarios

GOOD = """\
name: test
model: dlrm-kaggle
sla: 10ms
workload:
  arrivals: {kind: poisson, rate: 100/s}
  sizes: {kind: fixed, size: 100}
  duration: 1s
fleet:
  - name: hw
    devices: {cpu: cpu-broadwell, gpu: {profile: gpu-v100, memory: 32GB}}
policy: {kind: mp-rec}
"""


def problems(folder: Path, text: str, *overrides: str) -> list[str]:
    file = folder / "e.yaml"
    file.write_text(text)
    try:
        plan_scenarios(load_scenarios(str(file), overrides))
    except SpecError as error:
        return [line.replace(str(folder) + "/", "") for line in str(error).splitlines()]
    return []


def test_a_good_file_has_no_problems(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "sla: 10ms",
            "slaa: 10ms\nsla: 10ms",
            "e.yaml:3:1: slaa: unknown key (allowed: name, model, sla, workload, fleet, cells, mapping, policy, "
            "binding, router, knowledge, network, splitting, queue, batching, classes, faults, autoscaling, remapping, "
            "interference, timeout, retries, hedging, replications, precision, seed, service_seed, "
            "report); did you mean 'sla'?",
        ),
        (
            "sla: 10ms",
            "sla: 10 parsecs",
            "e.yaml:3:6: sla: 'parsecs' is no unit of a duration: write one of ns, us, ms, s, min, h, d, such as 10ms "
            "(got '10 parsecs')",
        ),
        (
            "rate: 100/s",
            "rate: -100/s",
            "e.yaml:5:35: workload.arrivals.rate: a rate has to be more than zero (got '-100/s')",
        ),
        (
            "rate: 100/s",
            "rate: .nan",
            "e.yaml:5:35: workload.arrivals.rate: not a rate: write a number and one of /s, /min, /h, k/s, k/min, k/h, "
            "M/s, M/min, M/h, G/s, G/min, G/h, such as 250/s (got nan)",
        ),
        (
            "kind: poisson",
            "kind: poison",
            "e.yaml:5:20: workload.arrivals.kind: not one of the known names (got 'poison'; allowed: poisson, gamma, "
            "weibull, integer-poisson-ms, piecewise-rate, trace); did you mean 'poisson'?",
        ),
        ("sla: 10ms", "sla: 10ms\nsla: 9ms", "e.yaml:4:1: sla: key 'sla' stands twice (first on line 3)"),
        (
            "policy: {kind: mp-rec}",
            "policy: {kind: mp-rec\nseed: 1",
            "e.yaml:12:5: YAML syntax: expected ',' or '}', but got ':' while parsing a flow mapping",
        ),
        (
            "policy: {kind: mp-rec}",
            "sweep: {}",
            "e.yaml:11:8: sweep: the sweep is empty (allowed: at least one key path)",
        ),
        (
            "policy: {kind: mp-rec}",
            "sweep: {policy: []}",
            "e.yaml:11:17: sweep.policy: has no values (allowed: at least one value)",
        ),
        (
            "policy: {kind: mp-rec}",
            "sweep: {seed: [1, 2]}",
            "e.yaml:11:9: sweep.seed: cannot be swept (allowed: the path of any key but sweep, extends, "
            "report, seed, service_seed, name, optimise)",
        ),
        (
            "policy: {kind: mp-rec}",
            "sweep: {service_seed: [1, 2]}",
            "e.yaml:11:9: sweep.service_seed: cannot be swept (allowed: the path of any key but sweep, extends, "
            "report, seed, service_seed, name, optimise)",
        ),
        (
            "policy: {kind: mp-rec}",
            "policy: {kind: mp-rec}\nservice_seed: -1",
            "e.yaml:12:15: service_seed: has to be at least 0 (got -1)",
        ),
        (
            "policy: {kind: mp-rec}",
            "policy: {kind: mp-rec}\nservice_seed: true",
            "e.yaml:12:15: service_seed: expected a number (got true)",
        ),
        (
            "policy: {kind: mp-rec}",
            "policy: {kind: mp-rec, margin: false}",
            "e.yaml:11:32: policy.margin: expected a number (got false)",
        ),
        (
            "cpu: cpu-broadwell",
            "cpu: cpu-broadwel",
            "e.yaml:10:20: fleet[0].devices.cpu: unknown device (got 'cpu-broadwel'; allowed: cpu-broadwell, "
            "cpu-epyc-1core, cpu-epyc-1core-mp-cache, cpu-epyc-1core-roofline, cpu-xeon-1core, "
            "cpu-xeon-1core-mp-cache, cpu-xeon-m167-1core, cpu-xeon-m167-1core-mp-cache, gpu-a100, gpu-a30, gpu-h200, "
            "gpu-h200-mp-cache, gpu-h200-roofline, gpu-t4, gpu-v100, ipu-gc200, ipu-pod16, "
            "kairos-c5n.2xlarge, kairos-g4dn.xlarge, kairos-r5n.large, kairos-t3.xlarge, ribbon-c5.2xlarge, "
            "ribbon-c5a.2xlarge, ribbon-g4dn.xlarge, ribbon-m5.xlarge, ribbon-m5n.xlarge, ribbon-r5.large, "
            "ribbon-r5n.large, ribbon-t3.xlarge, tpu-v3-8, triton-a100, triton-a30, triton-t4); "
            "did you mean 'cpu-broadwell'?",
        ),
        (
            "policy: {kind: mp-rec}",
            "policy: {kind: static, representation: table, device: gpu}\n"
            "mapping: {kind: explicit, devices: {gpu: [dhe]}}",
            "e.yaml:11:9: policy: no path of the fleet suits the policy (kind static, representation table, device "
            "gpu) (allowed: the paths that exist: dhe@gpu)",
        ),
        (
            "memory: 32GB",
            "memory: 100MB",
            "e.yaml:11:9: policy: no path of the fleet suits the policy (kind static, representation hybrid, device "
            "gpu) (allowed: the paths that exist: hybrid@cpu, dhe@cpu, select@cpu, table@cpu, select@gpu)",
        ),
        (
            "policy: {kind: mp-rec}",
            "report: {baseline: nothing}",
            "",
        ),
        (
            "replications: 10",
            "replications: 0",
            "e.yaml:12:15: replications: has to be at least 1 (got 0)",
        ),
    ],
)
def test_message(old: str, new: str, expected: str, tmp_path: Path) -> None:
    text = GOOD
    if "replications" in old:
        text += "replications: 10\n"
    if "32GB" in old:
        text = text.replace("{kind: mp-rec}", "{kind: static, representation: hybrid, device: gpu}")
    assert old in text
    found = problems(tmp_path, text.replace(old, new))
    assert found == ([expected] if expected else [])


def test_all_problems_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = (
        GOOD.replace("model: dlrm-kaggle", "model: dlrm-kagle")
        .replace("sla: 10ms", "sla: ten")
        .replace("size: 100", "size: 0")
        .replace("kind: mp-rec", "kind: mprec")
        .replace("gpu-v100", "gpu-v10")
    )
    found = problems(tmp_path, text)
    assert [line.split(": ")[1] for line in found] == [
        "model",
        "sla",
        "workload.sizes.size",
        "fleet[0].devices.gpu.profile",
        "policy.kind",
    ]
    assert all(line.startswith(f"e.yaml:{number}:") for line, number in zip(found, (2, 3, 6, 10, 11), strict=True))


def test_profiles_are_files_too_beside_the_experiment(tmp_path: Path) -> None:
    text = GOOD.replace("model: dlrm-kaggle", "model: ./model.yaml").replace("cpu: cpu-broadwell", "cpu: ./cpu.yaml")
    other = text.replace("size: 100", "size: 0")
    missing = "there is no such file, neither beside the file that names it nor in the working directory"
    for broken in (text, other):
        found = problems(tmp_path, broken)
        assert found[0].startswith(f"e.yaml:2:8: model: {missing} (got './model.yaml'; allowed: dien, dlrm-")
        assert found[-1].startswith(f"e.yaml:10:20: fleet[0].devices.cpu: {missing} (got './cpu.yaml'; allowed: cpu-")
    shutil.copy(model_file("dlrm-kaggle"), tmp_path / "model.yaml")
    (tmp_path / "cpu.yaml").write_text(
        "name: own\nkind: cpu\nevidence: modelled\nprovenance: {source: none}\n"
        "service: {dlrm-kaggle: {table: {distribution: exponential, mean: 1ms}}}\n"
    )
    assert problems(tmp_path, text) == []
    # Something else that is wrong does not make them unknown.
    assert problems(tmp_path, other) == ["e.yaml:6:30: workload.sizes.size: has to be at least 1 (got 0)"]


RATE = "workload.arrivals.rate=1e15/s"


def test_service_that_cannot_be_counted_in_64_bits_is_refused(tmp_path: Path) -> None:
    # A hundred queries a second for an hour; were one lane to serve 360,000 of them, 146 years pass at 3.55 h each.
    text = GOOD.replace("duration: 1s", "duration: 1h").replace("mp-rec", "static, representation: table, device: cpu")
    slow = "{profile: {kind: cpu, service: {distribution: exponential, mean: 4h}}}"
    (line,) = problems(tmp_path, text.replace("cpu-broadwell", slow))
    assert line == (
        "e.yaml:10:20: fleet[0].devices.cpu: service by table@cpu takes up to 4 h on average: the times of 360,000 "
        "queries (100/s for 1h) cannot be counted in 64 bits (allowed: 146 years in all; is the unit right?)"
    )
    assert problems(tmp_path, text.replace("cpu-broadwell", slow.replace("4h", "3h"))) == []
    # No service is long where the rate is to blame, or the number of queries.
    short = text.replace("cpu-broadwell", slow.replace("4h", "1ms"))
    (line,) = problems(tmp_path, short, "workload.arrivals.rate=1e13/s")
    assert line == (
        "--set workload.arrivals.rate:1:1: workload.arrivals.rate: 3.6e+16 queries (1e+13/s for 1h) are too many: at "
        "up to 1 ms each by table@cpu their times cannot be counted in 64 bits (got '1e13/s'; allowed: 146 years in "
        "all; is the unit right?)"
    )
    (line,) = problems(tmp_path, short.replace("1ms", "1s").replace("duration: 1h", "queries: 10000000000"))
    assert ": workload.queries: 10,000,000,000 queries are too many: at up to 1 s each by table@cpu" in line
    # Paths that are too slow alike are told once.
    (line,) = problems(tmp_path, text.replace("static, representation: table, device: cpu", "mp-rec"), RATE)
    assert "workload.arrivals.rate: 3.6e+18 queries" in line


SHAPE = "{kind: piecewise-rate, shape: [1e308, 1e308], rate: 1k/s, period: 1s}"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("queue.limit=9223372036854775807", "queue.limit: has to be less than 9007199254740992"),
        ("binding={kind: late, queue_limit: 9223372036854775808}", "binding.queue_limit: has to be less than"),
        ("fleet.hw.devices.gpu.queue_limit=9223372036854775808", "queue_limit: has to be less than"),
        ("batching={queries: 2, samples: 9223372036854775808}", "batching.samples: has to be less than"),
        ("splitting={part: 9223372036854775808}", "splitting.part: has to be less than"),
        ("report.confidence=0.9999999999999999", "report.confidence: has to be at most 0.999999999"),
        (
            "sla=12000d",
            "sla: the clock would run on for 10 times this after the last arrival, which 64 bits cannot count",
        ),
        ("sla=1e999999ms", "sla: a duration that is out of all bounds"),
        ("network={delay: 1000d, cv: 20}", "network.delay: some of the delays that are drawn could not be counted"),
        (f"workload.arrivals={SHAPE}", "workload.arrivals.shape[0]: has to be at most"),
        ("workload.arrivals.rate=1e300/s", "workload.arrivals.rate: a rate has to be from 1e-12 to 1e+15 /s"),
        (
            "fleet.hw.devices.cpu={kind: cpu, lanes: 5000, service: {distribution: exponential, mean: 1ms}}",
            "at most 4096",
        ),
        (
            "fleet.hw.devices.cpu={kind: cpu, service: {distribution: gamma, mean: 1ms, cv: 1e160}}",
            "cv: has to be at most",
        ),
        (
            "fleet.hw.devices.cpu={kind: cpu, price: 1e308 USD/h, service: {distribution: exponential, mean: 1ms}}",
            "price: a price has to be from 0 to 1e+12 USD/h",
        ),
        (
            "fleet.hw.devices.cpu={kind: cpu, service: {distribution: deterministic, per_sample: 53375d}}",
            "cannot be counted in 64 bits",
        ),
        (
            "fleet.hw.devices.cpu={kind: cpu, per_query_overhead: 53375d, service: SERVICE}",
            "cannot be counted in 64 bits",
        ),
    ],
)
def test_what_no_run_could_count_is_told_before_it(override: str, said: str, tmp_path: Path) -> None:
    override = override.replace("SERVICE", "{distribution: exponential, mean: 1ms}")
    found = problems(tmp_path, GOOD.replace("{kind: mp-rec}", "{kind: fastest}"), override)
    assert any(said in line for line in found), found


def test_errors_inside_a_sweep_point_into_the_sweep(tmp_path: Path) -> None:
    text = GOOD + "sweep:\n  policy:\n    good: {kind: fastest}\n    bad: {kind: static, representation: tables}\n"
    (line,) = problems(tmp_path, text.replace("policy: {kind: mp-rec}\n", "", 1))
    assert line.startswith("e.yaml:14:41: policy.representation: not one of the known names (got 'tables'")
    assert line.endswith("did you mean 'table'?")


def test_a_rate_that_a_sweep_gives_to_steps_is_told_there(tmp_path: Path) -> None:
    steps = GOOD.replace("{kind: poisson, rate: 100/s}", "{kind: piecewise-rate, steps: [{at: 0s, rate: 9/s}]}")
    (line,) = problems(tmp_path, steps + "sweep: {workload.arrivals.rate: [1/s]}\n")
    assert line.startswith("e.yaml:12:34: workload.arrivals.rate: steps have rates of their own: leave rate out")


def test_errors_in_an_extended_file_name_that_file(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(GOOD.replace("sla: 10ms", "sla: 10"))
    (line,) = problems(tmp_path, "extends: base.yaml\nname: child\n")
    assert line.startswith("base.yaml:3:6: sla: a duration needs a unit")
    assert problems(tmp_path, "extends: base.yaml\nname: child\nsla: 10ms\n") == []


@pytest.mark.parametrize(("warmup", "count"), [("7999ms", 0), ("8s", 1), ("9s", 1)])
def test_a_warm_up_that_leaves_nothing_is_told(warmup: str, count: int, tmp_path: Path) -> None:
    found = problems(tmp_path, GOOD, "workload.duration=8s", "workload.queries=null", f"workload.warmup={warmup}")
    assert len(found) == count
    assert all("workload.warmup: a warm-up as long as the run leaves nothing" in line for line in found)


SWEPT = GOOD + "sweep: {sla: [5ms, 20ms], workload.arrivals.rate: [100/s, 200/s]}\n"


@pytest.mark.parametrize(
    ("own", "line"),
    [
        ("sla: 7ms\n", "e.yaml:2:1: sla: has no effect: the sweep of base.yaml sets sla"),
        (
            "workload: {arrivals: {rate: 9/s}}\nsweep: {sla: [1ms]}\n",
            "e.yaml:2:23: workload.arrivals.rate: has no effect: the sweep of base.yaml sets workload.arrivals.rate",
        ),
    ],
)
def test_what_a_sweep_of_the_extended_file_sets_is_not_said_in_vain(own: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(SWEPT)
    (found,) = problems(tmp_path, f"extends: base.yaml\n{own}")
    assert found.startswith(f"{line} (allowed: leave it out, `sweep: {{")


def test_an_empty_sweep_leaves_out_that_of_the_extended_file(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(SWEPT)
    (tmp_path / "e.yaml").write_text("extends: base.yaml\nsla: 7ms\nsweep: {}\n")
    (scenario,) = load_scenarios(str(tmp_path / "e.yaml"))
    assert (scenario.parameters, scenario.experiment.sla) == ({}, 7_000_000)
    (tmp_path / "e.yaml").write_text("extends: base.yaml\nsla: 7ms\nsweep: {sla: [7ms, 9ms]}\n")
    assert [one.parameters["sla"] for one in load_scenarios(str(tmp_path / "e.yaml"))] == ["7ms"] * 2 + ["9ms"] * 2


def test_circles_and_missing_parents_are_told(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, "extends: e.yaml\n")
    assert "e.yaml:1:10: extends: files extend each other in a circle" in line
    (line,) = problems(tmp_path, "extends: nothing.yaml\n")
    allowed = "allowed: the path of an experiment file, from the folder of this one"
    assert line == f"e.yaml:1:10: extends: no such file (got 'nothing.yaml'; {allowed})"


@pytest.mark.parametrize("name", ["a\\0b.yaml", "n" * 300 + ".yaml"])
@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("name: test", 'extends: "NAME"', "e.yaml:1:10: extends: no such file"),
        ("dlrm-kaggle", '"NAME"', "e.yaml:2:8: model: there is no such file"),
        ("cpu-broadwell", '"NAME"', "e.yaml:10:20: fleet[0].devices.cpu: there is no such file"),
        ("gpu-v100", '"NAME"', "e.yaml:10:50: fleet[0].devices.gpu.profile: there is no such file"),
        ("{kind: poisson, rate: 100/s}", '{kind: trace, file: "NAME"}', "no such trace file"),
        ("{kind: fixed, size: 100}", '{kind: trace, file: "NAME"}', "no such trace file"),
        ("memory: 32GB", 'cache: {encoder: 1GB, popularity: {kind: counts, file: "NAME"}}', "no such file of IDs"),
        ("name: test", 'name: test\ninterference: {slowdown: "NAME"}', "interference.slowdown: there is no such file"),
        (
            "{profile: gpu-v100, memory: 32GB}",
            '{kind: gpu, memory: 32GB, lanes: 1, evidence: modelled, service: {dlrm-kaggle: {table: {table: "NAME"}}}}',
            "cannot read the table file: ",
        ),
    ],
)
def test_names_that_no_file_can_have(name: str, old: str, new: str, place: str, tmp_path: Path) -> None:
    lines = problems(tmp_path, GOOD.replace(old, new.replace("NAME", name)))
    assert any(place in line for line in lines), lines


def test_a_chain_of_any_length_is_followed(tmp_path: Path) -> None:
    for i in range(1200):
        (tmp_path / f"{i}.yaml").write_text(f"extends: {i + 1}.yaml\n" + ("sla: 3ms\n" if i == 600 else ""))
    (tmp_path / "1200.yaml").write_text(GOOD)
    (scenario,) = load_scenarios(str(tmp_path / "0.yaml"))
    assert scenario.experiment.sla == 3 * 10**6


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=" + "1" * 5000, "--set seed:1:1: seed: a whole number of 5,000 digits (allowed: at most 1,000)"),
        ("sla=" + "[" * 1000 + "]" * 1000, "--set sla:1:101: sla: nested too deeply"),
        ("a." * 1000 + "b=1", "--set:1:1: not an override"),
        ("fleet." + "1" * 5000 + ".count=1", "there is nothing at '111"),
    ],
)
def test_overrides_beyond_all_bounds_are_told(override: str, message: str, tmp_path: Path) -> None:
    (line,) = problems(tmp_path, GOOD, override)
    assert message in line


def test_a_different_kind_replaces_the_parents_block_and_the_same_kind_merges(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(GOOD.replace("{kind: mp-rec}", "{kind: mp-rec, margin: 0.1}"))
    (tmp_path / "e.yaml").write_text("extends: base.yaml\npolicy: {kind: fastest}\n")
    (scenario,) = load_scenarios(str(tmp_path / "e.yaml"))
    assert scenario.experiment.policy.model_dump() == {"kind": "fastest", "queue": "expected"}
    (tmp_path / "e.yaml").write_text("extends: base.yaml\npolicy: {kind: mp-rec, tie_break: first}\n")
    (scenario,) = load_scenarios(str(tmp_path / "e.yaml"))
    assert scenario.experiment.policy.margin == 0.1 and scenario.experiment.policy.tie_break == "first"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sla", "not an override (got 'sla'; allowed: key.path=value)"),
        ("fleet.hx.count=2", "there is nothing at 'hx' to set"),
        ("workload.arrivals.rat=2/s", "did you mean 'rate'?"),
        ("policy={kind: [", "YAML syntax"),
    ],
)
def test_bad_overrides(override: str, message: str, tmp_path: Path) -> None:
    assert any(message in line for line in problems(tmp_path, GOOD, override))


def test_overrides_reach_list_items_by_name_and_by_number(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(GOOD)
    for key in ("fleet.hw.count", "fleet.0.count"):
        (scenario,) = load_scenarios(str(tmp_path / "e.yaml"), [f"{key}=3", "workload.arrivals.rate=2k/s"])
        assert scenario.experiment.fleet[0].count == 3
        assert scenario.experiment.workload.arrivals.rate == 2000.0


def test_an_override_of_what_the_sweep_sets_is_told(tmp_path: Path) -> None:
    text = GOOD + "sweep: {sla: [10ms, 20ms]}\n"
    (line,) = problems(tmp_path, text, "sla=5ms")
    assert "sla: has no effect: the sweep sets sla" in line
    assert problems(tmp_path, text, "sweep={}", "sla=5ms") == []


def test_a_sweep_is_the_product_of_its_axes_the_first_slowest(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(
        GOOD + "sweep:\n  policy: {a: {kind: fastest}, b: {kind: mp-rec}}\n  workload.arrivals.rate: [1/s, 2/s]\n"
    )
    scenarios = load_scenarios(str(tmp_path / "e.yaml"))
    assert [tuple(s.parameters.values()) for s in scenarios] == [("a", "1/s"), ("a", "2/s"), ("b", "1/s"), ("b", "2/s")]
    assert [s.experiment.workload.arrivals.rate for s in scenarios] == [1.0, 2.0, 1.0, 2.0]


def test_labels_can_be_seen_whatever_they_are(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(
        GOOD + 'sweep:\n  policy: {"": {kind: fastest}, " ": {kind: mp-rec}}\n  queue: [{}, {limit: 5}]\n'
    )
    scenarios = load_scenarios(str(tmp_path / "e.yaml"))
    assert [tuple(s.parameters.values()) for s in scenarios] == [
        (policy, queue) for policy in ("''", "' '") for queue in ("{}", "limit=5")
    ]


def test_a_folder_called_like_an_experiment_does_not_hide_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("quickstart").mkdir()
    assert find_experiment("quickstart").name == "quickstart.yaml"
    Path("batching").write_text(GOOD)
    assert find_experiment("batching") == Path("batching")
