"""What a model answered to each image, kept beside it: what was looked at once is never asked again."""

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tune_cnn.files import write_whole
from tune_cnn.results.intervals import ImageAnswers, ImageCounts, Outcomes

_DAMAGE = (
    *(OSError, ValueError, OverflowError, TypeError, KeyError, EOFError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, RuntimeError),  # the last for packings that zipfile does not know
)
"""What a damaged archive is answered with, by NumPy or by zipfile."""


def write_outcomes(file: Path, found: Mapping[str, Outcomes]) -> None:
    """Write outcomes by split, whole or not at all."""
    arrays = {f"{split}.{name}": array for split, each in found.items() for name, array in _arrays(each).items()}
    part = io.BytesIO()
    np.savez_compressed(part, allow_pickle=False, **arrays)
    write_whole(file, part.getvalue())


def read_outcomes(file: Path) -> dict[str, Outcomes] | None:
    """Read what `write_outcomes` wrote; None if there is no such file, or a damaged one."""
    try:
        with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as kept:
            arrays = dict(kept)
        splits = dict.fromkeys(name.partition(".")[0] for name in arrays)
        found = {split: _outcomes(arrays, split) for split in splits}
    except _DAMAGE:
        return None
    return found if "val" in found else None


def _arrays(outcomes: Outcomes) -> dict[str, NDArray[Any]]:
    names = np.array(outcomes.images)
    if isinstance(outcomes, ImageAnswers):
        classes = np.array(outcomes.classes)
        return {"images": names, "true": outcomes.true, "predicted": outcomes.predicted, "classes": classes}
    if isinstance(outcomes, ImageCounts):
        return {"images": names, "each": outcomes.each}
    raise TypeError(f"{type(outcomes).__name__} is no kind of outcome that can be written")


def _outcomes(arrays: Mapping[str, NDArray[Any]], split: str) -> Outcomes:
    images = str(arrays[f"{split}.images"])
    if f"{split}.each" in arrays:
        each = _whole_numbers(arrays[f"{split}.each"], dimensions=3)
        if each.shape[1] != each.shape[2]:
            raise ValueError("counts of no square shape")
        return ImageCounts(each, images)
    true, predicted = (_whole_numbers(arrays[f"{split}.{name}"], dimensions=1) for name in ("true", "predicted"))
    classes = int(arrays[f"{split}.classes"])
    if true.shape != predicted.shape or max(true.max(initial=0), predicted.max(initial=0)) >= classes:
        raise ValueError("answers that are not one of the classes for each image")
    return ImageAnswers(true, predicted, classes, images)


def _whole_numbers(array: NDArray[Any], *, dimensions: int) -> NDArray[np.int64]:
    numbers = array.astype(np.int64, casting="safe")
    if numbers.ndim != dimensions or numbers.min(initial=0) < 0:
        raise ValueError("not as it was written")
    return numbers
