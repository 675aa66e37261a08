"""The `data` section: where the images are, how they are labelled, which belong to which split."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tune_cnn.sections.base import Fraction, ListOf, Section


class Group(Section):
    """What tells which images belong together, such as the frames of one video, in exactly one of two ways."""

    pattern: str | None = None
    """A regular expression, looked for in an image's path below the data root; its first group, else all it matches,
    names the group."""
    column: str | None = Field(default=None, min_length=1)
    """A column of the layout's table."""

    @model_validator(mode="after")
    def _one_way_only(self) -> Self:
        if self.pattern is not None and self.column is not None:
            raise ValueError("pattern and column are both written; keep one of them")
        if self.pattern is None and self.column is None:
            raise ValueError("group says nothing; write group: {pattern: 'video_([0-9]+)'} or group: {column: video}")
        return self

    @model_validator(mode="after")
    def _pattern_can_be_read(self) -> Self:
        try:
            re.compile(self.pattern or "")
        except re.error as error:
            raise ValueError(f"pattern {self.pattern!r} is no regular expression: {error}; mend it") from error
        return self


class Splits(Section):
    """Where the three splits come from: a folder or list by name, or a fraction drawn from what is left for training.

    `train` may be left out: then everything below the root that is no other split is drawn from.
    """

    train: str | None = None
    val: str | Fraction
    test: str | Fraction | None = None
    seed: int = 0
    group: Group | None = None
    """Images of one group are kept on one side of every split that is drawn; between named splits, groups that stand
    on two sides are warned about."""

    @model_validator(mode="after")
    def _leaves_something_to_train_on(self) -> Self:
        drawn = sum(part for part in (self.val, self.test) if isinstance(part, float))
        if drawn >= 1:
            raise ValueError(
                f"val and test take {drawn:g} of the images together; write fractions that leave some to train on"
            )
        return self


class DataSection(Section):
    """What every kind of data shares."""

    root: str
    on_bad: Literal["error", "skip"] = "error"


class FoldersData(DataSection):
    """One folder per class, below one folder per split or below the root."""

    kind: Literal["folders"]
    splits: Splits

    @model_validator(mode="after")
    def _has_no_table(self) -> Self:
        _refuse_column(self.splits, self.kind)
        return self


class Synthetic(Section):
    """Further training images: the dominant class's boxes are painted over, and the next class becomes the label.

    Made of training images with boxes of several classes, with the median colour of what lies outside all boxes.
    """

    labels_except: ListOf[str] = ()
    """No image is made that would get one of these labels, such as a class that has images enough."""
    painted_except: ListOf[str] = ()
    """No boxes of these classes are painted over."""
    fraction: float = Field(default=1.0, gt=0, le=1)
    """Of the images that could be made, how many are, drawn by the seed."""
    seed: int = 0


class BoxesCsvData(DataSection):
    """Bounding boxes in a CSV per split folder; an image's label is its dominant class, argmax(total area x count)."""

    kind: Literal["boxes_csv"]
    splits: Splits
    annotations: str = "_annotations.csv"
    label: Literal["dominant"] = "dominant"
    synthetic: Synthetic | None = None


class ListsData(DataSection):
    """Text files with a path and a label per line; numeric labels may be named by a `classes` file (`id name`)."""

    kind: Literal["lists"]
    splits: Splits
    classes: str | None = None

    @model_validator(mode="after")
    def _has_no_named_columns(self) -> Self:
        _refuse_column(self.splits, self.kind)
        return self


def _refuse_column(splits: Splits, kind: str) -> None:
    """Raise ValueError for a group that is looked up in a table, in a layout that has none with named columns."""
    if splits.group is not None and splits.group.column is not None:
        raise ValueError(
            f"splits.group.column is {splits.group.column!r}, but kind {kind} has no table with named columns; "
            "write group: {pattern: …}"
        )


Data = Annotated[FoldersData | BoxesCsvData | ListsData, Field(discriminator="kind")]
