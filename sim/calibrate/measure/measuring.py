"""`mprec calibrate measure` from its options to its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

from sim.calibrate.measure.block_store import open_store
from sim.calibrate.measure.blocks import MeasuredBlock
from sim.calibrate.measure.cache_setting import NO_CACHE, CacheSetting, parse_popularity
from sim.calibrate.measure.campaign import Campaign, LaneGroup, Measured, Progress
from sim.calibrate.measure.dlrm_source import DlrmSource
from sim.calibrate.measure.energy import PowerMeter, open_meter
from sim.calibrate.measure.host import gpu_name, memory_bytes, processor_name, profile_name
from sim.calibrate.measure.lanes import Lanes, cores_of_lanes
from sim.calibrate.measure.memory import MemoryNeed, available_bytes, rounds_that_fit
from sim.calibrate.measure.result import (
    about_settings,
    check_free,
    interference_lines,
    sample_set,
    write_device,
)
from sim.calibrate.measure.settings import MeasureSettings
from sim.calibrate.measure.visits import Visit
from sim.calibrate.pytorch import require_pytorch
from sim.profile.dlrm import DlrmShape, RepresentationName
from sim.profile.library import UnknownName, find_dlrm_shape, find_model
from sim.spec.problems import Problem, SpecError, nearest_name
from sim.spec.units import format_bytes, format_power_w

__all__ = ["MeasureRequest", "Unfit", "measure"]

IDLE_S = 3.0


class Unfit(RuntimeError):
    """A measurement that was disturbed too much; nothing was saved but its blocks."""


@dataclass(frozen=True, slots=True)
class MeasureRequest:
    """What the command line asks for beside the settings.

    Attributes
    ----------
    settings : MeasureSettings
    cache, cache_stages : CacheSetting
        Caches that serve, and caches that are looked up apart.
    folder : Path
        Profile folder.
    name : str or None
        Of the profile; None: after the hardware.
    command : str
        As it was typed, for the provenance.
    resume, keep_unfit, replace : bool
    """

    settings: MeasureSettings
    cache: CacheSetting
    cache_stages: CacheSetting
    folder: Path
    name: str | None
    command: str
    resume: bool = False
    keep_unfit: bool = False
    replace: bool = False


def measure(request: MeasureRequest, progress: Progress, say: Callable[[str], None]) -> list[Path]:
    """Measure and write what was measured.

    Parameters
    ----------
    request : MeasureRequest
    progress : Progress
        Told of every block.
    say : callable
        Takes a line for people.

    Returns
    -------
    list of Path
        Files that were written.

    Raises
    ------
    SpecError
        If something is wrong with the request; nothing was measured.
    Unfit
        If it was disturbed too much and is not to be kept.
    LaneFailed
    RunDirectoryError
    """
    require_pytorch("mprec calibrate measure")
    shape = _checked_shape(request)
    # A model file is named by its path on the command line, and by its name in a profile.
    model = find_model(request.settings.model)
    settings = replace(request.settings, model=model.name)
    settings.check()
    cores = cores_of_lanes(settings.lanes, settings.threads)
    source = DlrmSource(
        shape,
        settings.device,
        settings.threads,
        max(settings.sizes),
        parse_popularity(settings.ids),
        settings.seed,
        request.cache,
        request.cache_stages,
    )
    if settings.device == "cuda":
        _require_cuda()
    rounds = _rounds(source, settings)
    name = request.name or _hardware_name(settings, request.cache)
    about = about_settings(settings, name, request.command)
    check_free(request.folder, name, settings.model, about, replace=request.replace)
    store = open_store(
        request.folder / "unfinished" / f"{name}-{settings.model}",
        {
            **settings.described(),
            "host": about["host"],
            "model_hash": model.content_hash,
            "rounds": rounds,
        },
        resume=request.resume,
    )
    if len(rounds) > 1:
        say("not everything fits in memory at once; measured one after the other: " + "; ".join(map(", ".join, rounds)))
    power = _Power(open_meter(settings.device), settings)

    @contextmanager
    def open_lanes() -> Iterator[LaneGroup]:
        power.measure_idle()
        with Lanes(source, cores, settings.waiting, settings.seed) as lanes:
            yield _Metered(lanes, power)

    measured = Campaign(settings, rounds, store, open_lanes, progress, say).run()
    for line in interference_lines(measured):
        say(line)
    say(power.text())
    _refuse_unfit(measured, request, store.folder)
    samples = sample_set(measured, settings, about)
    memory = _memory_text(settings.device)
    written = write_device(request.folder, name, samples, settings.model, memory=memory, power=power.written())
    store.remove()
    return written


def _checked_shape(request: MeasureRequest) -> DlrmShape:
    """Shape of the model, once model and representations are known to be there."""
    settings = request.settings
    try:
        shape = find_dlrm_shape(settings.model)
    except UnknownName as error:
        near = nearest_name(error.name, error.known)
        allowed = ", ".join(error.known)
        raise SpecError([Problem("unknown model", None, "--model", error.name, allowed, near)]) from error
    if shape is None:
        message = "its file gives no shape (dlrm: ...), so that it cannot be built"
        raise SpecError([Problem(message, key_path="--model", value=settings.model)])
    known = tuple(find_model(settings.model).representations)
    problems = [
        Problem("unknown representation", None, "--representation", name, ", ".join(known), nearest_name(name, known))
        for name in settings.representations
        if name not in known
    ]
    caches = [
        option
        for option, setting in (("--cache", request.cache), ("--cache-stages", request.cache_stages))
        if setting != NO_CACHE
    ]
    if set(settings.representations) == {"table"}:
        message = "there is nothing to cache: MP-Cache stands before DHE stacks, and a table has none"
        problems += [Problem(message, key_path=option) for option in caches]
    if len(caches) == 2:
        problems.append(Problem("caches are either on or looked up apart", key_path="--cache-stages"))
    if problems:
        raise SpecError(problems)
    return shape


def _hardware_name(settings: MeasureSettings, cache: CacheSetting) -> str:
    if settings.device == "cuda":
        return profile_name(gpu_name() or "", "gpu", settings.threads, cache=cache != NO_CACHE)
    return profile_name(processor_name(), "cpu", settings.threads, cache=cache != NO_CACHE)


def _require_cuda() -> None:
    import torch

    if not torch.cuda.is_available():
        message = f"PyTorch {torch.__version__} finds no CUDA GPU here"
        raise SpecError([Problem(message, key_path="--device", value="cuda", allowed="cpu, or a machine with a GPU")])


def _rounds(source: DlrmSource, settings: MeasureSettings) -> list[list[str]]:
    names = cast("Sequence[RepresentationName]", settings.representations)
    needed: dict[str, MemoryNeed] = {name: source.memory_need(name, settings.lanes) for name in names}
    if settings.device == "cuda":
        import torch

        free, _ = torch.cuda.mem_get_info()
        return rounds_that_fit(needed, free, "the GPU")
    return rounds_that_fit(needed, available_bytes(), "this machine")


def _memory_text(device: Literal["cpu", "cuda"]) -> str | None:
    if device == "cuda":
        import torch

        return format_bytes(torch.cuda.get_device_properties(0).total_memory)
    memory = memory_bytes()
    return None if memory is None else format_bytes(memory)


def _refuse_unfit(measured: Measured, request: MeasureRequest, blocks: Path) -> None:
    if measured.verdict.unfit and not request.keep_unfit:
        raise Unfit(
            f"this measurement is unfit: {measured.verdict.unfit}. No profile was written. Measure again on a quieter "
            f"machine (remove {blocks} first), or keep it, marked as unfit: the same command with --resume --keep-unfit"
        )


class _Power:
    """Power of the machine: idle before the lanes start, and while blocks are measured."""

    def __init__(self, meter: PowerMeter | None, settings: MeasureSettings) -> None:
        self._busy = meter
        self._settings = settings
        self._idle_w: float | None = None

    def measure_idle(self) -> None:
        meter = None if self._busy is None else open_meter(self._settings.device)
        if meter is None:
            return
        import time

        meter.start()
        time.sleep(IDLE_S)
        meter.stop()
        self._idle_w = meter.mean_w()

    def start(self) -> None:
        if self._busy is not None:
            self._busy.start()

    def stop(self) -> None:
        if self._busy is not None:
            self._busy.stop()

    def text(self) -> str:
        busy = None if self._busy is None else self._busy.mean_w()
        if busy is None:
            return "power: this machine does not expose it, so the profile has none"
        idle = "" if self._idle_w is None else f", {self._idle_w:.0f} W idle"
        return f"power: {busy:.0f} W while measuring{idle}"

    def written(self) -> dict[str, str] | None:
        """Power for the profile; none where lanes were idle in between."""
        busy = None if self._busy is None else self._busy.mean_w()
        if busy is None or self._settings.load < 1:
            return None
        found = {"busy": format_power_w(round(busy, 1))}
        if self._idle_w is not None and self._idle_w <= busy:
            found = {"idle": format_power_w(round(self._idle_w, 1)), **found}
        return found


class _Metered:
    """Lanes whose power is measured during each block."""

    def __init__(self, lanes: Lanes, power: _Power) -> None:
        self._lanes = lanes
        self._power = power

    def load(self, representations: Sequence[str]) -> dict[str, tuple[str, ...]]:
        return self._lanes.load(representations)

    def measure(self, block: int, visits: Sequence[Visit]) -> list[MeasuredBlock]:
        self._power.start()
        try:
            return self._lanes.measure(block, visits)
        finally:
            self._power.stop()
