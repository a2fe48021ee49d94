"""What the devices did in a window of time: busy lanes, waiting parts, energy and price."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.engine.record import RunRecord, Span
from sim.stats.spans import SpanLog

__all__ = [
    "ClassView",
    "SystemView",
    "check_indices",
    "device_energy_j",
    "device_on_ns",
    "device_price_usd",
    "lane_busy_time_ns",
    "mean_waiting_parts",
    "sum_by_kind",
]

NS_PER_S = 1e9
NS_PER_H = 3.6e12


@dataclass(frozen=True, slots=True)
class ClassView:
    """A class of queries: its name and its latency limit."""

    name: str
    sla_ns: int


@dataclass(frozen=True, slots=True)
class SystemView:
    """What measuring a record needs to know of the simulated system.

    Attributes
    ----------
    lane_device : shape (lanes,)
        Index of the device that each lane belongs to.
    device_kind : shape (devices,)
        Index into `device_kind_name` of each device.
    device_kind_name : one label per device kind, such as ``"hw1/gpu"``
    device_idle_w, device_busy_w, device_price_usd_per_h : shape (devices,)
        Power of a device with no lane busy and with all lanes busy, and its price; NaN where unknown.
    path_names : one label per path, such as ``"table@gpu"``
    path_accuracy : shape (paths,)
        Accuracy of each path as a fraction.
    sla_ns : int
        Latency limit from scheduled arrival to response.
    drop_reasons : names of the engine's drop reasons, in the order of its indices
    more_metrics : names of metrics that this system has besides those that all have
    device_node : shape (devices,)
        Node of each device; -1 for one that no path uses. Empty where no node comes or goes.
    classes : tuple of ClassView
        Classes of queries, in the order of the engine's indices; empty where there are none.
    """

    lane_device: NDArray[np.integer[Any]]
    device_kind: NDArray[np.integer[Any]]
    device_kind_name: Sequence[str]
    device_idle_w: NDArray[np.float64]
    device_busy_w: NDArray[np.float64]
    device_price_usd_per_h: NDArray[np.float64]
    path_names: Sequence[str]
    path_accuracy: NDArray[np.float64]
    sla_ns: int
    drop_reasons: Sequence[str] = ()
    more_metrics: Sequence[str] = ()
    device_node: Sequence[int] = ()
    classes: Sequence[ClassView] = ()

    def __post_init__(self) -> None:
        devices = len(self.device_kind)
        for name in ("device_idle_w", "device_busy_w", "device_price_usd_per_h"):
            if len(getattr(self, name)) != devices:
                raise ValueError(f"{name} has {len(getattr(self, name))} entries for {devices} devices")
        if len(self.path_accuracy) != len(self.path_names):
            raise ValueError(f"{len(self.path_accuracy)} accuracies for {len(self.path_names)} paths")
        check_indices("lane_device", self.lane_device, devices)
        check_indices("device_kind", self.device_kind, len(self.device_kind_name))

    def limits_ns(self, query_class: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """Return the latency limit of each query, shape (queries,)."""
        limits = [one.sla_ns for one in self.classes] or [self.sla_ns]
        return np.asarray(np.array(limits, dtype=np.int64)[query_class])


def lane_busy_time_ns(record: RunRecord, view: SystemView, start_ns: int, end_ns: int) -> NDArray[np.float64]:
    """Time within [start_ns, end_ns] that each lane spends on parts.

    Returns
    -------
    float64, shape (lanes,)

    Raises
    ------
    ValueError
        If a lane would be busy for longer than the window: it served two parts at once.
    """
    # The parts of a batch keep their lane busy once.
    finish_ns = np.where(record.leads_batch, record.part_finish_ns, record.part_start_ns)
    busy_ns = _lane_time_ns(record, view, record.part_start_ns, finish_ns, start_ns, end_ns)
    # Sums of integers below 2**53 ns (104 days) are exact, so there is no rounding to forgive.
    over = np.flatnonzero(busy_ns > end_ns - start_ns)
    if len(over):
        raise ValueError(f"lane {over[0]} is busy for {busy_ns[over[0]]:.0f} ns of {end_ns - start_ns} ns")
    return busy_ns


def device_on_ns(log: SpanLog, view: SystemView, start_ns: int, end_ns: int) -> NDArray[np.float64]:
    """Time within [start_ns, end_ns] that each device is not off, shape (devices,); one that is down is on."""
    off = log.span_kind == Span.OFF
    clipped = np.minimum(log.span_to_ns[off], end_ns) - np.maximum(log.span_from_ns[off], start_ns)
    off_ns = np.bincount(log.span_device[off], weights=np.maximum(clipped, 0), minlength=len(view.device_kind))
    return np.asarray(max(end_ns - start_ns, 0) - off_ns, dtype=np.float64)


def mean_waiting_parts(record: RunRecord, view: SystemView, start_ns: int, end_ns: int) -> NDArray[np.float64]:
    """Time average of the parts waiting in [start_ns, end_ns], by the device kind that served them, shape (kinds,).

    Parts that never started are in no lane's record and are missing.
    """
    waited = _lane_time_ns(record, view, record.part_enqueue_ns, record.part_start_ns, start_ns, end_ns)
    return sum_by_kind(view, waited) / (end_ns - start_ns)


def device_energy_j(view: SystemView, busy_ns: NDArray[np.float64], on_ns: NDArray[np.float64]) -> float:
    """Energy in joules that all devices use in a window; NaN if a power is not known.

    The power of a device rises from idle to busy in proportion to the number of its lanes that are busy. One that is
    off uses none.
    """
    device = np.asarray(view.lane_device)
    devices = len(view.device_kind)
    lanes = np.bincount(device, minlength=devices)
    all_busy_ns = np.bincount(device, weights=busy_ns, minlength=devices) / np.maximum(lanes, 1)
    idle_w, busy_w = np.asarray(view.device_idle_w), np.asarray(view.device_busy_w)
    return float(np.sum(idle_w * on_ns + (busy_w - idle_w) * all_busy_ns)) / NS_PER_S


def device_price_usd(view: SystemView, on_ns: NDArray[np.float64], window_ns: int) -> float:
    """Price in US$ of all devices for a window, but for the time that they are off; NaN if a price is not known."""
    price = np.asarray(view.device_price_usd_per_h)
    if np.all(on_ns == window_ns):
        return float(np.sum(price)) * (window_ns / NS_PER_H)
    return float(np.sum(price * on_ns)) / NS_PER_H


def sum_by_kind(view: SystemView, lane_value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add up over the lanes of each device kind, shape (kinds,)."""
    kind = np.asarray(view.device_kind)[np.asarray(view.lane_device)]
    total = np.bincount(kind, weights=lane_value, minlength=len(view.device_kind_name))
    return total.astype(np.float64, copy=False)


def check_indices(name: str, index: NDArray[Any], size: int) -> None:
    """Raise ValueError unless every value of `index` is in 0..size-1."""
    values = np.asarray(index)
    if len(values) and (values.min() < 0 or values.max() >= size):
        raise ValueError(f"{name} has a value outside 0..{size - 1}")


def _lane_time_ns(
    record: RunRecord,
    view: SystemView,
    from_ns: NDArray[np.int64],
    to_ns: NDArray[np.int64],
    start_ns: int,
    end_ns: int,
) -> NDArray[np.float64]:
    """Add up, per lane, the time of the spans [from_ns, to_ns] that lies within [start_ns, end_ns]."""
    clipped = np.minimum(to_ns, end_ns) - np.maximum(from_ns, start_ns)
    np.maximum(clipped, 0, out=clipped)
    time_ns = np.bincount(record.part_lane, weights=clipped, minlength=len(view.lane_device))
    return time_ns.astype(np.float64, copy=False)
