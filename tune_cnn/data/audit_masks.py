"""A look at masks, from the number of pixels of each class in each: empty ones, one-coloured ones, rare classes."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from tune_cnn.data.findings import Audit, Finding
from tune_cnn.data.table import Row, Split, shown

RARE_SHARE = 0.001
"""A class with a smaller share of the counted training pixels is hardly learned without weights or Dice."""


def audit_masks(rows: Sequence[Row], classes: Sequence[str], pixels: npt.NDArray[np.int64]) -> Audit:
    """Look for masks that say nothing and classes that are hardly there.

    Args:
        rows: N images with their splits.
        classes: C names.
        pixels: (N, C) counted pixels of each class in each image's mask; those that do not count are left out.

    Returns:
        The classes' shares by split as facts; a finding for each mask without counted pixels or of one class only.
    """
    splits = list(dict.fromkeys(row.split for row in rows))
    of_split = {split: pixels[[row.split == split for row in rows]].sum(axis=0) for split in splits}
    facts = [f"pixels in {split}: {_shares(classes, counts)}" for split, counts in of_split.items()]
    classes_in = (pixels > 0).sum(axis=1)
    empty = [row for row, number in zip(rows, classes_in, strict=True) if number == 0]
    single = [(row, own) for row, number, own in zip(rows, classes_in, pixels, strict=True) if number == 1]
    facts += [f"{len(single)} of {len(rows)} masks are of one class only"] if single else []
    warnings = [f"{len(empty)} masks hold no pixel that counts, such as {shown(empty[0].path)}"] if empty else []
    warnings += [text for split in splits for text in _thin(split, classes, of_split[split])]
    findings = [Finding("empty_mask", row.split, row.path) for row in empty]
    findings += [
        Finding("mask_of_one_class", row.split, row.path, label=classes[int(own.argmax())]) for row, own in single
    ]
    return Audit(tuple(facts), tuple(("masks", text) for text in warnings), tuple(findings))


def _thin(split: Split, classes: Sequence[str], counts: npt.NDArray[np.int64]) -> Iterator[str]:
    """Say which classes a split lacks, and which training has hardly any pixels of."""
    absent = [shown(name) for name, number in zip(classes, counts, strict=True) if number == 0]
    if absent:
        yield f"{split} has no pixel of {', '.join(absent)}"
    total = int(counts.sum())
    for name, number in zip(classes, counts.tolist(), strict=True):
        if split == "train" and 0 < number < RARE_SHARE * total:
            yield f"only {100 * number / total:.2g} % of the training pixels are {shown(name)}; Dice or weights help"


def _shares(classes: Sequence[str], counts: npt.NDArray[np.int64]) -> str:
    total = max(int(counts.sum()), 1)
    return ", ".join(f"{name} {100 * number / total:.1f} %" for name, number in zip(classes, counts, strict=True))
