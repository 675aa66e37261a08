"""Predicted masks as pictures: over the photograph, and as plain class masks in a palette."""

import colorsys
import io
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tune_cnn.results.display import visible

Pixels: TypeAlias = NDArray[np.uint8]
Colour: TypeAlias = tuple[int, int, int]

RIGHT, FALSE_POSITIVE, FALSE_NEGATIVE = (40, 200, 60), (230, 40, 40), (50, 90, 255)
_NOT_COUNTED = (128, 128, 128)
_STRENGTH = 0.5  # of the colour over the photograph
_LEAST_PX = 320  # smaller photographs are enlarged, so that the caption can be read
_LINE_PX, _MARGIN_PX = 16, 4


def class_colours(classes: int) -> list[Colour]:
    """Give colours far apart: black for the first class, which is mostly the background, then around the circle."""
    hues = [number * 0.618034 % 1 for number in range(classes - 1)]  # the golden ratio never comes near itself
    found = [colorsys.hsv_to_rgb(hue, 0.75, 0.95) for hue in hues]
    return [(0, 0, 0), *((round(red * 255), round(green * 255), round(blue * 255)) for red, green, blue in found)]


def class_mask(mask: Pixels, classes: int) -> bytes:
    """Give a mask as a PNG whose pixels are class ids and whose palette makes them visible.

    Args:
        mask: (H, W) class ids; 255 stays 255, in gray.
        classes: how many there are.
    """
    image = Image.fromarray(mask)
    colours = [*class_colours(classes), *[_NOT_COUNTED] * (256 - classes)]
    image.putpalette([value for colour in colours for value in colour])
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def comparison(photograph: Pixels, truth: Pixels, predicted: Pixels, classes: Sequence[str], *, title: str) -> bytes:
    """Give a PNG: the photograph, and beside it the prediction laid over it, with a caption that explains the colours.

    With two classes, the second is what is looked for: green where it was found, red where it was seen and is not,
    blue where it was missed. With more, each pixel has the colour of the class that was predicted, and those that are
    wrong are crossed out in red.

    Args:
        photograph: (H, W, 3).
        truth: (H, W) class ids, 255 where nothing counts.
        predicted: (H, W) class ids.
        classes: the names.
        title: the first line of the caption.
    """
    if len(classes) == 2:
        overlay, legend = _binary(photograph, truth, predicted), _binary_legend(classes[1])
    else:
        overlay, legend = _several(photograph, truth, predicted, len(classes)), _several_legend(classes)
    enlarged = max(1, -(-_LEAST_PX // photograph.shape[1]))
    both = Image.fromarray(np.concatenate([photograph, overlay], axis=1))
    both = both.resize((both.width * enlarged, both.height * enlarged), Image.Resampling.NEAREST)
    data = io.BytesIO()
    _captioned(both, title, legend).save(data, "PNG")
    return data.getvalue()


def _binary(photograph: Pixels, truth: Pixels, predicted: Pixels) -> Pixels:
    counts = truth != 255
    there, seen = counts & (truth == 1), counts & (predicted == 1)
    layers = ((there & seen, RIGHT), (seen & ~there, FALSE_POSITIVE), (there & ~seen, FALSE_NEGATIVE))
    return _laid_over(photograph, [*layers, (~counts, _NOT_COUNTED)])


def _binary_legend(name: str) -> list[tuple[str, Colour]]:
    return [(f"{name} found", RIGHT), ("false positive", FALSE_POSITIVE), ("false negative", FALSE_NEGATIVE)]


def _several(photograph: Pixels, truth: Pixels, predicted: Pixels, classes: int) -> Pixels:
    colours = class_colours(classes)
    layers = [(predicted == number, colours[number]) for number in range(1, classes)]
    overlay = _laid_over(photograph, [*layers, (truth == 255, _NOT_COUNTED)])
    rows, columns = np.indices(truth.shape)
    overlay[(truth != 255) & (truth != predicted) & ((rows + columns) % 4 == 0)] = FALSE_POSITIVE
    return overlay


def _several_legend(classes: Sequence[str]) -> list[tuple[str, Colour]]:
    return [*zip(classes[1:], class_colours(len(classes))[1:], strict=True), ("wrong (hatched)", FALSE_POSITIVE)]


def _laid_over(photograph: Pixels, layers: Sequence[tuple[NDArray[np.bool_], Colour]]) -> Pixels:
    mixed = photograph.astype(np.float64)
    for where, colour in layers:
        mixed[where] = (1 - _STRENGTH) * mixed[where] + _STRENGTH * np.array(colour)
    return mixed.round().astype(np.uint8)


def _captioned(image: Image.Image, title: str, legend: Sequence[tuple[str, Colour]]) -> Image.Image:
    """Put a white strip with the title and the legend below an image; the legend takes as many lines as it needs."""
    font = ImageFont.load_default(_LINE_PX - 4)
    rows: list[list[tuple[str, Colour]]] = [[]]
    width = _MARGIN_PX
    for name, colour in legend:
        step = round(font.getlength(visible(name))) + 2 * _LINE_PX
        if rows[-1] and width + step > image.width:
            rows.append([])
            width = _MARGIN_PX
        rows[-1].append((visible(name), colour))
        width += step
    canvas = Image.new("RGB", (image.width, image.height + _LINE_PX * (len(rows) + 1) + 2 * _MARGIN_PX), "white")
    canvas.paste(image)
    draw = ImageDraw.Draw(canvas)
    draw.text((_MARGIN_PX, image.height + _MARGIN_PX), visible(title), fill="black", font=font)
    for number, row in enumerate(rows, start=1):
        x, y = _MARGIN_PX, image.height + _MARGIN_PX + number * _LINE_PX
        for name, colour in row:
            draw.rectangle((x, y + 3, x + _LINE_PX - 7, y + _LINE_PX - 4), fill=colour)
            draw.text((x + _LINE_PX, y), name, fill="black", font=font)
            x += round(font.getlength(name)) + 2 * _LINE_PX
    return canvas
