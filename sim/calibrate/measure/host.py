"""What was measured: processor, cores, GPU, system and versions, in words."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Literal

__all__ = ["BEHIND_CACHE", "gpu_name", "host_text", "memory_bytes", "processor_name", "profile_name"]

BEHIND_CACHE = "-mp-cache"
"""End of the name of a profile whose queries an MP-Cache served."""


def processor_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Name of the processor as the system gives it."""
    try:
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def gpu_name() -> str | None:
    """Name of the first GPU as nvidia-smi gives it; None without one."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return None
    name, _, driver = lines[0].partition(",")
    return f"{name.strip()} (driver {driver.strip()})"


def host_text(device: str) -> str:
    """Processor, cores, GPU where it was measured, system and versions in one line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parts = [f"{processor_name()}, {cores} cores to use"]
    if device == "cuda":
        parts.append(f"GPU {gpu_name() or 'unknown'}")
    parts.append(f"{platform.system()} {platform.release().partition('-')[0]}")
    parts.append(f"{platform.python_implementation()} {platform.python_version()}")
    parts += [f"{name} {_version(package)}" for name, package in (("PyTorch", "torch"), ("mprec-sim", "mprec-sim"))]
    return "; ".join(parts)


def memory_bytes() -> int | None:
    """Memory of the host; None if unknown."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def profile_name(hardware: str, kind: Literal["cpu", "gpu"], threads: int, *, cache: bool) -> str:
    """Name for a profile: the processor with the cores of a lane, or the GPU; and whether it caches.

    Parameters
    ----------
    hardware : str
        As `processor_name` or `gpu_name` give it.
    kind : {"cpu", "gpu"}
    threads : int
    cache : bool
    """
    words = re.sub(
        r"\((?:r|tm|c|driver.*)\)|@.*|\d+-core.*|\b(?:processor|cpu|nvidia|intel|amd|geforce)\b", " ", hardware.lower()
    )
    name = "-".join(re.findall(r"[a-z0-9.]+", words)) or "machine"
    cores = f"-{threads}core" if kind == "cpu" else ""
    return f"{kind}-{name}{cores}{BEHIND_CACHE if cache else ''}"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"
