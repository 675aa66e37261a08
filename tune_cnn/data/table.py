"""The one table that every layout of images becomes, and what reading a layout hands over on the way there."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from tune_cnn.sections.data import Splits

Split: TypeAlias = Literal["train", "val", "test"]


Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of the annotated image, within it."""


@dataclass(frozen=True)
class Paint:
    """What to cover in an image to make another one of it.

    `file` is the image it is made from, `size` its annotated width and height, `boxes` what is covered with the colour
    of the background, `kept` the boxes that are no background either.
    """

    file: str
    size: tuple[float, float]
    boxes: tuple[Box, ...]
    kept: tuple[Box, ...]


@dataclass(frozen=True)
class Row:
    """One labelled image. `path` is relative to the data root, with forward slashes; `label` indexes `classes`.

    `group` names what must stay on one side of a split; None where the image stands for itself. With `paint`, the image
    is made from another one, and no file is called `path`.
    """

    path: str
    label: int
    split: Split
    group: str | None = None
    paint: Paint | None = None
    mask: str | None = None
    """The path of its mask, for segmentation; then `label` says nothing."""

    @property
    def file(self) -> str:
        """The file the pixels come from, relative to the data root."""
        return self.path if self.paint is None else self.paint.file


@dataclass(frozen=True)
class Skipped:
    """An image left out, and why."""

    path: str
    split: Split
    reason: str


@dataclass(frozen=True)
class ImageIndex:
    """All labelled images of a data set; splits written as fractions are not drawn yet, their images are in `train`."""

    root: Path
    classes: tuple[str, ...]
    rows: tuple[Row, ...]
    skipped: tuple[Skipped, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Labelled:
    """One image with its class by name, as a layout gives it, and its group where a table says so."""

    path: str
    class_name: str
    split: Split
    group: str | None = None
    paint: Paint | None = None
    mask: str | None = None

    @property
    def file(self) -> str:
        """The file the pixels come from, relative to the data root."""
        return self.path if self.paint is None else self.paint.file


@dataclass
class Listing:
    """What reading a layout gathers: images, and everything worth saying, so that all faults are reported at once."""

    entries: list[Labelled] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    class_order: Sequence[str] | None = None
    """The classes in their order where the layout gives one (ids); None: by name."""


def named_splits(splits: Splits) -> dict[Split, str]:
    """The splits that are folders or lists, by what is written; fractions are left out, a missing `train` is ''."""
    named: dict[Split, str] = {"train": splits.train or ""}
    if isinstance(splits.val, str):
        named["val"] = splits.val
    if isinstance(splits.test, str):
        named["test"] = splits.test
    return named


def shown(text: str) -> str:
    """A name from a file as it can stand in a one-line message: quoted, control characters escaped, cut at 200."""
    return repr(text if len(text) <= 200 else text[:197] + "...")
