"""The task's difference from other tasks, in one value: what is minimised, and what is counted."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tune_cnn.config import Task
from tune_cnn.results.scores import Counts, segmentation_scores, split_scores
from tune_cnn.sections.data import IGNORED_ID
from tune_cnn.sections.training import TrainingConfig
from tune_cnn.training.losses import TrainLoss, cross_entropy

_MOST_CELLS = 2**16
"""Of the counts of one batch."""
ScoresOf = Callable[[Counts], dict[str, float]]


@dataclass(frozen=True)
class Objective:
    """One class id per image, or per pixel.

    The training loss is what the config asks for. The validation loss is plain cross entropy, so that it compares
    trials that differ in the training loss.
    """

    classes: int
    train_loss: TrainLoss
    scores_of: ScoresOf
    """From confusion counts to the task's scores."""

    def val_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Give the mean cross entropy of (B, C, ...) logits against (B, ...) class ids."""
        return cross_entropy(logits, target, ignored_id=self.train_loss.ignored_id)

    def counter(self, device: torch.device) -> "Counter":
        """Give an empty counter that lives on `device`."""
        return Counter(self.classes, self.scores_of, self.train_loss.ignored_id, device)


class Counter:
    """Confusion counts and loss of one pass; stays on the device until it is read, once, at the end.

    Adding asks the device for nothing, so that it need not be waited for: no bincount, no selection by a mask.
    """

    def __init__(self, classes: int, scores_of: ScoresOf, ignored_id: int | None, device: torch.device) -> None:
        self._classes = classes
        self._scores_of = scores_of
        self._ignored_id = ignored_id
        self._cells = torch.zeros(classes**2, dtype=torch.int64, device=device)
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        self._counted = torch.zeros((), dtype=torch.int64, device=device)

    def add(self, predicted: Tensor, target: Tensor, loss: Tensor) -> None:
        """Take in a batch: (B, ...) predicted and true class ids, the mean loss of those that count, a scalar."""
        counts = torch.ones_like(target, dtype=torch.bool) if self._ignored_id is None else target != self._ignored_id
        self._cells += self._tally((target * self._classes + predicted).where(counts, 0), counts)
        counted = counts.sum()
        self._loss_sum += loss.detach().double() * counted
        self._counted += counted

    def _tally(self, cells: Tensor, counts: Tensor) -> Tensor:
        """Count how often each cell occurs in (B, ...) `cells` where `counts` is true: (C * C,)."""
        width, size = cells.shape[-1], len(self._cells)
        # Columns count each for themselves: else all threads of a GPU would queue for a handful of cells.
        columns = max(1, min(width, _MOST_CELLS // size))
        places = cells + torch.arange(width, device=cells.device) % columns * size
        apart = torch.zeros(columns * size, dtype=torch.int64, device=cells.device)
        return apart.scatter_add_(0, places.flatten(), counts.flatten().long()).view(columns, size).sum(0)

    def confusion(self) -> Counts:
        """Give the (C, C) counts, rows true, columns predicted."""
        counts: Counts = self._cells.view(self._classes, self._classes).to("cpu", copy=True).numpy()
        return counts

    def scores(self) -> dict[str, float]:
        """Give the mean loss per image or pixel and the scores of the counts; NaN where nothing was counted."""
        counted = int(self._counted)
        loss = float(self._loss_sum) / counted if counted else float("nan")
        return {"loss": loss, **self._scores_of(self.confusion())}


def objective_for(task: Task, training: TrainingConfig, per_class: Sequence[int]) -> Objective:
    """Build the objective of a task.

    Args:
        task: what is predicted.
        training: the loss, and whether classes are weighed.
        per_class: images (or pixels) of each class in the training split; a class without any weighs nothing.
    """
    scores_of, ignored = _OF_TASK[task]
    weight = _balanced(per_class) if training.class_weights == "balanced" else None
    loss = TrainLoss(training.loss_terms, weight=weight, label_smoothing=training.label_smoothing, ignored_id=ignored)
    return Objective(len(per_class), loss, scores_of)


_OF_TASK: Mapping[Task, tuple[ScoresOf, int | None]] = {
    "classification": (split_scores, None),
    "segmentation": (segmentation_scores, IGNORED_ID),
}


def _balanced(per_class: Sequence[int]) -> Tensor:
    """Weights n / (C * n_c): the mean weight of an image or pixel is 1, so the learning rate keeps its meaning."""
    counts = torch.tensor(per_class, dtype=torch.float64)
    present = counts > 0
    return (counts.sum() / (present.sum() * counts.clamp(min=1)) * present).float()
