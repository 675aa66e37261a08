"""What must hold between the splits of a data set, whatever layout it came in."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from tune_cnn.data.table import Row, Split, shown
from tune_cnn.sections.data import Splits

_SEPARATORS = re.compile(r"[\s._-]+")
_DRAWN: tuple[Split, ...] = ("val", "test")
# Of a split's size: what is further away than this is worth a word.
_FAR_OFF = 0.2

Counts = Mapping[Split, Mapping[str, int]]


def split_faults(counts: Counts) -> list[str]:
    """What makes training or judging impossible.

    Args:
        counts: for each split that is wanted, the number of images by class; a class without images may be left out.

    Returns:
        One line each: empty splits, a single class, classes of other splits that training lacks.
    """
    present = {split: {name for name, n in by_class.items() if n} for split, by_class in counts.items()}
    faults = empty_splits(counts)
    everywhere = set().union(*present.values())
    if len(everywhere) == 1:
        faults.append(f"only one class, {shown(next(iter(everywhere)))}; there is nothing to tell apart; add a second")
    if present["train"]:
        for split in counts:
            faults += [
                f"{split} holds {counts[split][name]} images of class {shown(name)}, which train lacks; "
                "add training images of it, or leave it out"
                for name in sorted(present[split] - present["train"])
            ]
    return faults


def empty_splits(counts: Counts) -> list[str]:
    """The splits without images, a line each with what helps; of all that may be wrong, masks can have only this."""
    return [f"{split} has no images{_REMEDY[split]}" for split in counts if not any(counts[split].values())]


def split_warnings(counts: Counts, classes: Sequence[str]) -> list[str]:
    """What makes scores less telling: classes that are never judged, and names that are nearly the same."""
    warnings = []
    for split in counts:
        absent = [shown(name) for name in classes if counts["train"].get(name) and not counts[split].get(name)]
        if absent:
            more = ", ..." if len(absent) > 10 else ""
            warnings.append(f"{split} has no image of {', '.join(absent[:10])}{more}, which train has")
    warnings += [
        f"classes that differ in case, spaces or a plural only: {', '.join(map(shown, alike))}; are they one?"
        for alike in alike_classes(classes)
    ]
    return warnings


def mask_faults(pixels: Mapping[str, int]) -> list[str]:
    """What makes training masks useless, from the number of pixels by class."""
    present = [name for name, count in pixels.items() if count]
    if len(present) > 1:
        return []
    what = f"only pixels of class {shown(present[0])}" if present else "no pixel that counts"
    return [f"the training masks hold {what}; there is nothing to tell apart; look at data.values"]


def alike_classes(classes: Sequence[str]) -> list[list[str]]:
    """The classes whose names differ only in case, in spaces, dots, lines and hyphens, or in an English plural."""
    bare = {name: _SEPARATORS.sub("", name.casefold()) for name in classes}
    known = set(bare.values())
    alike: dict[str, list[str]] = {}
    for name in classes:
        alike.setdefault(_singular(bare[name], known), []).append(name)
    return [names for names in alike.values() if len(names) > 1]


def share_warnings(rows: Sequence[Row], splits: Splits) -> list[str]:
    """Say where whole groups could not be dealt close to the fractions that were asked for."""
    asked = {split: part for split in _DRAWN if isinstance(part := getattr(splits, split), float)}
    sizes = Counter(row.split for row in rows if row.paint is None)
    pool = sizes["train"] + sum(sizes[split] for split in asked)
    if splits.group is None:
        return []
    return [
        f"{split} has {sizes[split]} images, not the {round(fraction * pool)} of {split}: {fraction:g}: "
        "groups are kept whole"
        for split, fraction in asked.items()
        if abs(sizes[split] - fraction * pool) > max(1.0, _FAR_OFF * fraction * pool)
    ]


def _singular(name: str, known: set[str]) -> str:
    """The name without its plural, if that is the name of a class as well; else as it is."""
    forms = [name.removesuffix(end) + put for end, put in (("ies", "y"), ("es", ""), ("s", "")) if name.endswith(end)]
    return next((form for form in forms if form in known), name)


_REMEDY: dict[Split, str] = {
    "train": "; there is nothing to learn from",
    "val": "; write another splits.val, or a larger fraction",
    "test": "; write another splits.test, or a larger fraction, or leave test out",
}
