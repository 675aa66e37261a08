"""A few bytes that say what an image looks like: near twins have nearly the same, whatever their size and compression.

A sketch is a perceptual hash of 256 bits (the signs of the 16 x 16 lowest frequencies, against their median) and a gray
thumbnail of 16 x 16 pixels. The hash finds candidates at the price of counting bits; among ten thousand images some
pairs have near hashes by chance, and the thumbnail tells those.
"""

from typing import TypeAlias

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

from tune_cnn.data.decode import Pixels

Sketches: TypeAlias = npt.NDArray[np.uint8]
"""(N, SKETCH_BYTES): HASH_BYTES of hash, then a thumbnail row by row."""

_HASH_SIDE = 16
_THUMB_SIDE = 16
_GRAY_SIDE = 4 * _HASH_SIDE  # what the hash is computed from
HASH_BYTES = _HASH_SIDE**2 // 8
SKETCH_BYTES = HASH_BYTES + _THUMB_SIDE**2
HASH_BITS = 8 * HASH_BYTES
SKETCHED_BY = f"imagehash {imagehash.__version__}"


def sketch_of(image: Pixels) -> Sketches:
    """Sketch an image of any size.

    Args:
        image: (H, W, 3).

    Returns:
        (SKETCH_BYTES,)
    """
    gray = Image.fromarray(image).convert("L")
    # In two steps, the first by whole pixels: 3.9 instead of 9.8 ms for 1024 x 768 pixels, and 4 bits of 256 at most.
    small = gray.resize((_GRAY_SIDE, _GRAY_SIDE), Image.Resampling.LANCZOS, reducing_gap=3.0)
    bits = imagehash.phash(small, hash_size=_HASH_SIDE).hash
    thumbnail = small.resize((_THUMB_SIDE, _THUMB_SIDE), Image.Resampling.BOX)
    return np.concatenate([np.packbits(bits.ravel()), np.asarray(thumbnail, np.uint8).ravel()])
