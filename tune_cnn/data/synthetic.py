"""Further training images, made of those with boxes of several classes.

The dominant class is painted out, and what is left gives the label. The new images stand in the table under names of
their own, such as `train/a.jpg#without-fish`, and are made when the images are decoded.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from tune_cnn.data.dominant import area_of, dominant_class, uncovered_area
from tune_cnn.data.places import nearest
from tune_cnn.data.split import in_drawn_order
from tune_cnn.data.table import Box, Labelled, Paint, shown
from tune_cnn.sections.data import Synthetic

# Of the boxes of the new label, so much must still be seen: else the picture shows what is said to be gone.
_LEAST_VISIBLE = 0.5


@dataclass(frozen=True)
class BoxedImage:
    """A training image with its boxes: class and corners of each; `size` is its annotated width and height."""

    path: str
    size: tuple[float, float]
    boxes: tuple[tuple[str, Box], ...]
    group: str | None


def synthetic_images(images: Iterable[BoxedImage], synthetic: Synthetic) -> list[Labelled]:
    """Make training images, one at most of each image, and of so many as `fraction` says, drawn by the seed.

    Returns:
        Rows of split train; empty if no image has boxes of a second class that is wanted.
    """
    made = {image.path: entry for image in images if (entry := _painted(image, synthetic)) is not None}
    wanted = round(len(made) * synthetic.fraction)
    return [made[path] for path in in_drawn_order(made, synthetic.seed)[:wanted]]


def unknown_classes(synthetic: Synthetic, classes: Collection[str]) -> list[str]:
    """Say, a line each, which classes are excepted that the tables do not have."""
    return [
        f"data.synthetic.{name}: no class {shown(written)}; {nearest(written, sorted(classes), what='classes')}"
        for name in ("labels_except", "painted_except")
        for written in getattr(synthetic, name)
        if written not in classes
    ]


def _painted(image: BoxedImage, synthetic: Synthetic) -> Labelled | None:
    dominant = dominant_class([(name, area_of(box)) for name, box in image.boxes])
    painted = tuple(box for name, box in image.boxes if name == dominant and area_of(box) > 0)
    left = [(name, box) for name, box in image.boxes if name != dominant and area_of(box) > 0]
    label = dominant_class([(name, uncovered_area(box, painted)) for name, box in left])
    if dominant is None or label is None or dominant in synthetic.painted_except or label in synthetic.labels_except:
        return None
    of_label = [box for name, box in left if name == label]
    visible = sum(uncovered_area(box, painted) for box in of_label)
    if visible < _LEAST_VISIBLE * sum(map(area_of, of_label)):
        return None
    paint = Paint(image.path, image.size, painted, tuple(box for _, box in left))
    return Labelled(f"{image.path}#without-{dominant}", label, "train", image.group, paint)
