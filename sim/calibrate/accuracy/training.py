"""Training one representation on a click log and predicting the rows it never saw; needs PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sim.calibrate.accuracy.click_log import ClickLog
from sim.calibrate.models.distinct import DistinctDhe
from sim.calibrate.models.dlrm import DheForward, Dlrm
from sim.calibrate.models.embeddings import LastActivation
from sim.profile.dlrm import DlrmShape, RepresentationName

__all__ = ["TrainingSettings", "predict", "train"]


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How a model is trained.

    Attributes
    ----------
    epochs : int
        Passes over the training rows.
    batch : int
        Rows a step.
    learning_rate : float
        Of Adam, for everything but tables; it falls to 0 along half a cosine.
    table_learning_rate : float
        Of the lazy Adam of tables, which moves looked-up rows only; falling likewise.
    last_activation : {"mish", "sigmoid"}
        Of the DHE decoders.
    device : str
        "cpu" or "cuda".
    """

    epochs: int = 1
    batch: int = 2048
    learning_rate: float = 1e-3
    table_learning_rate: float = 1e-2
    last_activation: LastActivation = "mish"
    device: str = "cpu"

    def in_words(self) -> str:
        """Say how it is trained."""
        return (
            f"{self.epochs} epoch{'s' if self.epochs > 1 else ''}, {self.batch} rows a step, "
            f"Adam {self.learning_rate:g} (tables {self.table_learning_rate:g}), "
            f"{self.last_activation} after the DHE decoders"
        )


def train(
    shape: DlrmShape,
    representation: RepresentationName,
    log: ClickLog,
    settings: TrainingSettings,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> Dlrm:
    """Train a model.

    Parameters
    ----------
    shape : DlrmShape
        With a table row for every ID of the log.
    representation : {"table", "dhe", "select", "hybrid"}
    log : ClickLog
        Training rows; each epoch takes them in another order.
    settings : TrainingSettings
    seed : int
        Of weights and order. The order is the same for every representation.
    progress : callable, optional
        Told the number of rows of each step.
    """
    model = Dlrm(shape, representation, seed=seed, device=settings.device, last_activation=settings.last_activation)
    model.sparse_gradients = True
    if model.stacks is not None:
        model.dhe_forward = DistinctDhe(model.stacks)
    steps_an_epoch = math.ceil(len(log) / settings.batch)
    steps = settings.epochs * steps_an_epoch
    optimizers: list[Any] = [torch.optim.Adam(_trained(model.dense_parameters), lr=settings.learning_rate)]
    if model.tables.parameters:
        optimizers.append(torch.optim.SparseAdam(_trained(model.tables.parameters), lr=settings.table_learning_rate))
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps) for optimizer in optimizers]
    dense, ids, labels = _tensors(log)
    order = np.random.default_rng([seed, len(log)])
    for _ in range(settings.epochs):
        for rows in torch.from_numpy(order.permutation(len(log))).split(settings.batch):
            result = model.forward(dense[rows].to(model.device), ids[rows].to(model.device))
            assert result.logits is not None
            loss = torch.nn.functional.binary_cross_entropy_with_logits(result.logits, labels[rows].to(model.device))
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=True)
            loss.backward()
            for optimizer, schedule in zip(optimizers, schedules, strict=True):
                optimizer.step()
                schedule.step()
            if progress is not None:
                progress(len(rows))
    for parameter in [*model.dense_parameters, *model.tables.parameters]:
        parameter.requires_grad_(False)
    return model


def predict(model: Dlrm, log: ClickLog, batch: int, through: DheForward | None = None) -> NDArray[np.float32]:
    """Predict click probabilities.

    Parameters
    ----------
    model : Dlrm
        Trained.
    log : ClickLog
        Rows to predict.
    batch : int
        Rows a step.
    through : DheForward, optional
        How IDs go through the DHE stacks, such as an MP-Cache; by default in full.

    Returns
    -------
    float32, (rows,)
    """
    usual = model.dhe_forward
    if through is not None:
        model.dhe_forward = through
    try:
        dense, ids, _ = _tensors(log)
        parts = [
            model.serve(some.to(model.device), own.to(model.device)).cpu()
            for some, own in zip(dense.split(batch), ids.split(batch), strict=True)
        ]
    finally:
        model.dhe_forward = usual
    probabilities: NDArray[np.float32] = torch.cat(parts).numpy()
    return probabilities


def _trained(parameters: list[Tensor]) -> list[Tensor]:
    return [parameter.requires_grad_(True) for parameter in parameters]


def _tensors(log: ClickLog) -> tuple[Tensor, Tensor, Tensor]:
    """Dense inputs, IDs as (rows, features, 1) and labels, without copying."""
    return torch.from_numpy(log.dense), torch.from_numpy(log.ids)[:, :, None], torch.from_numpy(log.labels)
