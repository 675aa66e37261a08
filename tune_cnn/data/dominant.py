"""The class that dominates an image, from its boxes, and what is left to see of a box when others are covered."""

import math
from collections.abc import Sequence
from itertools import pairwise

from tune_cnn.data.table import Box


def dominant_class(boxes: Sequence[tuple[str, float]]) -> str | None:
    """The class with the largest total area x number of boxes; ties go to the larger area, then to the name.

    Args:
        boxes: class and area in square pixels; boxes of zero area do not count.

    Returns:
        None if no box has an area.
    """
    areas: dict[str, list[float]] = {}
    for class_name, area in boxes:
        if area > 0:
            areas.setdefault(class_name, []).append(area)
    ranked = sorted(areas, key=lambda name: (-math.fsum(areas[name]) * len(areas[name]), -math.fsum(areas[name]), name))
    return ranked[0] if ranked else None


def area_of(box: Box) -> float:
    """The area in square pixels; zero for a box turned round."""
    left, top, right, bottom = box
    return max(right - left, 0.0) * max(bottom - top, 0.0)


def uncovered_area(box: Box, covers: Sequence[Box]) -> float:
    """The area of what no cover reaches, in square pixels; overlapping covers count once."""
    left, top, right, bottom = box
    within = [(max(a, left), max(b, top), min(c, right), min(d, bottom)) for a, b, c, d in covers]
    within = [cover for cover in within if area_of(cover) > 0]
    xs = sorted({left, right, *(x for a, _, c, _ in within for x in (a, c))})
    ys = sorted({top, bottom, *(y for _, b, _, d in within for y in (b, d))})
    return math.fsum(
        (x1 - x0) * (y1 - y0)
        for x0, x1 in pairwise(xs)
        for y0, y1 in pairwise(ys)
        if not any(a <= x0 and x1 <= c and b <= y0 and y1 <= d for a, b, c, d in within)
    )
