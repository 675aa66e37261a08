"""Layout `masks`: each image has a mask, found by its name or in a table of pairs."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tune_cnn.data.places import DataRoot, is_folder, is_image_name, nearest, subfolders, walk_files
from tune_cnn.data.split_folders import split_folders
from tune_cnn.data.table import Labelled, Listing, Skipped, Split, shown
from tune_cnn.data.text import UnreadableTextError, csv_rows, find_text
from tune_cnn.sections.data import MasksData

# Rows carry the label of a class; with masks, all images are of one kind, and it is the pixels that have classes.
ONE_KIND = "image"


@dataclass(frozen=True)
class _Pair:
    """An image and its mask, paths below their folders, '' for a half that is missing; `where` is named in messages.

    `group` is what the table says of the image's group: None if it was not asked, '' if nothing stands there.
    """

    where: str
    image: str
    mask: str
    group: str | None = None


@dataclass(frozen=True)
class _Folders:
    """Where one split's images and masks are."""

    split: Split
    images: Path
    masks: Path


def read_pairs(data: MasksData, root: DataRoot) -> Listing:
    """Pair the images and masks of all named splits; everything wrong is in the listing's faults.

    With `on_bad: skip`, an image without its mask, or a mask without its image, is skipped instead of a fault.
    """
    listing = Listing(class_order=[ONE_KIND])
    for split, folder in split_folders(root, data.splits, listing).items():
        folders = _Folders(split, folder / data.images, folder / data.masks)
        if faults := _folder_faults(data, root, folder):
            listing.faults += faults
            continue
        try:
            column = data.splits.group.column if data.splits.group else None
            pairs = _from_table(data.pairs, root, folder, column) if data.pairs else _by_name(folders)
            _add(list(pairs), folders, data, root, listing)
        except UnreadableTextError as error:
            listing.faults.append(str(error))
    return listing


def _folder_faults(data: MasksData, root: DataRoot, folder: Path) -> list[str]:
    faults = []
    for name, written in (("images", data.images), ("masks", data.masks)):
        if fault := root.fault_in_name(written):
            faults.append(f"{folder}: data.{name}: {fault}")
        elif not is_folder(folder / written):
            known = [each.name for each in subfolders(folder)]
            there_is = nearest(written, known, what="folders")
            faults.append(f"{folder}: data.{name}: no folder {shown(written)}; {there_is}")
        elif not root.holds(folder / written):
            faults.append(f"{folder / written}: data.{name}: a symbolic link out of the data folder; move data.root up")
    if not faults and data.images == data.masks and data.pairs is None:
        faults.append(f"{folder}: data.images and data.masks are one folder; write pairs: a CSV that tells them apart")
    return faults


def _add(pairs: list[_Pair], folders: _Folders, data: MasksData, root: DataRoot, listing: Listing) -> None:
    """Keep the pairs of which both files are there, each image once."""
    first: dict[str, _Pair] = {}
    for pair in pairs:
        known = first.setdefault(pair.image or f"mask {pair.mask}", pair)
        if misnamed := _name_faults(pair, root):
            listing.faults += [f"{pair.where}: {fault}" for fault in misnamed]
            continue
        faults = _pair_faults(pair, folders, root)
        image = root.relative(folders.images / pair.image) if pair.image else root.relative(folders.masks / pair.mask)
        if known is not pair:
            listing.faults.append(f"{pair.where}: {shown(pair.image)} has a mask in {known.where} already; keep one")
        elif pair.group == "":
            listing.faults.append(
                f"{pair.where}: the column of splits.group is empty; write the name of the image's group"
            )
        elif not faults:
            mask = root.relative(folders.masks / pair.mask)
            listing.entries.append(Labelled(image, ONE_KIND, folders.split, pair.group, mask=mask))
        elif data.on_bad == "skip":
            listing.skipped.append(Skipped(image, folders.split, "; ".join(faults)))
        else:
            listing.faults += [f"{pair.where}: {fault}, or write data.on_bad: skip" for fault in faults]
    if data.pairs is not None:
        _note_unpaired(set(first), folders.images, data.pairs, listing)


def _name_faults(pair: _Pair, root: DataRoot) -> list[str]:
    """What is wrong with paths as they are written: nobody can mean these, so they are not skipped."""
    halves = (("", pair.image), ("mask: ", pair.mask))
    return [f"{what}{fault}" for what, name in halves if name and (fault := root.fault_in_name(name))]


def _pair_faults(pair: _Pair, folders: _Folders, root: DataRoot) -> list[str]:
    if not pair.mask:
        return [f"no mask of its name in {folders.masks.name}; add it"]
    if not pair.image:
        return [f"no image of its name in {folders.images.name}; add it"]
    halves = (("", folders.images, pair.image), ("mask: ", folders.masks, pair.mask))
    return [f"{what}{fault}" for what, folder, name in halves if (fault := root.fault_in_file(folder, name))]


def _note_unpaired(paired: set[str], images: Path, table: str, listing: Listing) -> None:
    left = sorted({name for names in _by_stem(images).values() for name in names} - paired)
    if left:
        listing.warnings.append(f"{images}: {len(left)} images that {table} does not name, such as {shown(left[0])}")


def _by_name(folders: _Folders) -> Iterator[_Pair]:
    """Pair files whose paths are equal but for the suffix."""
    images, masks = _by_stem(folders.images), _by_stem(folders.masks)
    for stem in sorted(images.keys() | masks.keys()):
        mask = next(iter(masks.get(stem, [])), "")
        for image in images.get(stem, []):
            yield _Pair(str(folders.images / image), image, mask)
        if stem not in images:
            yield _Pair(str(folders.masks / mask), "", mask)


def _by_stem(folder: Path) -> dict[str, list[str]]:
    """The images below a folder, by their path without a suffix."""
    found: dict[str, list[str]] = {}
    for file in walk_files(folder):
        name = file.path.relative_to(folder).as_posix()
        if is_image_name(name):
            found.setdefault(str(PurePosixPath(name).with_suffix("")), []).append(name)
    return found


def _from_table(written: str, root: DataRoot, folder: Path, column: str | None) -> Iterator[_Pair]:
    """Read the two first columns of a table, and the groups in `column`; a first line naming no image is its header.

    Raises:
        UnreadableTextError: no such table, a line without two fields, or no such column.
    """
    path = find_text(root, folder, written, said_by="data.pairs")
    place: int | None = None
    for number, (line, fields) in enumerate(csv_rows(path)):
        where = f"{path}:{line}"
        if len(fields) < 2 or not all(fields[:2]):
            raise UnreadableTextError(
                f"{where}: no pair; write an image's file name and its mask's, such as a.jpg,a.png"
            )
        if number == 0 and column is not None:
            place = _column(where, fields, column)
        if number or is_image_name(fields[0]):
            group = None if place is None else "".join(fields[place : place + 1])
            yield _Pair(where, PurePosixPath(fields[0]).as_posix(), PurePosixPath(fields[1]).as_posix(), group)


def _column(where: str, header: list[str], column: str) -> int:
    """Where the column of the groups stands, whatever the case of its name.

    Raises:
        UnreadableTextError: it is not there, or twice.
    """
    places = [place for place, name in enumerate(header) if name.lower() == column.strip().lower()]
    if len(places) != 1:
        found = ", ".join(map(shown, header))
        raise UnreadableTextError(
            f"{where}: splits.group.column: {len(places)} columns are called {shown(column)}, not one; the first line "
            f"has {found}"
        )
    return places[0]
