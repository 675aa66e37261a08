"""Small data sets of images and masks for tests."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.data.pictures import encoded, jpeg, put, seed_of

Section = dict[str, Any]
SPLITS = {"val": 0.25, "test": 0.25}


def mask_png(seed: int, size: tuple[int, int] = (20, 16), values: tuple[int, ...] = (0, 255)) -> bytes:
    """A mask of (width, height) pixels, each of `values` in it."""
    places = np.random.default_rng(seed).integers(0, len(values), (size[1], size[0]))
    places.flat[: len(values)] = range(len(values))
    return encoded(Image.fromarray(np.array(values, np.uint8)[places]), "PNG")


def mask_set(root: Path, *, images: int = 8, folder: str = "") -> Path:
    """Images and masks of one size each, in `images` and `masks` of the root or of one of its folders."""
    for number in range(images):
        name = f"{folder}{number}"
        put(root / folder / "images" / f"{number}.jpg", jpeg(seed_of(name)))
        put(root / folder / "masks" / f"{number}.png", mask_png(seed_of(name)))
    return root


def section(root: Path, **values: Any) -> Section:
    """The data section of such a set."""
    usual = {"images": "images", "masks": "masks", "values": {0: "land", 255: "water"}, "splits": SPLITS}
    return {"kind": "masks", "root": str(root)} | usual | values
