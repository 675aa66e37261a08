"""What a model answered to each image, kept beside it: what was looked at once is never asked again."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tune_cnn.files import write_whole
from tune_cnn.results.intervals import ImageAnswers, ImageCounts, Outcomes


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
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
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
        return ImageCounts(arrays[f"{split}.each"], images)
    true, predicted = arrays[f"{split}.true"], arrays[f"{split}.predicted"]
    return ImageAnswers(true, predicted, int(arrays[f"{split}.classes"]), images)
