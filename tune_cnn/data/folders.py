"""Layout `folders`: the name of a folder is the class of all images below it."""

import os
from pathlib import Path

from tune_cnn.data.places import (
    DataRoot,
    Found,
    has_control_characters,
    is_image_name,
    is_litter,
    nearest,
    subfolders,
    walk_files,
)
from tune_cnn.data.split_folders import others_folders, split_folders
from tune_cnn.data.table import Labelled, Listing, Split, shown
from tune_cnn.sections.data import FoldersData

_SPLIT_NAMES = frozenset(("train", "training", "val", "valid", "validation", "dev", "test", "testing"))


def read_folders(data: FoldersData, root: DataRoot) -> Listing:
    """List the images of all named splits; everything wrong is in the listing's faults."""
    listing = Listing()
    folders = split_folders(root, data.splits, listing)
    strangers: list[str] = []
    for split, folder in folders.items():
        without = others_folders(folders, split)
        classes = [path for path in subfolders(folder) if not _is_or_holds(path, without)]
        if split == "train" and data.splits.train is None and _look_like_splits(classes):
            names = ", ".join(path.name for path in classes)
            wish = nearest("train", [path.name for path in classes], what="folders")
            listing.faults.append(f"{root.path}: {names} look like splits, not classes; write splits.train: {wish}")
            continue
        _note_loose_images(folder, bool(classes), listing)
        for class_folder in classes:
            strangers += _read_class(root, class_folder, split, listing)
    if strangers:
        listing.warnings.append(
            f"{root.path}: {len(strangers)} files without the suffix of an image were left out, such as {strangers[0]}"
        )
    return listing


def _read_class(root: DataRoot, folder: Path, split: Split, listing: Listing) -> list[str]:
    """Add a class folder's images; returns the files in it that are none."""
    found = list(walk_files(folder))
    images = [file for file in found if is_image_name(file.path.name)]
    if not images:
        listing.warnings.append(f"{folder}: a class folder without images")
    for file in images:
        fault = _fault(root, file)
        if fault is None:
            listing.entries.append(Labelled(root.relative(file.path), folder.name, split))
        else:
            listing.faults.append(f"{folder}: {fault}")
    return [root.relative(file.path) for file in found if not is_image_name(file.path.name)]


def _fault(root: DataRoot, file: Found) -> str | None:
    name = root.relative(file.path)
    if has_control_characters(name):
        return f"the name {shown(name)} holds control characters or is no UTF-8; rename the file"
    if file.linked and not root.holds(file.path):
        return f"{shown(name)} is a symbolic link out of the data folder; put the image itself there"
    return None


def _note_loose_images(folder: Path, has_classes: bool, listing: Listing) -> None:
    loose = [entry for entry in folder.iterdir() if entry.is_file() and not is_litter(entry.name)]
    images = sorted(entry.name for entry in loose if is_image_name(entry.name))
    if not has_classes and images:
        listing.faults.append(
            f"{folder}: {len(images)} images lie directly in it, such as {shown(images[0])}; "
            "put them into one folder per class, named as the class"
        )
    elif not has_classes:
        listing.faults.append(f"{folder}: no class folders in it; make one folder of images per class")
    elif images:
        listing.warnings.append(f"{folder}: {len(images)} images outside any class folder were left out")


def _is_or_holds(folder: Path, places: frozenset[str]) -> bool:
    real = os.path.realpath(folder)
    return any(place == real or place.startswith(real + "/") for place in places)


def _look_like_splits(folders: list[Path]) -> bool:
    """Whether a root that should hold class folders holds split folders: read as classes, they would train nonsense."""
    return sum(folder.name.lower() in _SPLIT_NAMES and bool(subfolders(folder)) for folder in folders) >= 1
