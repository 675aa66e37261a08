"""The task's difference from other tasks, in one value: what is minimised, and what is counted."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchmetrics.classification import MulticlassConfusionMatrix

from tune_cnn.results.scores import Counts, split_scores
from tune_cnn.sections.training import TrainingConfig


@dataclass(frozen=True)
class ClassificationObjective:
    """One label per image.

    The training loss knows class weights and label smoothing. The validation loss is plain cross entropy, so that it
    compares trials that differ in either.
    """

    classes: int
    train_loss: nn.CrossEntropyLoss

    def val_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Give the mean cross entropy of (B, C) logits against (B,) class ids."""
        return nn.functional.cross_entropy(logits, target)

    def counter(self, device: torch.device) -> "Counter":
        """Give an empty counter that lives on `device`."""
        return Counter(MulticlassConfusionMatrix(num_classes=self.classes, validate_args=False).to(device))


class Counter:
    """Confusion counts, loss and images of one pass; stays on the device until it is read, once, at the end."""

    def __init__(self, confusion: MulticlassConfusionMatrix) -> None:
        self._confusion = confusion
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=confusion.device)
        self._images = 0

    def add(self, logits: Tensor, target: Tensor, loss: Tensor) -> None:
        """Take in a batch: (B, C) logits, (B,) class ids, their mean loss."""
        self._confusion.update(logits.detach(), target)
        self._loss_sum += loss.detach().double() * len(target)
        self._images += len(target)

    def confusion(self) -> Counts:
        """Give the (C, C) counts, rows true, columns predicted."""
        counts: Counts = self._confusion.compute().cpu().numpy().astype("int64")
        return counts

    def scores(self) -> dict[str, float]:
        """Give the mean loss per image and the scores of the counts; NaN where no image was seen."""
        loss = float(self._loss_sum) / self._images if self._images else float("nan")
        return {"loss": loss, **split_scores(self.confusion())}


def classification_objective(training: TrainingConfig, images_per_class: Sequence[int]) -> ClassificationObjective:
    """Build the objective for a training split with these counts; every class must have an image."""
    counts = torch.tensor(images_per_class, dtype=torch.float32)
    # Weights n / (C * n_c): the mean weight of an image is 1, so the learning rate keeps its meaning.
    weights = counts.sum() / (len(counts) * counts) if training.class_weights == "balanced" else None
    loss = nn.CrossEntropyLoss(weight=weights, label_smoothing=training.label_smoothing)
    return ClassificationObjective(classes=len(counts), train_loss=loss)
