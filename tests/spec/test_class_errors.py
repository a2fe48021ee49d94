"""Impossible settings of classes are told before anything runs, where they stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.spec.problems import SpecError
from tests.harness import prepare_text

TABLE = "{table: {accuracy: {value: 90%, evidence: assumed}, bytes: 6GB}}"
GOOD = f"""\
name: t
model: {{name: m, representations: {TABLE}}}
sla: 10ms
workload:
  arrivals: {{kind: poisson, rate: 100/s}}
  sizes: {{kind: fixed, size: 400}}
  duration: 1s
fleet:
  - name: n
    devices:
      d: {{kind: cpu, service: {{sizes: [1, 500], service: [[1ms], [2ms]]}}}}
"""
OTHER = f"model: {{name: other, representations: {TABLE}}}"
POISSON = "arrivals: {kind: poisson, rate: 10/s}"
OWN = f"workload: {{{POISSON}, sizes: {{kind: fixed, size: 9}}}}"
SIZED = GOOD.replace("d: {kind: cpu", "d: {kind: cpu, memory: 10GB")
TWO_DEVICES = SIZED + "      e: {kind: cpu, service: {distribution: deterministic, mean: 1ms}}\n"


def test_the_good_ones_are_good(tmp_path: Path) -> None:
    for more in (
        "classes: [{name: a}]\n",
        "classes: [{name: a, share: 100%}]\n",
        "classes: [{name: a, share: 10%}, {name: b, share: 90%, sla: 1s}]\n",
        f"classes: [{{name: a}}, {{name: b, {OWN}, {OTHER}}}]\n",
        "queue: {order: priority}\nclasses: [{name: a, share: 10%}, {name: b, share: 90%, priority: 1}]\n",
        "queue: {order: priority}\nclasses: [{name: a, share: 10%}, {name: b, share: 90%, priority: 1}]\n"
        "sweep: {queue.order: [priority, fifo]}\n",
    ):
        assert prepare_text(tmp_path, GOOD + more)


@pytest.mark.parametrize(
    ("base", "more", "expected"),
    [
        (GOOD, "classes: [{name: a, share: 50%}, {name: a, share: 50%}]\n", "12:41: classes[1].name: another class"),
        (GOOD, "classes: []\n", "12:10: classes: has too few entries"),
        (
            GOOD,
            "classes: [{name: a, share: 50%}, {name: b, share: 40%}]\n",
            "12:51: classes[1].share: the shares of a, b add up to 0.9 (got '40%'; allowed: a sum of 1)",
        ),
        (GOOD, "classes: [{name: a, share: 50%}]\n", "12:28: classes[0].share: the shares of a add up to 0.5"),
        (
            GOOD,
            "classes: [{name: a, share: 50%}, {name: b}]\n",
            "12:34: classes[1]: b has no share of the workload it has with other classes",
        ),
        (
            GOOD,
            f"classes: [{{name: a}}, {{name: b, share: 10%, {OWN}}}]\n",
            "12:39: classes[1].share: the class has a workload of its own, and all of it (got '10%')",
        ),
        (
            GOOD,
            f"classes: [{{name: b, {OWN}}}]\n",
            "5:13: workload.arrivals: every class has a workload of its own, so these queries would be of none",
        ),
        (
            GOOD.replace("duration: 1s", "queries: 10"),
            f"classes: [{{name: a}}, {{name: b, {OWN}}}]\n",
            "7:12: workload.queries: several workloads end at one time, not after so many queries",
        ),
        (
            GOOD,
            "classes: [{name: a, share: 50%}, {name: b, share: 50%, priority: 2}]\n",
            "12:66: classes[1].priority: has no effect without queue: {order: priority} (got 2)",
        ),
        (
            GOOD,
            "classes: [{name: a, share: 50%}, {name: b, share: 50%, priority: 2}]\n"
            "queue: {limit: 2}\nsweep: {queue.limit: [1, 2]}\n",
            "12:66: classes[1].priority: has no effect without queue: {order: priority} (got 2)",
        ),
        (
            GOOD,
            "queue: {order: priority}\n",
            "12:16: queue.order: every query has the same priority, so this is the order of arrival",
        ),
        (
            GOOD,
            "queue: {order: priority}\nclasses: [{name: a, share: 50%}, {name: b, share: 50%, priority: 0}]\n",
            "12:16: queue.order: every query has the same priority",
        ),
        (GOOD, "classes: [{name: a, priority: -1}]\n", "12:31: classes[0].priority: has to be at least 0 (got -1)"),
        (GOOD, f"classes: [{{name: a, {OTHER}}}]\n", "2:8: model: every class has another model"),
        (
            GOOD,
            "classes: [{name: a, share: 50%}, {name: b, share: 50%, model: {name: m, representations: "
            "{table: {accuracy: {value: 91%, evidence: assumed}}}}}]\n",
            "12:63: classes[1].model: two models are called m (allowed: different names)",
        ),
        (
            GOOD,
            "classes: [{name: a, share: 50%}, {name: b, share: 50%, model: dlrm-kagle}]\n",
            "12:63: classes[1].model: unknown model (got 'dlrm-kagle'",
        ),
        (
            GOOD,
            "classes: [{name: a, mapping: {kind: explicit, devices: {d: [table]}}}]\n",
            "12:30: classes[0].mapping: m is mapped otherwise by the experiment (allowed: one mapping for each model)",
        ),
        (
            GOOD,
            f"classes: [{{name: a, share: 50%}}, {{name: b, share: 25%, {OTHER}, mapping: {{kind: explicit, devices: "
            f"{{d: [table]}}}}}}, {{name: c, share: 25%, {OTHER}, mapping: {{kind: most-accurate-first}}}}]\n",
            "classes[2].mapping: other is mapped otherwise by another class",
        ),
        (
            GOOD,
            f"classes: [{{name: a, share: 50%}}, {{name: b, share: 50%, {OTHER}, "
            "mapping: {kind: explicit, devices: {gpu: [table]}}}]\n",
            "classes[1].mapping.devices.gpu: no device of the fleet is called 'gpu'",
        ),
        (
            SIZED,
            "classes: [{name: a, share: 50%, memory: 70%}, {name: b, share: 50%, memory: 80%}]\n",
            "12:77: classes[1].memory: m has another limit in another class",
        ),
        (
            GOOD,
            "classes: [{name: a, memory: 70%}]\n",
            "12:29: classes[0].memory: has no effect: no device has a memory of known size (got '70%')",
        ),
        (
            SIZED,
            f"classes: [{{name: a, share: 50%}}, {{name: b, share: 50%, {OTHER}}}]\n",
            "classes[1].model: no representation of other lives on any device: n/d: no representation of other fits "
            "the 4,000,000,000 bytes of memory that it may take (smallest: 6,000,000,000)",
        ),
        (
            SIZED,
            f"classes: [{{name: a, share: 50%}}, {{name: b, share: 50%, {OTHER}, "
            "mapping: {kind: explicit, devices: {d: [table]}}}]\n",
            "classes[1].mapping.devices.d: table of other need 6,000,000,000 bytes but n/d has 4,000,000,000",
        ),
        (
            TWO_DEVICES,
            f"binding: {{kind: late}}\nclasses: [{{name: a, share: 50%}}, {{name: b, share: 50%, {OTHER}}}]\n",
            "13:17: binding.kind: a free lane takes the first query, but n/d has no path for other",
        ),
        (
            GOOD,
            f"classes: [{{name: a}}, {{name: b, workload: {{{POISSON}, sizes: {{kind: fixed, size: 501}}}}}}]\n",
            "classes[1].workload.sizes: queries (or their parts) have 501 to 501 samples, but table@d was measured",
        ),
        (
            GOOD,
            f"classes: [{{name: a}}, {{name: b, workload: {{{POISSON}, sizes: mlperf}}}}]\n",
            "12:89: classes[1].workload.sizes: unknown size distribution (got 'mlperf'",
        ),
        (
            GOOD,
            "classes: [{name: a}, {name: b, workload: {arrivals: {kind: trace, file: no.csv}, sizes: "
            "{kind: fixed, size: 1}}}]\n",
            "12:73: classes[1].workload.arrivals.file: no such trace file beside the experiment file or in the working "
            "directory; name yours with --set classes.b.workload.arrivals.file=FILE",
        ),
        (
            GOOD,
            "classes: [{name: a}, {name: b, workload: {arrivals: {kind: poisson, rate: 1/s}, duration: 1s}}]\n",
            "12:81: classes[1].workload.duration: unknown key (allowed: arrivals, sizes)",
        ),
    ],
)
def test_message(base: str, more: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as error:
        prepare_text(tmp_path, base + more)
    assert expected in str(error.value)


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    more = "classes: [{name: a, share: 50%, priority: 1, model: nothing}, {name: a, share: 90%}]\n"
    with pytest.raises(SpecError) as error:
        prepare_text(tmp_path, GOOD + more)
    found = str(error.value)
    for key in ("classes[0].priority", "classes[0].model", "classes[1].name", "classes[1].share"):
        assert key in found
