"""What a saved model answers to each image of a split: what intervals and paired comparisons are computed from."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tune_cnn.data.cache import Cache
from tune_cnn.evaluation import load_trained, open_scored_data
from tune_cnn.models.network import Network
from tune_cnn.results.intervals import ImageAnswers, ImageCounts, Outcomes
from tune_cnn.sections.data import IGNORED_ID
from tune_cnn.training.batches import Batches, best_device
from tune_cnn.training.micro_batches import MicroBatches, answers


def outcomes_of(
    folder: Path, *, data_root: str | Path | None, splits: Sequence[str], cache: Cache
) -> dict[str, Outcomes]:
    """Ask a saved model about every image of some splits.

    Args:
        folder: a model folder.
        data_root: where the data are now; None where the model's config says.
        splits: val, test or train; one the data lack is left out.
        cache: where decoded images are kept.

    Returns:
        By split, the outcomes in the split's order of images.

    Raises:
        RunFolderError: the folder holds no model, or a damaged one.
        DataError: the data cannot be used, or have other classes than the model.
    """
    model, card, config = load_trained(folder)
    data = open_scored_data(config, card, data_root=data_root, cache=cache)
    model.to(best_device()).eval()
    found: dict[str, Outcomes] = {}
    for name in (split for split in splits if split in data.splits):
        batches = Batches.of(
            data.splits[name].images,
            data.splits[name].targets,
            batch_size=config.training.batch_size,
            preprocessing=(card.mean, card.std),
            device=best_device(),
        )
        images = hashlib.sha256("\n".join(map(str, data.splits[name].paths)).encode()).hexdigest()
        found[name] = replace(_outcomes(model, batches, len(card.classes)), images=images)
    return found


@torch.inference_mode()
def _outcomes(model: Network, batches: Batches, classes: int) -> ImageAnswers | ImageCounts:
    counts: list[NDArray[np.int64]] = []
    true: list[NDArray[np.int64]] = []
    predicted: list[NDArray[np.int64]] = []
    micro = MicroBatches(purpose="evaluation")
    for images, targets in batches.in_order():
        found = answers(model, images, micro)
        if targets.ndim > 1:
            counts.append(_each(targets, found, classes))
        else:
            true.append(targets.cpu().numpy())
            predicted.append(found.cpu().numpy())
    if counts:
        return ImageCounts(np.concatenate(counts))
    return ImageAnswers(np.concatenate(true), np.concatenate(predicted), classes)


def _each(targets: Tensor, answers: Tensor, classes: int) -> NDArray[np.int64]:
    """Count the pixels of each image: (B, H, W) class ids twice to (B, C, C)."""
    each = np.zeros((len(targets), classes, classes), np.int64)
    for place, (target, answer) in enumerate(zip(targets, answers, strict=True)):
        known = target != IGNORED_ID
        cells = target[known].long() * classes + answer[known]
        each[place] = torch.bincount(cells, minlength=classes**2).reshape(classes, classes).cpu().numpy()
    return each
