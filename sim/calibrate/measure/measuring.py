"""`mprec calibrate measure` from its options to its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

from sim.calibrate.measure.block_store import BlockStore, open_store
from sim.calibrate.measure.blocks import MeasuredBlock
from sim.calibrate.measure.cache_setting import NO_CACHE, CacheSetting, parse_cache, parse_popularity
from sim.calibrate.measure.campaign import Campaign, LaneGroup, Measured, Progress, in_turn
from sim.calibrate.measure.dlrm_source import DlrmSource
from sim.calibrate.measure.energy import PowerMeter, open_meter
from sim.calibrate.measure.host import BEHIND_CACHE, gpu_name, memory_bytes, processor_name, profile_name
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
NOTHING_TO_CACHE = "there is nothing to cache: MP-Cache stands before DHE stacks, and a table has none"


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

    def without_and_with(self, written: str) -> list[MeasureRequest]:
        """Return what to measure for the effect of an MP-Cache: serving without it, its stages apart, and behind it.

        The latter without tables, which have nothing to cache, and under the name of the former with an ending.

        Raises
        ------
        SpecError
            If `written` is no cache.
        """
        option = "--cache-effect"
        cache = parse_cache(written, option)
        if not (self.cache == self.cache_stages == NO_CACHE):
            message = "it measures without a cache, its stages apart, and with it; leave the other option out"
            raise SpecError([Problem(message, key_path=option)])
        behind = tuple(name for name in self.settings.representations if name != "table")
        if not behind:
            raise SpecError([Problem(NOTHING_TO_CACHE, key_path=option)])
        return [
            replace(self, settings=replace(self.settings, cache_stages=written), cache_stages=cache),
            replace(
                self,
                settings=replace(self.settings, cache=written, representations=behind),
                cache=cache,
                name=None if self.name is None else self.name + BEHIND_CACHE,
            ),
        ]


def measure(requests: Sequence[MeasureRequest], progress: Progress, say: Callable[[str], None]) -> list[Path]:
    """Measure and write what was measured; several requests block by block in turn, and none if one is unfit.

    Parameters
    ----------
    requests : sequence of MeasureRequest
        For the same lanes.
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
        If something is wrong with a request; nothing was measured.
    Unfit
        If it was disturbed too much and is not to be kept.
    LaneFailed
    RunDirectoryError
    """
    require_pytorch("mprec calibrate measure")
    sides = [_Side(request) for request in requests]
    if sides[0].settings.device == "cuda":
        _require_cuda()
    rounds = _rounds(sides)
    # One folder holds all of it: it is resumed, and removed, as a whole.
    folder = requests[0].folder / "unfinished" / f"{sides[0].name}-{sides[0].model.name}"
    # What is there although its blocks are, too, was written by a command that was interrupted before all was.
    half_written = requests[0].resume and folder.exists()
    for side in sides:
        side.check_free(replace=side.request.replace or half_written)
    folders = [folder, *(folder / side.name for side in sides[1:])]
    stores = [side.open_store(own, at) for side, own, at in zip(sides, rounds, folders, strict=True)]
    if len(rounds[0]) > 1:
        listed = "; ".join(map(", ".join, rounds[0]))
        say(f"not everything fits in memory at once; measured one after the other: {listed}")
    told = _Together(progress)
    campaigns = [
        Campaign(side.settings, own, store, side.open_lanes, told.of(place), side.saying(say, named=len(sides) > 1))
        for place, (side, own, store) in enumerate(zip(sides, rounds, stores, strict=True))
    ]
    found = in_turn(campaigns)
    for side, measured in zip(sides, found, strict=True):
        for line in (*interference_lines(measured), side.power.text()):
            side.saying(say, named=len(sides) > 1)(line)
    _refuse_unfit(found, requests[0], folder)
    written = []
    for side, measured in zip(sides, found, strict=True):
        written += side.write(measured)
    stores[0].remove()
    return written


class _Side:
    """One request, checked, with all that it takes to measure it and to write what was found."""

    def __init__(self, request: MeasureRequest) -> None:
        shape = _checked_shape(request)
        # A model file is named by its path on the command line, and by its name in a profile.
        self.model = find_model(request.settings.model)
        self.settings = settings = replace(request.settings, model=self.model.name)
        settings.check()
        self.request = request
        self.source = DlrmSource(
            shape,
            settings.device,
            settings.threads,
            max(settings.sizes),
            parse_popularity(settings.ids),
            settings.seed,
            request.cache,
            request.cache_stages,
        )
        self.cores = cores_of_lanes(settings.lanes, settings.threads)
        self.power = _Power(open_meter(settings.device), settings)
        self.name = request.name or _hardware_name(settings, request.cache)
        self.about = about_settings(settings, self.name, request.command)

    def check_free(self, *, replace: bool) -> None:
        """Check that the result can be put in its place."""
        check_free(self.request.folder, self.name, self.model.name, self.about, replace=replace)

    def open_store(self, rounds: Sequence[Sequence[str]], folder: Path) -> BlockStore:
        """Open the folder of its blocks."""
        settings = {
            **self.settings.described(),
            "host": self.about["host"],
            "model_hash": self.model.content_hash,
            "rounds": [list(names) for names in rounds],
        }
        return open_store(folder, settings, resume=self.request.resume)

    @contextmanager
    def open_lanes(self) -> Iterator[LaneGroup]:
        """Start its lanes."""
        self.power.measure_idle()
        with Lanes(self.source, self.cores, self.settings.waiting, self.settings.seed) as lanes:
            yield _Metered(lanes, self.power)

    def saying(self, say: Callable[[str], None], *, named: bool) -> Callable[[str], None]:
        """Return `say`, with the name of the profile before each line if there are several."""
        return (lambda line: say(f"{self.name}: {line}")) if named else say

    def write(self, measured: Measured) -> list[Path]:
        """Write samples and profile."""
        samples = sample_set(measured, self.settings, self.about)
        memory = _memory_text(self.settings.device)
        return write_device(
            self.request.folder, self.name, samples, self.settings.model, memory=memory, power=self.power.written()
        )


class _Together:
    """The progress of several campaigns as one."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._counts: dict[int, tuple[int, int]] = {}

    def of(self, place: int) -> Progress:
        """Return what the campaign at a place tells its progress."""

        def tell(done: int, total: int, what: str) -> None:
            self._counts[place] = (done, total)
            counts = self._counts.values()
            self._progress(sum(done for done, _ in counts), sum(total for _, total in counts), what)

        return tell


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
        problems += [Problem(NOTHING_TO_CACHE, key_path=option) for option in caches]
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


def _rounds(sides: Sequence[_Side]) -> list[list[list[str]]]:
    """Return, for each request, which representations are loaded together."""
    available, where = available_bytes(), "this machine"
    if sides[0].settings.device == "cuda":
        import torch

        available, where = torch.cuda.mem_get_info()[0], "the GPU"
    needs = [
        {
            name: side.source.memory_need(cast("RepresentationName", name), side.settings.lanes)
            for name in side.settings.representations
        }
        for side in sides
    ]
    if len(sides) == 1:
        return [rounds_that_fit(needs[0], available, where)]
    # Those that take turns are loaded all the time.
    every = MemoryNeed(
        sum(need.kept_bytes for own in needs for need in own.values()),
        sum(max(need.working_bytes for need in own.values()) for own in needs),
    )
    rounds_that_fit({"all that is measured in turn": every}, available, where)
    return [[list(side.settings.representations)] for side in sides]


def _memory_text(device: Literal["cpu", "cuda"]) -> str | None:
    if device == "cuda":
        import torch

        return format_bytes(torch.cuda.get_device_properties(0).total_memory)
    memory = memory_bytes()
    return None if memory is None else format_bytes(memory)


def _refuse_unfit(found: Sequence[Measured], request: MeasureRequest, blocks: Path) -> None:
    reasons = list(dict.fromkeys(one.verdict.unfit for one in found if one.verdict.unfit))
    if reasons and not request.keep_unfit:
        raise Unfit(
            f"this measurement is unfit: {'; '.join(reasons)}. No profile was written. Measure again on a quieter "
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
