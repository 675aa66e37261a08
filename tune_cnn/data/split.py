"""The stratified, seeded draw of validation and test images.

Within each class the images stand in the order of a hash of seed and path; the first go to test, the next to
validation, the rest to training. So the draw depends on nothing but the seed and the set of paths, and a few images
more or less move only a few others.
"""

import hashlib
import math
from collections.abc import Iterable

from tune_cnn.data.table import Split


def draw_splits(
    images: Iterable[tuple[str, str]], *, val: float | None, test: float | None, seed: int
) -> dict[str, Split]:
    """Draw each class's share of validation and test images.

    A class always keeps at least one training image, and gives at least one to each drawn split if it has an image for
    each. A smaller class stays in training as far as it reaches: it can still be learned, only not judged.

    Args:
        images: distinct paths, each with its class.
        val: fraction of each class to draw for validation; None draws none.
        test: fraction of each class to draw for test; None draws none.
        seed: another seed, another draw.

    Returns:
        The split of each path; empty for no images.
    """
    by_class: dict[str, list[str]] = {}
    for path, class_name in images:
        by_class.setdefault(class_name, []).append(path)
    drawn: dict[str, Split] = {}
    for paths in by_class.values():
        ordered = sorted(paths, key=lambda path: hashlib.sha256(f"{seed}\n{path}".encode()).digest())
        n_val, n_test = class_counts(len(paths), val or 0.0, test or 0.0)
        drawn |= dict.fromkeys(ordered[:n_test], "test")
        drawn |= dict.fromkeys(ordered[n_test : n_test + n_val], "val")
        drawn |= dict.fromkeys(ordered[n_test + n_val :], "train")
    return drawn


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
