"""A look at a data set before hours are spent on it: how much each split can tell, and what makes a score flatter."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from tune_cnn.data.audit_masks import audit_masks
from tune_cnn.data.audit_names import audit_series
from tune_cnn.data.audit_twins import Look, audit_twins
from tune_cnn.data.dataset import ClassCount, ImageData, summary
from tune_cnn.data.findings import Audit, Finding
from tune_cnn.data.table import Row, Split, shown

FEW_IMAGES = 10
"""A class with fewer training images is hardly learned."""
_STRONG_IMBALANCE = 10.0


def audit_data(data: ImageData) -> Audit:
    """Count, weigh, and look for copies, near twins, groups on two sides and doubtful labels.

    Every pair of images is compared by what is cached of them: about two seconds for ten thousand images.
    """
    labels = tuple("" if data.has_masks else data.classes[row.label] for row in data.rows)
    return Audit.joined(
        (
            *(_masks(data) if data.has_masks else _labels(data)),
            audit_groups(data.rows),
            audit_series(data.rows),
            audit_twins(Look(data.rows, labels, data.sha256, data.sketches)),
        )
    )


def _labels(data: ImageData) -> tuple[Audit, ...]:
    counts = summary(data)
    return _sizes(data, counts), _balance(counts)


def _masks(data: ImageData) -> tuple[Audit, ...]:
    rows = [row for split in data.splits for row in data.rows if row.split == split]
    pixels = np.concatenate([split.pixels for split in data.splits.values() if split.pixels is not None])
    facts = [f"{name}: {len(split.labels)} images" for name, split in data.splits.items()]
    return Audit(tuple(facts)), audit_masks(rows, data.classes, pixels)


def audit_groups(rows: Sequence[Row]) -> Audit:
    """Look for groups of which images stand in several splits; nothing to say where no image has a group."""
    sides: dict[str, dict[Split, str]] = {}
    for row in rows:
        if row.group is not None:
            sides.setdefault(row.group, {}).setdefault(row.split, row.path)
    torn = {group: paths for group, paths in sides.items() if len(paths) > 1}
    facts = [f"groups: {len(sides)}"] if sides else []
    if not torn:
        return Audit(tuple(facts))
    group, paths = next(iter(torn.items()))
    text = (
        f"{len(torn)} of {len(sides)} groups have images in several splits, such as {shown(group)} in "
        f"{' and '.join(paths)}; only splits written as fractions keep groups whole"
    )
    findings = [_torn(paths) for paths in torn.values()]
    return Audit(tuple(facts), (("groups", text),), tuple(findings))


def _torn(paths: Mapping[Split, str]) -> Finding:
    (split, path), (other_split, other_path) = sorted(paths.items())[:2]
    return Finding("group_across_splits", split, path, other_split, other_path)


def _sizes(data: ImageData, counts: Sequence[ClassCount]) -> Audit:
    """Say how many images each split has, and what one of them is worth."""
    facts = []
    for name, split in data.splits.items():
        images = len(split.labels)
        if name == "train":
            painted = sum(row.paint is not None for row in data.rows)
            made = f", {painted} of them synthetic" if painted else ""
            facts.append(f"train: {images} images of {len(data.classes)} classes{made}")
            continue
        present = [(count.of(name), count.class_name) for count in counts if count.of(name)]
        least, rarest = min(present)
        points = 100 / (least * len(present))
        facts.append(
            f"{name}: {images} images; one is worth {100 / images:.2g} points of accuracy, "
            f"one of {shown(rarest)} ({least} images) {points:.2g} points of balanced accuracy"
        )
    return Audit(tuple(facts))


def _balance(counts: Sequence[ClassCount]) -> Audit:
    """Say how unequal the classes are in training, and which have too few images."""
    by_class = Counter({count.class_name: count.train for count in counts})
    (largest, most), *_, (smallest, least) = by_class.most_common()
    ratio = most / least
    fact = f"largest class to smallest in train: {most} {shown(largest)} to {least} {shown(smallest)}, {ratio:.1f} to 1"
    warnings = []
    if ratio >= _STRONG_IMBALANCE:
        text = f"{fact}; class_weights: balanced and the metric val_balanced_accuracy take that into account"
        warnings.append(("imbalance", text))
    few = [(name, number) for name, number in by_class.items() if number < FEW_IMAGES]
    if few:
        names = ", ".join(f"{shown(name)} ({number})" for name, number in few[:10]) + (", ..." if few[10:] else "")
        warnings.append(("few-images", f"{len(few)} classes have fewer than {FEW_IMAGES} training images: {names}"))
    findings = tuple(Finding("few_images", "train", label=name) for name, _ in few)
    return Audit((fact,), tuple(warnings), findings)
