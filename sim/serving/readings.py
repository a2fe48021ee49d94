"""What results take for granted where service tables are read otherwise than they were measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sim.profile.service import ServiceTable
from sim.serving.paths import Path

__all__ = ["reading_assumptions"]


def reading_assumptions(paths: Sequence[tuple[Path, str, int, int]]) -> Iterator[str]:
    """Yield a line for each profile and way of reading it.

    Parameters
    ----------
    paths : sequence of (Path, str, int, int)
        A path, the name of its device profile, and the smallest and largest size that it may be asked for.
    """
    for path, profile, smallest, largest in paths:
        service = path.service
        # What is modelled was measured at no size at all; what a cache makes of a table has lines of its own.
        if not isinstance(service, ServiceTable) or service.evidence == "modelled" or path.cached is not None:
            continue
        first, last = int(service.sizes[0]), int(service.sizes[-1])
        if smallest < first:
            yield f"service times of {profile} below {first} samples, which were not measured, are those at {first}"
        if largest > last:
            yield f"service times of {profile} beyond {last:,} samples, which were not measured, go on in a line"
        if service.levels.size == 1:
            yield f"service times of {profile} do not vary: one quantile of them is known"
        else:
            least, most = (f"p{100 * level:g}" for level in (service.levels[0], service.levels[-1]))
            if service.levels[0] > 0:
                yield f"service times of {profile} below {least} are taken to be {least}: the mean is too high"
            if service.levels[-1] < 1:
                yield f"service times of {profile} beyond {most} are taken to be {most}: the tail is too short"
        if service.round_to_ns > 1:
            step = f"{service.round_to_ns / 1e6:g} ms"
            nothing = f"; what is shorter than {service.round_to_ns / 2e6:g} ms takes no time"
            is_lost = float(service.service_ns.min()) < service.round_to_ns / 2
            yield f"service times of {profile} are rounded to multiples of {step}{nothing if is_lost else ''}"
