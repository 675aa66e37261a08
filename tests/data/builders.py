"""What child processes do with a cache in test_cache_kills.py; they tell when they begin, and what they saw."""

from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from tests.data.test_malformed_data import SECTION
from tune_cnn.data.augment import build_policy
from tune_cnn.data.augmented import Augmentation, AugmentedViews
from tune_cnn.data.cache import ArraySpec, Cache, Writer
from tune_cnn.data.dataset import open_data
from tune_cnn.sections.image import ImageConfig

LARGE = {"rows": ArraySpec((64, 2**15), np.uint8), "numbers": ArraySpec((64,), np.int64)}
Builder = Callable[[Path, Path], int]


def build_large(_data: Path, folder: Path) -> int:
    """Make an entry of two megabytes in 64 parts; give what its numbers add up to."""

    def build(writer: Writer) -> Mapping[str, Any]:
        for number in range(64):
            writer.append("rows", np.full((1, 2**15), number, np.uint8))
            writer.append("numbers", np.array([number]))
        return {"parts": 64}

    arrays = Cache(folder).arrays("large", "k1", LARGE, build).arrays
    return int(arrays["numbers"].sum() + arrays["rows"].sum())


def show_views(data: Path, folder: Path) -> int:
    """Open images and two augmented views of them as a trial does; give what their pixels and targets add up to."""
    cache = Cache(folder)
    section = SECTION.validate_python(
        {"kind": "folders", "root": str(data), "splits": {"train": "train", "val": "val"}}
    )
    train = open_data(section, ImageConfig(px=32), cache=cache).splits["train"]
    augmentation = Augmentation(train, build_policy("light", 32), seed=1, views=None, cache=cache)
    shown = [AugmentedViews(train, augmentation).open(number) for number in (0, 1)]
    return sum(int(images[:].sum()) + int(targets[:].sum()) for images, targets in shown)


def tell(build: Builder, data: Path, folder: Path, pipe: Connection) -> None:
    """Build, and send word before and after."""
    pipe.send(None)
    pipe.send(build(data, folder))
