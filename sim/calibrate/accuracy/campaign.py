"""Every representation trained once a seed on the same rows, and what comes out over the seeds; needs PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from sim.calibrate.accuracy.click_log import ClickLog
from sim.calibrate.accuracy.results import RepresentationScores, SeedScores
from sim.calibrate.accuracy.scores import score
from sim.calibrate.accuracy.training import TrainingSettings, predict, train
from sim.calibrate.models.dlrm import Dlrm
from sim.calibrate.models.mp_cache import CachedDhe, DecoderCache
from sim.profile.dlrm import DlrmShape, RepresentationName
from sim.spec.problems import Problem, SpecError

__all__ = ["Campaign", "finite", "prepare_device", "run_campaign", "shape_for"]

_ACCESSES = 65_536
"""Training rows whose look-ups the centroids are clustered from: the last ones, as a cache is filled in service."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """What is trained.

    Attributes
    ----------
    representations : sequence of str
    seeds : sequence of int
    settings : TrainingSettings
    centroids : int or None
        Of a decoder cache whose accuracy cost is measured; None for none.
    """

    representations: Sequence[RepresentationName]
    seeds: Sequence[int]
    settings: TrainingSettings
    centroids: int | None = None


def prepare_device(device: str, threads: int | None) -> None:
    """Let PyTorch use so many threads of the CPU, None leaves the choice to it, and a GPU if there is one.

    Raises
    ------
    SpecError
        If `device` is "cuda" and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        message = f"PyTorch {torch.__version__} finds no CUDA GPU here"
        raise SpecError([Problem(message, key_path="--device", value=device, allowed="cpu")])
    if threads is not None:
        torch.set_num_threads(threads)


def shape_for(shape: DlrmShape, table_rows: Sequence[int]) -> DlrmShape:
    """Return a model's shape with tables for the IDs of a log, feature by feature in the log's order."""
    return replace(shape, table_rows=tuple(table_rows), ids_per_feature=1)


def run_campaign(
    shape: DlrmShape,
    training: ClickLog,
    test: ClickLog,
    campaign: Campaign,
    progress: Callable[[str, int], None] | None = None,
) -> list[RepresentationScores]:
    """Train and score.

    Parameters
    ----------
    shape : DlrmShape
        Of `shape_for`.
    training, test : ClickLog
        Rows to learn from, and later rows to predict.
    campaign : Campaign
    progress : callable, optional
        Told what is being trained and the rows of each step.

    Raises
    ------
    SpecError
        If a training diverges.
    """
    results = []
    for name in campaign.representations:
        seeds = []
        for seed in campaign.seeds:
            what = f"{name}, seed {seed}"
            told = None if progress is None else _Told(progress, what)
            model = train(shape, name, training, campaign.settings, seed, told)
            batch = campaign.settings.batch
            plain = score(test.labels, finite(predict(model, test, batch), what))
            cached = None
            if campaign.centroids is not None and model.stacks is not None:
                through = _decoder_cache(model, training, campaign.centroids)
                cached = score(test.labels, finite(predict(model, test, batch, through), what))
            seeds.append(SeedScores(seed, plain, cached))
        results.append(RepresentationScores(name, tuple(seeds)))
    return results


def finite(probabilities: NDArray[np.float32], what: str) -> NDArray[np.float32]:
    """Return probabilities that are numbers.

    Raises
    ------
    SpecError
        If the training of `what` diverged.
    """
    if not np.isfinite(probabilities).all():
        raise SpecError([Problem(f"the training of {what} diverged; take lower learning rates")])
    return probabilities


class _Told:
    def __init__(self, progress: Callable[[str, int], None], what: str) -> None:
        self._progress = progress
        self._what = what

    def __call__(self, rows: int) -> None:
        self._progress(self._what, rows)


def _decoder_cache(model: Dlrm, training: ClickLog, centroids: int) -> CachedDhe:
    assert model.stacks is not None
    recent = np.ascontiguousarray(training.ids[-_ACCESSES:])
    accesses = model.stack_ids(torch.from_numpy(recent)[:, :, None]).to(model.device)
    with torch.inference_mode():
        return CachedDhe(model.stacks, decoder_cache=DecoderCache.fitted(model.stacks, accesses, centroids))
