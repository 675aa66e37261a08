"""The stratified, seeded draw of validation and test images, and of folds.

Without groups, the images of each class stand in the order of a hash of seed and path; the first go to test, the next
to validation, the rest to training. So the draw depends on nothing but the seed and the set of paths, and a few images
more or less move only a few others. Groups are kept whole, and dealt out by `tune_cnn.data.grouped`.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence

from tune_cnn.data.grouped import deal_groups
from tune_cnn.data.table import Row, Split
from tune_cnn.errors import DataError


def draw_splits(
    images: Iterable[tuple[str, str]],
    *,
    val: float | None,
    test: float | None,
    seed: int,
    groups: Mapping[str, str] | None = None,
) -> dict[str, Split]:
    """Draw each class's share of validation and test images.

    Without groups, a class always keeps at least one training image, and gives at least one to each drawn split if it
    has an image for each. A smaller class stays in training as far as it reaches: it can still be learned, only not
    judged. With groups, no group is divided, and each split comes as near to its share as whole groups allow.

    Args:
        images: distinct paths, each with its class.
        val: fraction of each class to draw for validation; None draws none.
        test: fraction of each class to draw for test; None draws none.
        seed: another seed, another draw.
        groups: the group of every path; None where each image stands for itself.

    Returns:
        The split of each path; empty for no images.

    Raises:
        DataError: fewer groups than splits to fill.
    """
    if groups is not None and (val or test):
        return _draw_whole_groups(list(images), {"val": val or 0.0, "test": test or 0.0}, seed, groups)
    by_class: dict[str, list[str]] = {}
    for path, class_name in images:
        by_class.setdefault(class_name, []).append(path)
    drawn: dict[str, Split] = {}
    for paths in by_class.values():
        ordered = in_drawn_order(paths, seed)
        n_val, n_test = class_counts(len(paths), val or 0.0, test or 0.0)
        drawn |= dict.fromkeys(ordered[:n_test], "test")
        drawn |= dict.fromkeys(ordered[n_test : n_test + n_val], "val")
        drawn |= dict.fromkeys(ordered[n_test + n_val :], "train")
    return drawn


def draw_folds(rows: Sequence[Row], folds: int, *, seed: int) -> list[int]:
    """Deal images into folds of nearly equal size and mix of classes; each is validated on once, in its own fold.

    A group (see `Row.group`) is never divided. A painted image goes with the one it was made from: it may be trained on
    in the other folds, and is to be left out of its own, as it is never validated on.

    Args:
        rows: the images to deal, whatever their split.
        folds: how many folds, two or more.
        seed: another seed, another deal.

    Returns:
        For each row its fold in [0, folds); empty for no rows.

    Raises:
        DataError: fewer images or groups than folds.
    """
    real = [row for row in rows if row.paint is None]
    units = len({_unit(row) for row in real})
    if rows and units < folds:
        what = "groups" if any(row.group is not None for row in real) else "images"
        raise DataError(f"folds: {folds} folds of {units} {what} leave some empty; write folds: {units} at most")
    if any(row.group is not None for row in real):
        fold_of = _dealt_groups(real, folds, seed)
    else:
        fold_of = _dealt_images(real, folds, seed)
    return [fold_of[row.file] for row in rows]


def class_counts(n: int, val: float, test: float) -> tuple[int, int]:
    """How many of a class's `n` images are drawn for validation and test: rounded, within the promises above."""
    fractions = (val, test)
    least = int(n > sum(fraction > 0 for fraction in fractions))
    counts = [max(math.floor(n * fraction + 0.5), least) if fraction > 0 else 0 for fraction in fractions]
    while sum(counts) > max(n - 1, 0):
        # Take back from the split that is furthest above its share; on a tie from test: validation guides.
        above = [count - n * fraction for count, fraction in zip(counts, fractions, strict=True)]
        counts[max((1, 0), key=lambda place: (counts[place] > least, above[place]))] -= 1
    return counts[0], counts[1]


def in_drawn_order(names: Iterable[str], seed: int) -> list[str]:
    """Names in the order of a hash of the seed and each name: random, and the same on every machine."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}\n{name}".encode()).digest())


def _draw_whole_groups(
    images: Sequence[tuple[str, str]], fractions: Mapping[Split, float], seed: int, groups: Mapping[str, str]
) -> dict[str, Split]:
    shares: dict[Split, float] = {"train": 1.0 - sum(fractions.values())}
    shares |= {split: fraction for split, fraction in fractions.items() if fraction > 0}
    units = in_drawn_order({groups[path] for path, _ in images}, seed)
    if images and len(units) < len(shares):
        raise DataError(
            f"splits.group: {len(units)} groups cannot fill {len(shares)} splits ({', '.join(shares)}); "
            "write another pattern or column, or fewer splits"
        )
    dealt = deal_groups(((groups[path], class_name) for path, class_name in images), units, list(shares.values()))
    names = list(shares)
    return {path: names[dealt[groups[path]]] for path, _ in images}


def _dealt_groups(rows: Sequence[Row], folds: int, seed: int) -> dict[str, int]:
    units = in_drawn_order({_unit(row) for row in rows}, seed)
    dealt = deal_groups(((_unit(row), str(row.label)) for row in rows), units, [1 / folds] * folds)
    return {row.path: dealt[_unit(row)] for row in rows}


def _dealt_images(rows: Sequence[Row], folds: int, seed: int) -> dict[str, int]:
    """Deal like cards, class after class, each class going on where the last one ended."""
    by_class: dict[int, list[str]] = {}
    for row in rows:
        by_class.setdefault(row.label, []).append(row.path)
    ordered = [path for label in sorted(by_class) for path in in_drawn_order(by_class[label], seed)]
    return {path: place % folds for place, path in enumerate(ordered)}


def _unit(row: Row) -> str:
    """What is dealt as a whole: the row's group; an image without one by itself, under a name that no group has."""
    return f"\0{row.path}" if row.group is None else row.group
