"""Layout `lists`: one text file per split, an image's path and its label per line."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from tune_cnn.data.places import DataRoot, is_image_name, nearest
from tune_cnn.data.table import Labelled, Listing, Split, named_splits, shown
from tune_cnn.data.text import UnreadableTextError, find_text, read_text
from tune_cnn.sections.data import ListsData

_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
_CLASS_LINE = re.compile(r"([+-]?[0-9]{1,18})[\s,;:]+(\S.*)")


@dataclass(frozen=True)
class _Line:
    """A line of a list, where it stood, and what it says."""

    where: str
    path: str
    label: str
    split: Split


def read_lists(data: ListsData, root: DataRoot) -> Listing:
    """Read the lists of all named splits; everything wrong is in the listing's faults."""
    listing = Listing()
    names = _class_names(data, root, listing)
    lines = list(_unique(_usable(_all_lines(data, root, listing), root, listing), listing))
    numbered = all(_NUMBER.fullmatch(line.label) for line in lines)
    if names is None:
        labels = {line.label: str(int(line.label)) if numbered else line.label for line in lines}
        listing.class_order = sorted(set(labels.values()), key=int if numbered else str)
    else:
        labels = _named(names, lines, listing)
        listing.class_order = list(names.values())
    listing.entries = [Labelled(line.path, labels[line.label], line.split) for line in lines if line.label in labels]
    return listing


def _class_names(data: ListsData, root: DataRoot, listing: Listing) -> dict[int, str] | None:
    """Read the `classes` file: id to name in the order of the ids; None if there is none (or it is unusable)."""
    if data.classes is None:
        return None
    try:
        path = find_text(root, root.path, data.classes, said_by="data.classes")
        text = read_text(path)
    except UnreadableTextError as error:
        listing.faults.append(str(error))
        return None
    names: dict[int, str] = {}
    for number, line in _numbered_lines(text):
        match = _CLASS_LINE.fullmatch(line)
        if match is None:
            listing.faults.append(f"{path}:{number}: {shown(line)} is no class; write an id and a name, such as 0 cat")
        elif int(match[1]) in names:
            listing.faults.append(f"{path}:{number}: the number {int(match[1])} stands twice; give each class its own")
        elif match[2] in names.values():
            listing.faults.append(f"{path}:{number}: the name {shown(match[2])} stands twice; give each class its own")
        else:
            names[int(match[1])] = match[2]
    return dict(sorted(names.items()))


def _all_lines(data: ListsData, root: DataRoot, listing: Listing) -> Iterator[_Line]:
    files: dict[str, Split] = {}
    for split, written in named_splits(data.splits).items():
        if not written:
            listing.faults.append(f"{root.path}: splits.train is missing; write the list to train on, train: train.txt")
            continue
        if written in files:
            listing.faults.append(
                f"{root.path}: splits.{files[written]} and splits.{split} are the same list; "
                "write another, or a fraction such as val: 0.1"
            )
            continue
        files[written] = split
        yield from _read_list(root, written, split, listing)


def _read_list(root: DataRoot, written: str, split: Split, listing: Listing) -> Iterator[_Line]:
    try:
        path = find_text(root, root.path, written, said_by=f"splits.{split}")
        text = read_text(path)
    except UnreadableTextError as error:
        listing.faults.append(str(error))
        return
    for number, line in _numbered_lines(text):
        fields = _path_and_label(line)
        if fields is None:
            listing.faults.append(f"{path}:{number}: {shown(line)} has no label; write path and label, such as a.jpg 0")
        else:
            yield _Line(f"{path}:{number}", *fields, split)


def _numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, from 1, without the space around them; `splitlines` would cut at form feeds too."""
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        if line.strip():
            yield number, line.strip()


def _path_and_label(line: str) -> tuple[str, str] | None:
    """Cut at the tab, comma or space that follows the name of an image; names may hold all three themselves."""
    cuts = [line.rpartition("\t")[::2], line.rpartition(",")[::2], line.rsplit(None, 1)]
    pairs = [(_unquoted(cut[0]), _unquoted(cut[-1])) for cut in cuts if len(cut) == 2 and all(map(str.strip, cut))]
    after_an_image = [pair for pair in pairs if is_image_name(pair[0])]
    return next(iter(after_an_image + pairs[-1:]), None)


def _unquoted(field: str) -> str:
    field = field.strip()
    return field[1:-1] if len(field) > 1 and field[0] == field[-1] and field[0] in "\"'" else field


def _usable(lines: Iterator[_Line], root: DataRoot, listing: Listing) -> Iterator[_Line]:
    """Leave out, as faults, the lines whose image is not there or not below the root."""
    for line in lines:
        fault = root.fault_in_file(root.path, line.path)
        if fault is None:
            yield _Line(line.where, PurePosixPath(line.path).as_posix(), line.label, line.split)
        else:
            listing.faults.append(f"{line.where}: {fault}")


def _unique(lines: Iterator[_Line], listing: Listing) -> Iterator[_Line]:
    """Keep an image listed twice once, with a warning; two labels or two splits for one image are a fault."""
    first: dict[str, _Line] = {}
    repeated: list[_Line] = []
    for line in lines:
        known = first.setdefault(line.path, line)
        if known is line:
            yield line
        elif known.split != line.split:
            listing.faults.append(
                f"{line.where}: {shown(line.path)} is in {line.split} and in {known.split} ({known.where}); keep one"
            )
        elif known.label != line.label:
            listing.faults.append(
                f"{line.where}: {shown(line.path)} has the label {shown(line.label)}, "
                f"but {shown(known.label)} in {known.where}; keep one"
            )
        else:
            repeated.append(line)
    if repeated:
        listing.warnings.append(f"{repeated[0].where}: {len(repeated)} images listed twice were kept once")


def _named(names: dict[int, str], lines: list[_Line], listing: Listing) -> dict[str, str]:
    """From label as written to class name; unknown labels are faults, at their first line."""
    known = set(names.values())
    labels: dict[str, str] = {}
    unknown: set[str] = set()
    for line in lines:
        if _NUMBER.fullmatch(line.label) and int(line.label) in names:
            labels[line.label] = names[int(line.label)]
        elif line.label in known:
            labels[line.label] = line.label
        elif line.label not in unknown:
            unknown.add(line.label)
            there_is = nearest(line.label, [*names.values()], what="classes")
            listing.faults.append(f"{line.where}: the label {shown(line.label)} is not in the classes file; {there_is}")
    return labels
