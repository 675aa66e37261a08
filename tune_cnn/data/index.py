"""From any layout of labelled images to one table. Reads names, lists and tables; opens no image."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from tune_cnn.data.boxes_csv import read_boxes_csv
from tune_cnn.data.checks import empty_splits, split_faults
from tune_cnn.data.folders import read_folders
from tune_cnn.data.groups import name_groups
from tune_cnn.data.lists import read_lists
from tune_cnn.data.pairs import read_pairs
from tune_cnn.data.places import DataRoot
from tune_cnn.data.table import ImageIndex, Listing, Row, Skipped, Split, named_splits
from tune_cnn.errors import DataError
from tune_cnn.sections.data import BoxesCsvData, Data, FoldersData, ListsData, MasksData

__all__ = ["ImageIndex", "Row", "Skipped", "read_index"]


def read_index(data: Data) -> ImageIndex:
    """List every labelled image of a data set, with its class and split.

    Splits written as fractions are not drawn here, because unreadable images have to be dropped first: their images
    stand in `train` (see `tune_cnn.data.dataset`).

    Raises:
        DataError: everything wrong with the layout at once, or else everything wrong between the splits.
    """
    root = DataRoot(data.root)
    check_root(root.path)
    try:
        listing = _read(data, root)
    except OSError as error:  # a folder without the right to look into it, a disk that is gone
        raise DataError(f"{error.filename or root.path}: cannot be read: {error.strerror}") from error
    name_groups(listing, data.splits.group, root.path)
    _check(data, root, listing)
    present = {entry.class_name for entry in listing.entries}
    order = sorted(present) if listing.class_order is None else listing.class_order
    classes = tuple(name for name in order if name in present)
    unused = [name for name in order if name not in present]
    if unused:
        listing.warnings.append(f"{root.path}: classes without images were left out: {', '.join(unused)}")
    label = {name: place for place, name in enumerate(classes)}
    rows = sorted(
        (Row(e.path, label[e.class_name], e.split, e.group, e.paint, e.mask) for e in listing.entries),
        key=lambda row: row.path,
    )
    return ImageIndex(root.path, classes, tuple(rows), tuple(listing.skipped), tuple(listing.warnings))


def check_root(root: Path) -> None:
    """Make sure that there is a folder.

    Raises:
        DataError: there is none.
    """
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "is not there"
        raise DataError(f"{root}: data.root {what}; write the folder that holds the images, or pass --data DIR")


def count_by_class(images: Iterable[tuple[Split, str]], splits: Iterable[Split]) -> Mapping[Split, Counter[str]]:
    """Number of images by class for each of `splits`, from pairs of split and class."""
    counts: dict[Split, Counter[str]] = {split: Counter() for split in splits}
    for split, class_name in images:
        counts[split][class_name] += 1
    return counts


def _read(data: Data, root: DataRoot) -> Listing:
    match data:
        case FoldersData():
            return read_folders(data, root)
        case BoxesCsvData():
            return read_boxes_csv(data, root)
        case ListsData():
            return read_lists(data, root)
        case MasksData():
            return read_pairs(data, root)


def _check(data: Data, root: DataRoot, listing: Listing) -> None:
    """Raise what is wrong with the layout; only if it is sound do the splits have anything to say."""
    if listing.faults:
        raise DataError(listing.faults)
    counts = count_by_class(((e.split, e.class_name) for e in listing.entries), named_splits(data.splits))
    faults = empty_splits(counts) if isinstance(data, MasksData) else split_faults(counts)
    if faults:
        raise DataError(f"{root.path}: {fault}" for fault in faults)
