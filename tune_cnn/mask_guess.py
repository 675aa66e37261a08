"""For `tune-cnn init`: is a folder one of images and masks, and what do the values in the masks say?"""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from tune_cnn.data.decode import UndecodableError, load_upright
from tune_cnn.data.places import is_image_name, subfolders
from tune_cnn.data.text import UnreadableTextError, csv_rows
from tune_cnn.sections.image import ImageConfig

_MASK_NAMES = re.compile(r"mask|label|annot|segm|truth|^gt$|^y$", re.IGNORECASE)
_SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("valid", "val", "validation", "dev"),
    "test": ("test", "testing"),
}
_MASKS_LOOKED_AT = 40
# Masks of classes hold few values; blurred edges and JPEG's traces make many of two.
_MOST_CLASSES = 32


def guess_masks(data_dir: Path) -> dict[str, Any] | None:
    """Guess the data section, root and kind aside, for a folder with images and masks; None if it holds none."""
    names = {folder.name.lower(): folder.name for folder in subfolders(data_dir)}
    splits = {
        split: names[found] for split, known in _SPLIT_NAMES.items() if (found := next(filter(names.get, known), None))
    }
    base = data_dir / splits["train"] if "train" in splits else data_dir
    pair = _image_and_mask_folder(base)
    if pair is None:
        return None
    images, masks = pair
    section: dict[str, Any] = {"images": images.name, "masks": masks.name}
    if table := _table_of_pairs(base):
        section["pairs"] = table.name
    fractions = {"val": 0.15, "test": 0.15, "seed": 0}
    return {**section, **guess_values(masks), "splits": {**fractions, **splits} if "train" in splits else fractions}


def guess_values(masks: Path) -> dict[str, Any]:
    """Guess `values`, and `threshold` where it is needed, from the first masks of a folder.

    Returns:
        Two classes, black and white, if nothing can be read.
    """
    found: Counter[str] = Counter()
    for file in sorted(file for file in masks.rglob("*") if is_image_name(file.name))[:_MASKS_LOOKED_AT]:
        found += _values_in(file)
    levels = sorted((value for value in found if not value.startswith("#")), key=int)
    two = {"0": "background", "255": "object"}
    if len(found) > _MOST_CLASSES and len(levels) == len(found):
        return {"values": two, "threshold": 128}
    if len(found) < 2 or len(found) > _MOST_CLASSES:
        return {"values": two}
    # Of gray levels the lowest is the background, of colours the one that covers most.
    ordered = levels if len(levels) == len(found) else [value for value, _ in found.most_common()]
    if len(ordered) == 2:
        return {"values": {ordered[0]: "background", ordered[1]: "object"}}
    return {"values": {value: f"class_{place}" if place else "background" for place, value in enumerate(ordered)}}


def _values_in(file: Path) -> Counter[str]:
    """Pixels by gray level or palette index, or by colour; empty for what cannot be read."""
    try:
        image = load_upright(file.read_bytes(), max_megapixels=ImageConfig().max_megapixels)
    except (OSError, UndecodableError):
        return Counter()
    if image.mode in ("1", "L", "P", "I;16"):
        pixels = np.asarray(image.convert("L") if image.mode == "1" else image)
        values, counts = np.unique(pixels, return_counts=True)
        return Counter(dict(zip(map(str, values.tolist()), counts.tolist(), strict=True)))
    rgb = np.asarray(image.convert("RGB")).reshape(-1, 3)
    colours, counts = np.unique(rgb, axis=0, return_counts=True)
    if (colours == colours[:, :1]).all():
        return Counter(dict(zip(map(str, colours[:, 0].tolist()), counts.tolist(), strict=True)))
    names = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in colours.tolist()]
    return Counter(dict(zip(names, counts.tolist(), strict=True)))


def _image_and_mask_folder(base: Path) -> tuple[Path, Path] | None:
    """The two folders of `base` that hold images, if the name of one of them speaks of masks."""
    filled = [folder for folder in subfolders(base) if any(is_image_name(file.name) for file in folder.iterdir())]
    masks = [folder for folder in filled if _MASK_NAMES.search(folder.name)]
    images = [folder for folder in filled if folder not in masks]
    return (images[0], masks[0]) if len(masks) == len(images) == 1 else None


def _table_of_pairs(base: Path) -> Path | None:
    """The first CSV whose rows begin with the names of two images."""
    for file in sorted(base.glob("*.csv")):
        try:
            rows = [fields for _, fields in csv_rows(file)][1:]
        except UnreadableTextError:
            continue
        if rows and all(len(fields) > 1 and all(map(is_image_name, fields[:2])) for fields in rows):
            return file
    return None
