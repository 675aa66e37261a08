"""Boxes covered with the colour of an image's background."""

import numpy as np
import numpy.typing as npt

from tune_cnn.data.decode import Pixels, UndecodableError
from tune_cnn.data.table import Box, Paint

# Annotated and real width to height may differ by rounding, not by more: the boxes would lie elsewhere.
_LARGEST_STRETCH = 1.02


def paint_out(image: Pixels, paint: Paint) -> Pixels:
    """Cover the boxes to paint with the median colour of all pixels outside any box.

    Where the boxes leave nothing outside, it is the median of what is not painted; where that is nothing either, of
    the whole image. Boxes are scaled if the image is larger or smaller than it was annotated.

    Args:
        image: (H, W, 3), upright.
        paint: what to cover, in pixels of the annotated size.

    Returns:
        (H, W, 3), another array.

    Raises:
        UndecodableError: the image's aspect ratio is not the annotated one: it was turned or cut since.
    """
    height, width = image.shape[:2]
    across, down = width / paint.size[0], height / paint.size[1]
    if not 1 / _LARGEST_STRETCH < across / down < _LARGEST_STRETCH:
        annotated = f"{paint.size[0]:g} x {paint.size[1]:g}"
        raise UndecodableError(f"{width} x {height} pixels, but annotated as {annotated}: boxes cannot be painted")
    painted = _covered(paint.boxes, (height, width), (across, down))
    background = ~(painted | _covered(paint.kept, (height, width), (across, down)))
    for area in (background, ~painted, np.ones_like(painted)):
        if area.any():
            colour = np.median(image[area], axis=0)
            break
    made = image.copy()
    made[painted] = np.rint(colour).astype(np.uint8)
    return made


def _covered(boxes: tuple[Box, ...], shape: tuple[int, int], scale: tuple[float, float]) -> npt.NDArray[np.bool_]:
    """(H, W), True within any box; a pixel touched by a box is within."""
    covered = np.zeros(shape, np.bool_)
    for left, top, right, bottom in boxes:
        rows = slice(int(np.floor(top * scale[1])), int(np.ceil(bottom * scale[1])))
        columns = slice(int(np.floor(left * scale[0])), int(np.ceil(right * scale[0])))
        covered[rows, columns] = True
    return covered
