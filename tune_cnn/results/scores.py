"""Scores from confusion counts. Counts add up over batches; scores do not, so only counts are accumulated.

Definitions are those of scikit-learn, and the tests hold them against it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]


CLASS_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "classification": ("name", "support", "precision", "sensitivity", "specificity"),
    "segmentation": ("name", "support", "iou", "dice", "precision", "sensitivity", "specificity"),
}
"""By task, what is told of each class."""


@dataclass(frozen=True)
class ClassScores:
    """How well one class is told from the rest; NaN where nothing was there to be counted."""

    name: str
    support: int
    """Images (or pixels) that truly belong to the class."""
    precision: float
    sensitivity: float
    """Also called recall."""
    specificity: float
    iou: float
    """Intersection over union, also called Jaccard index."""
    dice: float
    """Also called F1."""


def split_scores(confusion: Counts) -> dict[str, float]:
    """Sum up a confusion matrix.

    Args:
        confusion: (C, C) counts, rows true, columns predicted.

    Returns:
        accuracy; balanced_accuracy, the mean recall of the classes that occur; macro_f1, the mean F1 of the classes
        that occur or were predicted. All NaN if nothing was counted.
    """
    hits, true, predicted = _margins(confusion)
    if not true.sum():
        return {"accuracy": np.nan, "balanced_accuracy": np.nan, "macro_f1": np.nan}
    seen, occurs = true + predicted > 0, true > 0
    return {
        "accuracy": float(hits.sum() / true.sum()),
        "balanced_accuracy": float(np.mean(hits[occurs] / true[occurs])),
        "macro_f1": float(np.mean(2 * hits[seen] / (true + predicted)[seen])),
    }


def segmentation_scores(confusion: Counts) -> dict[str, float]:
    """Sum up the confusion matrix of pixels.

    Args:
        confusion: (C, C) pixel counts, rows true, columns predicted.

    Returns:
        miou and dice, the means over the classes that occur or were predicted; pixel_accuracy. All NaN if nothing was
        counted.
    """
    hits, true, predicted = _margins(confusion)
    if not true.sum():
        return {"miou": np.nan, "dice": np.nan, "pixel_accuracy": np.nan}
    return {
        "miou": float(np.nanmean(_share(hits, true + predicted - hits))),
        "dice": float(np.nanmean(_share(2 * hits, true + predicted))),
        "pixel_accuracy": float(hits.sum() / true.sum()),
    }


def class_scores(confusion: Counts, classes: Sequence[str]) -> tuple[ClassScores, ...]:
    """Give the scores of each class against the rest.

    Args:
        confusion: (C, C) counts, rows true, columns predicted.
        classes: C names.
    """
    hits, true, predicted = _margins(confusion)
    rest = true.sum() - true
    rejected = rest - (predicted - hits)
    shares = (
        _share(hits, predicted),
        _share(hits, true),
        _share(rejected, rest),
        _share(hits, true + predicted - hits),
        _share(2 * hits, true + predicted),
    )
    rows = zip(classes, true, *shares, strict=True)
    return tuple(ClassScores(name, int(support), *map(float, row)) for name, support, *row in rows)


def _margins(confusion: Counts) -> tuple[Counts, Counts, Counts]:
    return np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)


def _share(part: Counts, whole: Counts) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return shares
