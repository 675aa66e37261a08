"""What must hold between the splits of a data set, whatever layout it came in."""

from collections import Counter
from collections.abc import Mapping, Sequence

from tune_cnn.data.table import Split, shown

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
    """What makes scores less telling: classes that are never judged, and names that differ in case only."""
    warnings = []
    for split in counts:
        absent = [shown(name) for name in classes if counts["train"].get(name) and not counts[split].get(name)]
        if absent:
            more = ", ..." if len(absent) > 10 else ""
            warnings.append(f"{split} has no image of {', '.join(absent[:10])}{more}, which train has")
    caseless = Counter(name.casefold() for name in classes)
    alike = [shown(name) for name in classes if caseless[name.casefold()] > 1]
    if alike:
        warnings.append(f"classes that differ in case only: {', '.join(alike)}; are they one?")
    return warnings


def mask_faults(pixels: Mapping[str, int]) -> list[str]:
    """What makes training masks useless, from the number of pixels by class."""
    present = [name for name, count in pixels.items() if count]
    if len(present) > 1:
        return []
    what = f"only pixels of class {shown(present[0])}" if present else "no pixel that counts"
    return [f"the training masks hold {what}; there is nothing to tell apart; look at data.values"]


def mask_warnings(pixels: Mapping[Split, Mapping[str, int]]) -> list[str]:
    """Classes without a pixel in a split: not learned, or never judged."""
    warnings = []
    for split, by_class in pixels.items():
        absent = [shown(name) for name, count in by_class.items() if not count]
        if absent:
            warnings.append(f"{split} has no pixel of {', '.join(absent)}")
    return warnings


_REMEDY: dict[Split, str] = {
    "train": "; there is nothing to learn from",
    "val": "; write another splits.val, or a larger fraction",
    "test": "; write another splits.test, or a larger fraction, or leave test out",
}
