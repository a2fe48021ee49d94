"""Systems with a costly mechanism switched on, for the second table: batching, faults, hedging."""

from __future__ import annotations

__all__ = ["MECHANISMS", "SERVERS", "mechanism_text"]

SERVERS = 60

COMMON = """
name: benchmark with {mechanism}
model: dlrm-kaggle
sla: 10ms
workload:
  arrivals: {{kind: poisson, rate: {rate}/s}}
  sizes: {{kind: lognormal, mean: 128, sigma: 1.0, max: 4096}}
  duration: {duration_ns}ns
  warmup: 0s
fleet: [{{name: n, count: 30, devices: {{cpu: cpu-broadwell, gpu: gpu-v100}}}}]
mapping: {{kind: explicit, devices: {{cpu: [hybrid, dhe, table], gpu: [hybrid, dhe, table]}}}}
policy: {{kind: mp-rec}}
router: {{kind: power-of-d, d: 2, measure: queries}}
replications: 1
seed: 1
"""

MECHANISMS = {
    "batching": "batching: {queries: 8, timeout: 1ms}\n",
    "faults": (
        "retries: {limit: 3, backoff: 1ms}\n"
        "faults:\n"
        "  lifetimes:\n"
        "    - {each: device, mtbf: 5s, mttr: 200ms}\n"
        "    - {each: node, mtbf: 20s, mttr: 500ms}\n"
    ),
    "hedging": "hedging: {percentile: 95, cancel: running}\n",
}
"""What each of them adds to the common part."""

RATE_PER_S = 30_000


def mechanism_text(mechanism: str, queries: int) -> str:
    """Return the experiment with a mechanism that lasts for `queries` queries on average."""
    duration_ns = round(queries / RATE_PER_S * 1e9)
    common = COMMON.format(mechanism=mechanism, rate=RATE_PER_S, duration_ns=duration_ns)
    return common + MECHANISMS[mechanism]
