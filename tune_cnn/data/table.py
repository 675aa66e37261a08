"""The one table that every layout of images becomes, and what reading a layout hands over on the way there."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from tune_cnn.sections.data import Splits

Split: TypeAlias = Literal["train", "val", "test"]


@dataclass(frozen=True)
class Row:
    """One labelled image. `path` is relative to the data root, with forward slashes; `label` indexes `classes`."""

    path: str
    label: int
    split: Split
    mask: str | None = None
    """The path of its mask, for segmentation; then `label` says nothing."""


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
    """One image with its class by name, as a layout gives it."""

    path: str
    class_name: str
    split: Split
    mask: str | None = None


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
