"""The folder of each named split, shared by the layouts that have one folder per split."""

import os
from pathlib import Path

from tune_cnn.data.places import DataRoot, is_folder, nearest, subfolders
from tune_cnn.data.table import Listing, Split, named_splits, shown
from tune_cnn.sections.data import Splits


def split_folders(root: DataRoot, splits: Splits, listing: Listing) -> dict[Split, Path]:
    """Find the folders of the named splits; the root itself for a `train` that is not written.

    Whatever is wrong is added to `listing.faults`, and that split left out.
    """
    folders: dict[Split, Path] = {}
    for split, written in named_splits(splits).items():
        fault = _fault(root, split, written)
        if fault is None:
            folders[split] = root.path / written
        else:
            listing.faults.append(f"{root.path}: splits.{split}: {fault}")
    listing.faults += [f"{root.path}: {fault}" for fault in _shared_folders(folders)]
    return folders


def others_folders(folders: dict[Split, Path], split: Split) -> frozenset[str]:
    """Real paths of the other splits' folders: what lies in them is not this split's, even if it lies below it."""
    return frozenset(os.path.realpath(folder) for other, folder in folders.items() if other != split)


def _fault(root: DataRoot, split: Split, written: str) -> str | None:
    if split == "train" and not written:
        return None
    fault = root.fault_in_name(written)
    if fault is not None:
        return fault
    if not is_folder(root.path / written):
        known = [folder.name for folder in subfolders(root.path)]
        return f"no folder {shown(written)}; {nearest(written, known, what='folders')}"
    if not root.holds(root.path / written):
        return f"the folder {shown(written)} is a symbolic link out of the data folder; move data.root up instead"
    return None


def _shared_folders(folders: dict[Split, Path]) -> list[str]:
    by_place: dict[str, list[str]] = {}
    for split, folder in folders.items():
        by_place.setdefault(os.path.realpath(folder), []).append(split)
    return [
        f"splits.{' and splits.'.join(splits)} are the same folder; write another, or a fraction such as val: 0.1"
        for splits in by_place.values()
        if len(splits) > 1
    ]
