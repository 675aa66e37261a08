"""Generated stand-in data sets: something to search on before one's own images are there.

Each image shows one of five drawn objects, anywhere, at any angle and size, in any colour, on a busy background, with
noise, blur and JPEG's own traces: easy for the eye, and hard enough for a small network that a search has a point.
"""

import csv
import math
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from tune_cnn.errors import InputError

Generator: TypeAlias = np.random.Generator
Colour: TypeAlias = tuple[int, int, int]
Part: TypeAlias = Literal["train", "valid", "test"]

# Objects are drawn this many times larger and then reduced, which smooths their edges.
_OVERSAMPLING = 2
DEFAULT_IMAGES: Mapping[Part, int] = {"train": 50, "valid": 15, "test": 15}


@dataclass(frozen=True)
class Picture:
    """An image and where its object is: `box` holds xmin, ymin, xmax, ymax in pixels, `mask` 255 on it, else 0."""

    image: Image.Image
    box: tuple[int, int, int, int]
    mask: Image.Image


def write_sample(
    name: str, folder: Path, *, images_per_class: Mapping[Part, int] = DEFAULT_IMAGES, seed: int = 0
) -> None:
    """Write a generated data set, whole or not at all; the same for the same seed.

    Args:
        name: one of `SAMPLES`.
        folder: where to; missing or empty.
        images_per_class: how many images of each of the five classes for each part.
        seed: another seed, other pictures.

    Raises:
        InputError: an unknown name, or a folder that holds something already.
    """
    if name not in SAMPLES:
        raise InputError(f"there is no sample data set {name!r}; write one of {', '.join(SAMPLES)}")
    folder = folder.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} holds something already; write a new or empty folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=f".{folder.name}.making-", dir=folder.parent))
    try:
        making.chmod(0o755)
        SAMPLES[name](making, images_per_class, np.random.default_rng(seed))
        making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _write_shapes(folder: Path, images_per_class: Mapping[Part, int], random: Generator) -> None:
    """Write layout `folders`: part, class, image."""
    for part, count in images_per_class.items():
        for name in OBJECTS:
            place = folder / part / name
            place.mkdir(parents=True)
            for number in range(count):
                _save(draw_picture(name, random), place / f"{number:03d}.jpg", random)


def _write_boxes(folder: Path, images_per_class: Mapping[Part, int], random: Generator) -> None:
    """Write layout `boxes_csv`: one table of boxes beside the images of each part."""
    for part, count in images_per_class.items():
        (folder / part).mkdir(parents=True)
        table = StringIO(newline="")
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow(("filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax"))
        for number, name in enumerate(name for name in OBJECTS for _ in range(count)):
            picture = draw_picture(name, random)
            _save(picture, folder / part / f"{number:04d}.jpg", random)
            rows.writerow((f"{number:04d}.jpg", *picture.image.size, name, *picture.box))
        (folder / part / "_annotations.csv").write_text(table.getvalue(), "utf-8")


def _write_lists(folder: Path, images_per_class: Mapping[Part, int], random: Generator) -> None:
    """Write layout `lists`: path and id per line; what would be `valid` is part of train, to be drawn as a fraction."""
    lines: dict[str, list[str]] = {"train.txt": [], "test.txt": []}
    for name_id, name in enumerate(OBJECTS):
        (folder / "images" / name).mkdir(parents=True)
        parts = [part for part, count in images_per_class.items() for _ in range(count)]
        for number, part in enumerate(parts):
            path = f"images/{name}/{number:03d}.jpg"
            _save(draw_picture(name, random), folder / path, random)
            lines["test.txt" if part == "test" else "train.txt"].append(f"{path} {name_id}\n")
    for file, written in lines.items():
        (folder / file).write_text("".join(written), "utf-8")
    (folder / "classes.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(OBJECTS)), "utf-8")


def _write_masks(folder: Path, images_per_class: Mapping[Part, int], random: Generator) -> None:
    """Write layout `masks`: images, masks and a table of pairs; the parts are to be drawn as fractions.

    A pixel's value is 0 for the background, else the number of its object, from 1 in the order of `OBJECTS`.
    """
    for name in ("images", "masks"):
        (folder / name).mkdir()
    table = StringIO(newline="")
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(("image", "mask"))
    for number in range(sum(images_per_class.values()) * len(OBJECTS)):
        name_id = number % len(OBJECTS)
        picture = draw_picture(list(OBJECTS)[name_id], random)
        _save(picture, folder / "images" / f"{number:04d}.jpg", random)
        values = np.asarray(picture.mask) // 255 * np.uint8(name_id + 1)
        Image.fromarray(values).save(folder / "masks" / f"{number:04d}.png")
        rows.writerow((f"{number:04d}.jpg", f"{number:04d}.png"))
    (folder / "pairs.csv").write_text(table.getvalue(), "utf-8")


def _save(picture: Picture, path: Path, random: Generator) -> None:
    picture.image.save(path, "JPEG", quality=int(random.integers(55, 92)))


def draw_picture(name: str, random: Generator) -> Picture:
    """Draw one object of `OBJECTS` on a background of its own, about 160 x 120 pixels."""
    width, height = int(random.integers(128, 193)), int(random.integers(96, 145))
    radius = float(random.uniform(0.28, 0.46)) * min(width, height)
    x = float(random.uniform(radius, width - radius))
    y = float(random.uniform(radius, height - radius))
    mask = _object_mask(name, (width, height), (x, y), radius, random)
    canvas = _background((width, height), random)
    canvas.paste(_surface((width, height), random), mask=mask)
    _scratch(canvas, int(random.integers(0, 4)), random)
    inside = mask.point(lambda share: 255 if share > 127 else 0)
    return Picture(_weathered(canvas, random), mask.getbbox() or (0, 0, width, height), inside)


def _object_mask(
    name: str, size: tuple[int, int], centre: tuple[float, float], radius: float, random: Generator
) -> Image.Image:
    """An antialiased mask of the object, turned by a random angle."""
    scale = _OVERSAMPLING
    mask = Image.new("L", (size[0] * scale, size[1] * scale))
    turn = float(random.uniform(0, 2 * math.pi))
    OBJECTS[name](ImageDraw.Draw(mask), centre[0] * scale, centre[1] * scale, radius * scale, turn, random)
    return mask.resize(size, Image.Resampling.BOX)


def _disc(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, fill: int = 255) -> None:
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def _corners(x: float, y: float, radii: list[float], turn: float) -> list[tuple[float, float]]:
    """Points around a centre at equal angles, at the given distances."""
    step = 2 * math.pi / len(radii)
    return [(x + r * math.cos(turn + k * step), y + r * math.sin(turn + k * step)) for k, r in enumerate(radii)]


def _draw_ring(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, turn: float, random: Generator) -> None:
    _disc(draw, x, y, radius)
    hole, away = radius * float(random.uniform(0.5, 0.75)), radius * float(random.uniform(0, 0.1))
    _disc(draw, x + away * math.cos(turn), y + away * math.sin(turn), hole, fill=0)


def _draw_crescent(
    draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, turn: float, random: Generator
) -> None:
    _disc(draw, x, y, radius)
    away = radius * float(random.uniform(0.35, 0.6))
    _disc(draw, x + away * math.cos(turn), y + away * math.sin(turn), radius * 0.8, fill=0)


def _draw_star(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, turn: float, random: Generator) -> None:
    points, inner = int(random.integers(5, 8)), float(random.uniform(0.4, 0.6))
    draw.polygon(_corners(x, y, [radius, radius * inner] * points, turn), fill=255)


def _draw_polygon(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, turn: float, random: Generator) -> None:
    draw.polygon(_corners(x, y, [radius] * int(random.integers(3, 7)), turn), fill=255)


def _draw_flower(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, turn: float, random: Generator) -> None:
    petals = int(random.integers(5, 8))
    for petal_x, petal_y in _corners(x, y, [radius * 0.66] * petals, turn):
        _disc(draw, petal_x, petal_y, radius * 0.34)
    _disc(draw, x, y, radius * 0.5)


Draw: TypeAlias = Callable[[ImageDraw.ImageDraw, float, float, float, float, Generator], None]
OBJECTS: Mapping[str, Draw] = {
    "crescent": _draw_crescent,
    "flower": _draw_flower,
    "polygon": _draw_polygon,
    "ring": _draw_ring,
    "star": _draw_star,
}


def _colour(random: Generator) -> Colour:
    red, green, blue = (int(value) for value in random.integers(20, 236, 3))
    return red, green, blue


def _clouds(size: tuple[int, int], cells: int, random: Generator) -> Image.Image:
    """Smooth random light and dark, about `cells` of them across."""
    coarse = random.integers(0, 256, (cells, cells), np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def _surface(size: tuple[int, int], random: Generator) -> Image.Image:
    """Two colours blended by clouds."""
    one, other = (Image.new("RGB", size, _colour(random)) for _ in range(2))
    return Image.composite(one, other, _clouds(size, int(random.integers(2, 9)), random))


def _background(size: tuple[int, int], random: Generator) -> Image.Image:
    """A surface with rubble on it, in the colours of the objects but in none of their shapes."""
    canvas = _surface(size, random)
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(random.integers(2, 8))):
        x, y = (float(random.uniform(0, side)) for side in size)
        radii = [float(radius) for radius in random.uniform(2, 0.13 * size[1], 7)]
        draw.polygon(_corners(x, y, radii, float(random.uniform(0, 7))), fill=_colour(random))
    return canvas


def _scratch(canvas: Image.Image, count: int, random: Generator) -> None:
    """Lines over everything, the object too."""
    draw = ImageDraw.Draw(canvas)
    for _ in range(count):
        ends = [float(random.uniform(0, side)) for _ in range(2) for side in canvas.size]
        draw.line(ends, fill=_colour(random), width=int(random.integers(1, 4)))


def _weathered(canvas: Image.Image, random: Generator) -> Image.Image:
    """Blur and noise of varying strength."""
    blurred = canvas.filter(ImageFilter.GaussianBlur(float(random.uniform(0.0, 1.3))))
    noise = random.normal(0, random.uniform(2, 14), (canvas.height, canvas.width, 3))
    return Image.fromarray(np.clip(np.asarray(blurred) + noise, 0, 255).astype(np.uint8))


SAMPLES: Mapping[str, Callable[[Path, Mapping[Part, int], Generator], None]] = {
    "shapes": _write_shapes,
    "boxes": _write_boxes,
    "lists": _write_lists,
    "masks": _write_masks,
}
