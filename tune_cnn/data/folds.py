"""Cross-validation: one data set dealt into folds, each of which is validated on once by a training on the others."""

from dataclasses import replace

import numpy as np

from tune_cnn.data.dataset import ImageData, SplitImages
from tune_cnn.data.split import draw_folds
from tune_cnn.errors import DataError


def fold_data(data: ImageData, folds: int, *, seed: int) -> tuple[ImageData, ...]:
    """Deal the images for training and validation into folds; the test split stays as it is in all of them.

    Args:
        data: its train and val splits are dealt together, stratified, groups undivided.
        folds: two or more.
        seed: another seed, another deal.

    Returns:
        For each fold the data set in which `val` is the fold and `train` the others.

    Raises:
        DataError: fewer images or groups than folds, or a class that some fold cannot be trained on.
    """
    pool = data.splits["train"].joined(data.splits["val"])
    by_path = {row.path: row for row in data.rows}
    rows = [by_path[path] for path in pool.paths]
    dealt = np.array(draw_folds(rows, folds, seed=seed))
    painted = np.array([row.paint is not None for row in rows])
    parts = [(pool.picked(dealt != fold), pool.picked((dealt == fold) & ~painted)) for fold in range(folds)]
    for train, _ in parts:
        _check_classes(data, train, folds)
    return tuple(replace(data, splits={**data.splits, "train": train, "val": val}) for train, val in parts)


def _check_classes(data: ImageData, train: SplitImages, folds: int) -> None:
    missing = [name for name, count in zip(data.classes, train.per_class(len(data.classes)), strict=True) if not count]
    if missing:
        raise DataError(
            f"folds: of {folds} folds one cannot be trained on {', '.join(map(repr, missing))}, all of whose images it "
            "validates on; add images or groups of it, or leave folds out"
        )
