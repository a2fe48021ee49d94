"""Electrical power while something runs, where the machine exposes it: RAPL of CPUs, NVML through nvidia-smi."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

__all__ = ["NvidiaMeter", "PowerMeter", "RaplMeter", "open_meter"]


class RaplMeter:
    """Energy counters of the processor packages under /sys/class/powercap."""

    def __init__(
        self, root: Path = Path("/sys/class/powercap"), clock: Callable[[], int] = time.perf_counter_ns
    ) -> None:
        # Packages are intel-rapl:0; what lies below one (intel-rapl:0:0) is counted in it.
        found = (path for path in sorted(root.glob("intel-rapl:*")) if path.name.count(":") == 1)
        self._packages = [path for path in found if _number(path / "energy_uj") is not None]
        self._clock = clock
        self._energy_uj = 0
        self._duration_ns = 0
        self._before: list[int] = []
        self._started_ns = 0

    @property
    def available(self) -> bool:
        """Whether there is a counter that this user may read."""
        return bool(self._packages)

    def start(self) -> None:
        """Begin to count."""
        self._before = [_number(path / "energy_uj") or 0 for path in self._packages]
        self._started_ns = self._clock()

    def stop(self) -> None:
        """Count what was used since `start`; the counters start anew when they are full, at most once."""
        self._duration_ns += self._clock() - self._started_ns
        for path, before in zip(self._packages, self._before, strict=True):
            used = (_number(path / "energy_uj") or 0) - before
            self._energy_uj += used if used >= 0 else used + (_number(path / "max_energy_range_uj") or 0)

    def mean_w(self) -> float | None:
        """Mean power in W over everything between `start` and `stop`."""
        return self._energy_uj * 1e3 / self._duration_ns if self._packages and self._duration_ns else None


class NvidiaMeter:
    """Power draw of the first GPU, read by nvidia-smi every half second."""

    def __init__(self) -> None:
        self._program = shutil.which("nvidia-smi")
        self._process: subprocess.Popen[str] | None = None
        self._watts: list[float] = []

    @property
    def available(self) -> bool:
        """Whether there is an nvidia-smi."""
        return self._program is not None

    def start(self) -> None:
        """Begin to read."""
        if self._program is not None:
            command = [
                self._program,
                "-i",
                "0",
                "--query-gpu=power.draw",
                "--format=csv,noheader,nounits",
                "-lms",
                "500",
            ]
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def stop(self) -> None:
        """End it and keep what was read."""
        if self._process is None:
            return
        self._process.terminate()
        output, _ = self._process.communicate()
        self._process = None
        for line in output.splitlines():
            try:
                self._watts.append(float(line))
            except ValueError:
                # "[N/A]", or a line that was cut off.
                continue

    def mean_w(self) -> float | None:
        """Mean of the readings in W; None without any."""
        return sum(self._watts) / len(self._watts) if self._watts else None


PowerMeter = RaplMeter | NvidiaMeter


def open_meter(device: Literal["cpu", "cuda"]) -> PowerMeter | None:
    """Return a meter of that device, or None where the machine does not expose its power."""
    meter: PowerMeter = RaplMeter() if device == "cpu" else NvidiaMeter()
    return meter if meter.available else None


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
