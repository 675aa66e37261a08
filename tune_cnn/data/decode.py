"""Bytes of an image file to an upright RGB array, and an array to a square of `px` pixels.

What a file *is* decides, never what it is called. A file that cannot be decoded whole is refused with a reason: nothing
is ever filled in or substituted.
"""

import struct
import warnings
import zlib
from io import BytesIO
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from tune_cnn.errors import TuneCnnError
from tune_cnn.sections.data import IGNORED_ID

Pixels: TypeAlias = npt.NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")

# Our own cap is stricter, is set per call, and is checked on the header; Pillow's would only warn, once per process.
Image.MAX_IMAGE_PIXELS = None
# Damaged metadata beside intact pixels is no concern of a training run; what matters is raised.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

# What Pillow's parsers raise on damaged files, beside its own OSError (cut and flipped bytes in every format).
_BROKEN = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError, NotImplementedError,
    struct.error, zlib.error,
)  # fmt: skip
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UndecodableError(TuneCnnError):
    """The bytes are no image that can be used; the text says why in a few words."""


def decode_image(data: bytes, *, max_megapixels: float) -> Pixels:
    """Decode the first frame of an image file, turned upright as its EXIF orientation says.

    Transparent pixels are laid over white; 16-bit gray is scaled to 8 bits, not clipped.

    Args:
        data: the whole file, in one of `FORMATS`.
        max_megapixels: larger images are refused from their header, before any pixel is decoded.

    Returns:
        (H, W, 3) RGB, C-contiguous.

    Raises:
        UndecodableError: no image, a truncated or damaged one, too large, or with pixels of no agreed range.
    """
    image = load_upright(data, max_megapixels=max_megapixels)
    try:
        return np.ascontiguousarray(_to_rgb(image, image.format))
    except _BROKEN as error:
        raise UndecodableError(f"damaged or truncated {image.format} ({_one_line(error)})") from error


def load_upright(data: bytes, *, max_megapixels: float) -> Image.Image:
    """Decode the first frame of an image file in whatever mode it is stored, turned upright as its EXIF says.

    Raises:
        UndecodableError: no image, a truncated or damaged one, or too large.
    """
    image = _opened(data)
    if image.width == 0 or image.height == 0:
        raise UndecodableError(f"{image.width} x {image.height} pixels: nothing to see")
    megapixels = image.width * image.height / 1e6
    if megapixels > max_megapixels:
        raise UndecodableError(
            f"{image.width} x {image.height} pixels are {megapixels:.1f} megapixels, "
            f"more than image.max_megapixels: {max_megapixels:g}"
        )
    try:
        image.load()
        upright = _turned_upright(image)
        upright.format = image.format  # a turned copy has forgotten it
        return upright
    except _BROKEN as error:
        raise UndecodableError(f"damaged or truncated {image.format} ({_one_line(error)})") from error


def fit_image(image: Pixels, px: int, fit: Literal["pad", "stretch", "crop"]) -> Pixels:
    """Make a square: `pad` keeps everything and centres it on black, `crop` keeps the centre, `stretch` distorts.

    Args:
        image: (H, W, 3), neither side zero.
        px: side of the square in pixels.
        fit: how the aspect ratio is dealt with.

    Returns:
        (px, px, 3), resampled with an antialiasing bicubic filter, also when enlarged.
    """
    return _fitted(image, px, fit, Image.Resampling.BICUBIC, blank=0)


def fit_mask(mask: Pixels, px: int, fit: Literal["pad", "stretch", "crop"]) -> Pixels:
    """Fit a mask as `fit_image` fits its image: (H, W) to (px, px), the nearest value each, the padding not counted."""
    return _fitted(mask, px, fit, Image.Resampling.NEAREST, blank=IGNORED_ID)


def unfit_mask(mask: Pixels, size: tuple[int, int], fit: Literal["pad", "stretch", "crop"]) -> Pixels:
    """Take `fit_mask` back: (px, px) to (H, W), what was cropped off not counted.

    Args:
        mask: class ids.
        size: H, W of the upright image, in pixels.
        fit: how the image was fitted.
    """
    height, width = size
    source, px = Image.fromarray(mask), len(mask)
    if fit == "stretch":
        return np.asarray(source.resize((width, height), Image.Resampling.NEAREST))
    if fit == "pad":
        left, top, inner_width, inner_height = _inner_box(width, height, px)
        box = (left, top, left + inner_width, top + inner_height)
        return np.asarray(source.resize((width, height), Image.Resampling.NEAREST, box=box))
    side = min(height, width)
    whole = np.full(size, IGNORED_ID, np.uint8)
    left, top = (width - side) // 2, (height - side) // 2
    whole[top : top + side, left : left + side] = np.asarray(source.resize((side, side), Image.Resampling.NEAREST))
    return whole


def _fitted(
    image: Pixels, px: int, fit: Literal["pad", "stretch", "crop"], resampling: Image.Resampling, *, blank: int
) -> Pixels:
    height, width = image.shape[:2]
    if (height, width) == (px, px):
        return image
    source = Image.fromarray(image)
    if fit == "pad":
        square = np.full((px, px, *image.shape[2:]), blank, np.uint8)
        left, top, inner_width, inner_height = _inner_box(width, height, px)
        square[top : top + inner_height, left : left + inner_width] = np.asarray(
            source.resize((inner_width, inner_height), resampling)
        )
        return square
    box: tuple[float, float, float, float] = (0, 0, width, height)
    if fit == "crop":
        side = min(height, width)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
    return np.asarray(source.resize((px, px), resampling, box=box))


def _inner_box(width: int, height: int, px: int) -> tuple[int, int, int, int]:
    """Where an image lies in the padded square: left, top, width, height in pixels."""
    scale = px / max(width, height)
    inner_width, inner_height = max(1, round(width * scale)), max(1, round(height * scale))
    return (px - inner_width) // 2, (px - inner_height) // 2, inner_width, inner_height


def _opened(data: bytes) -> Image.Image:
    """Read the header only."""
    if not data:
        raise UndecodableError("empty file")
    try:
        return Image.open(BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise UndecodableError(_what_it_is_instead(data)) from error
    except _BROKEN as error:
        raise UndecodableError(f"damaged header ({_one_line(error)})") from error


def _what_it_is_instead(data: bytes) -> str:
    known = ", ".join(FORMATS)
    if data[4:8] == b"ftyp":
        return f"HEIC, AVIF or a video, not one of {known}; convert it to JPEG"
    if data.lstrip()[:1] == b"<":
        return f"a web page or SVG, not one of {known}"
    if not any(data):
        return "zeros only: the file was never written to the end"
    return f"not one of {known}, or damaged in its first bytes"


def _turned_upright(image: Image.Image) -> Image.Image:
    """Apply the orientation of a loaded image; a TIFF has been turned by Pillow itself, and its tag removed."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except _BROKEN:
        # Metadata too damaged to be read beside intact pixels: every viewer shows such a picture as it is stored.
        return image
    turn = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image, file_format: str | None) -> npt.NDArray[np.uint8]:
    if image.mode.startswith("I;16"):
        return _gray_to_rgb(np.asarray(image).astype(np.uint32))
    if image.mode == "I" and file_format in ("PNG", "PPM"):  # these hold 16 bits at most, whatever Pillow makes of them
        return _gray_to_rgb(np.asarray(image).astype(np.uint32))
    if image.mode in ("I", "F", "LAB"):
        kind = {"I": "32-bit integer", "F": "floating-point", "LAB": "CIELAB"}[image.mode]
        raise UndecodableError(f"{kind} pixels have no agreed range; save the image with 8 or 16 bits per channel")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return np.asarray(Image.alpha_composite(white, layer).convert("RGB"))
    return np.asarray(image.convert("RGB"))


def _gray_to_rgb(gray16: npt.NDArray[np.uint32]) -> Pixels:
    """(H, W) values in [0, 65535] to (H, W, 3) values in [0, 255], rounded."""
    gray = ((gray16 + 128) // 257).astype(np.uint8)
    return np.repeat(gray[:, :, None], 3, axis=2)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
