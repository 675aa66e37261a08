"""Layout `boxes_csv`: bounding boxes in a table per split folder; an image's label is its dominant class."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from tune_cnn.data.dominant import area_of, dominant_class
from tune_cnn.data.places import DataRoot, is_image_name, walk_files
from tune_cnn.data.split_folders import others_folders, split_folders
from tune_cnn.data.synthetic import BoxedImage, synthetic_images, unknown_classes
from tune_cnn.data.table import Box, Labelled, Listing, Skipped, Split, shown
from tune_cnn.data.text import UnreadableTextError, csv_rows, find_text
from tune_cnn.sections.data import BoxesCsvData

COLUMNS = ("filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax")
# Under this name a row holds its group, whatever the column is called.
_GROUP = "#group"
_NUMBERS = ("width", "height", "xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class _Box:
    """One row: a box clipped to its image, in pixels. Its area is zero if nothing of it lies within."""

    where: str
    image: str
    size: tuple[float, float]
    class_name: str
    corners: Box
    group: str | None = None

    @property
    def area(self) -> float:
        """In square pixels."""
        return area_of(self.corners)


def read_boxes_csv(data: BoxesCsvData, root: DataRoot) -> Listing:
    """Label the images of all named splits; everything wrong is in the listing's faults."""
    listing = Listing()
    folders = split_folders(root, data.splits, listing)
    for split, folder in folders.items():
        try:
            path = find_text(root, folder, data.annotations, said_by="data.annotations")
            rows = _read_boxes(path, data.splits.group.column if data.splits.group else None, listing)
            boxes = list(_known_images(root, folder, rows, listing))
        except UnreadableTextError as error:
            listing.faults.append(str(error))
            continue
        _add_images(root, folder, split, boxes, others_folders(folders, split), listing)
        if split == "train" and data.synthetic is not None:
            listing.faults += [f"{path}: {fault}" for fault in unknown_classes(data.synthetic, _classes(boxes))]
            listing.entries += synthetic_images(_boxed_images(boxes), data.synthetic)
    return listing


def _add_images(
    root: DataRoot, folder: Path, split: Split, boxes: list[_Box], without: frozenset[str], listing: Listing
) -> None:
    by_image = _by_image(boxes)
    empty = [box for box in boxes if box.area == 0]
    if empty:
        listing.warnings.append(f"{empty[0].where}: {len(empty)} boxes without area within their image were left out")
    present = {root.relative(f.path) for f in walk_files(folder, without=without) if is_image_name(f.path.name)}
    for image in sorted(present | set(by_image)):
        label = dominant_class([(box.class_name, box.area) for box in by_image.get(image, [])])
        if label is None:
            listing.skipped.append(Skipped(image, split, "no box"))
        else:
            listing.entries.append(Labelled(image, label, split, by_image[image][0].group))


def _by_image(boxes: Iterable[_Box]) -> dict[str, list[_Box]]:
    found: dict[str, list[_Box]] = {}
    for box in boxes:
        found.setdefault(box.image, []).append(box)
    return found


def _classes(boxes: Iterable[_Box]) -> set[str]:
    return {box.class_name for box in boxes}


def _boxed_images(boxes: Iterable[_Box]) -> Iterator[BoxedImage]:
    for path, own in _by_image(boxes).items():
        yield BoxedImage(path, own[0].size, tuple((box.class_name, box.corners) for box in own), own[0].group)


def _known_images(root: DataRoot, folder: Path, boxes: Iterator[_Box], listing: Listing) -> Iterator[_Box]:
    """Pass on the boxes whose image is there; an image is a fault once, at its first row."""
    faulty: dict[str, str | None] = {}
    first: dict[str, _Box] = {}
    for box in boxes:
        if box.image not in faulty:
            faulty[box.image] = root.fault_in_file(folder, box.image)
            first[box.image] = box
            if faulty[box.image] is not None:
                listing.faults.append(f"{box.where}: {faulty[box.image]}")
        if box.group != first[box.image].group:
            listing.faults.append(
                f"{box.where}: {shown(box.image)} is of the group {shown(str(box.group))}, "
                f"but of {shown(str(first[box.image].group))} in {first[box.image].where}; write one for both"
            )
        if box.size != first[box.image].size:
            (width, height), (first_width, first_height) = box.size, first[box.image].size
            listing.faults.append(
                f"{box.where}: {shown(box.image)} is {width:g} x {height:g} pixels, "
                f"but {first_width:g} x {first_height:g} in {first[box.image].where}; write its real size in both"
            )
        elif faulty[box.image] is None:
            relative = root.relative(folder / PurePosixPath(box.image))
            yield replace(box, image=relative)


def _read_boxes(path: Path, group: str | None, listing: Listing) -> Iterator[_Box]:
    columns: dict[str, int] | None = None
    for line, fields in csv_rows(path):
        if columns is None:
            columns = _columns(path, fields, group)
            width = len(fields)
        elif len(fields) != width:
            listing.faults.append(f"{path}:{line}: {len(fields)} fields, but the header names {width}")
        else:
            box = _box(f"{path}:{line}", {name: fields[place] for name, place in columns.items()}, listing)
            if box is not None:
                yield box
    if columns is None:
        raise UnreadableTextError(f"{path}: empty; its first line names the columns {','.join(COLUMNS)}")


def _columns(path: Path, header: list[str], group: str | None) -> dict[str, int]:
    """Where each column stands, by its name; that of the groups by `group`."""
    wanted = COLUMNS if group is None else (*COLUMNS, group.strip().lower())
    names = [field.lower() for field in header]
    missing = [name for name in wanted if name not in names]
    if missing:
        found = ", ".join(shown(field) for field in header)
        raise UnreadableTextError(f"{path}:1: columns missing: {', '.join(missing)}; found {found}")
    twice = [name for name in wanted if names.count(name) > 1]
    if twice:
        raise UnreadableTextError(f"{path}:1: columns named twice: {', '.join(twice)}; keep one of each")
    columns = {name: names.index(name) for name in wanted}
    return columns if group is None else {**columns, _GROUP: columns[wanted[-1]]}


def _box(where: str, row: Mapping[str, str], listing: Listing) -> _Box | None:
    """One row as a clipped box; None, and faults, if it cannot be one."""
    numbers = {name: _number(row[name]) for name in _NUMBERS}
    faults = [f"{name} is {shown(row[name])}; write a number" for name, value in numbers.items() if value is None]
    n = {name: value for name, value in numbers.items() if value is not None}
    if row.get(_GROUP) == "":
        faults.append("the column of splits.group is empty; write the name of the image's group")
    if not row["class"]:
        faults.append("class is empty; write a name")
    faults += [f"{name} is {n[name]:g}; write the image's size" for name in ("width", "height") if n.get(name, 1) <= 0]
    for low, high in (("xmin", "xmax"), ("ymin", "ymax")):
        if n.get(low, -math.inf) > n.get(high, math.inf):
            faults.append(f"{low} {n[low]:g} is above {high} {n[high]:g}; swap them")
    if faults:
        listing.faults += [f"{where}: {fault}" for fault in faults]
        return None
    corners = (max(n["xmin"], 0), max(n["ymin"], 0), min(n["xmax"], n["width"]), min(n["ymax"], n["height"]))
    return _Box(where, row["filename"], (n["width"], n["height"]), row["class"], corners, row.get(_GROUP))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) < 1e9 else None
