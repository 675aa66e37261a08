"""The `data` section: where the images are, how they are labelled, which belong to which split."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from tune_cnn.masking import has_credentials
from tune_cnn.sections.base import Fraction, ListOf, Section
from tune_cnn.urls import is_url, url_fault

_MASK_VALUE = re.compile(r"[0-9]{1,5}|#[0-9a-f]{6}")
IGNORED_ID = 255
"""What a pixel that counts neither in the loss nor in a score holds in the place of a class id."""


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
    """A folder, or an address of a storage: `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`."""
    on_bad: Literal["error", "skip"] = "error"

    @model_validator(mode="after")
    def _root_is_no_secret(self) -> Self:
        if has_credentials(self.root):
            raise ValueError(
                "root has credentials in it, which every trial's config.yaml would keep; write the address without "
                "them, and give them by the environment"
            )
        return self

    @model_validator(mode="after")
    def _root_can_be_reached(self) -> Self:
        if is_url(self.root) and (fault := url_fault(self.root)):
            raise ValueError(f"root {self.root!r} {fault}")
        return self


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


class MasksData(DataSection):
    """Images with a mask each, in which every pixel's value says its class: for segmentation.

    Where splits are folders, `images`, `masks` and `pairs` lie in each of them.
    """

    kind: Literal["masks"]
    splits: Splits
    images: str = Field(min_length=1)
    """The folder of the images."""
    masks: str = Field(min_length=1)
    """The folder of the masks; may be that of the images if `pairs` tells them apart."""
    pairs: str | None = None
    """A CSV with an image's file name in the first column and its mask's in the second; none: equal names but for the
    suffix."""
    values: dict[str, str | None]
    """From a mask's value to its class: gray levels or palette indices, or colours as '#rrggbb'; null: not counted."""
    threshold: int | None = Field(default=None, ge=1, le=65535)
    """For two gray levels with blurred edges between them: below it is the lower one's class, else the higher one's."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, by the lowest value (or first colour) of each; what is not counted is none."""
        ordered = sorted(self.values, key=lambda value: (len(value), value))
        return tuple(dict.fromkeys(name for value in ordered if (name := self.values[value]) is not None))

    @field_validator("values", mode="before")
    @classmethod
    def _values_as_text(cls, written: Any) -> Any:
        if not isinstance(written, dict):
            return written
        return {str(value).lower() if isinstance(value, int | str) else value: name for value, name in written.items()}

    @model_validator(mode="after")
    def _has_the_table_that_groups_are_looked_up_in(self) -> Self:
        if self.pairs is None and self.splits.group is not None and self.splits.group.column is not None:
            raise ValueError(
                f"splits.group.column is {self.splits.group.column!r}, but there is no table that could have it; "
                "write pairs: FILE.csv, or group: {pattern: …}"
            )
        return self

    @model_validator(mode="after")
    def _values_make_sense(self) -> Self:
        if fault := self._fault_in_values():
            raise ValueError(f"values {fault}")
        return self

    def _fault_in_values(self) -> str:
        odd = [value for value in self.values if not _MASK_VALUE.fullmatch(value)]
        colours = [value for value in self.values if value.startswith("#")]
        if odd:
            return (
                f"name {odd[0]!r}, which is no value of a mask; write a gray level or index such as 255, or '#ff0000'"
            )
        if 0 < len(colours) < len(self.values):
            return f"mix colours ({colours[0]!r}) and gray levels; write one sort only"
        if not 2 <= len(self.class_names) <= IGNORED_ID:
            return f"name {len(self.class_names)} classes; write two or more: {{0: background, 255: water}}"
        if any(not name.strip() for name in self.class_names):
            return "hold a class without a name; write one, or null for pixels that do not count"
        if self.threshold is not None and (colours or len(self.values) != 2):
            return "are no two gray levels, between which threshold could decide; write two, or leave threshold out"
        return ""


Data = Annotated[FoldersData | BoxesCsvData | ListsData | MasksData, Field(discriminator="kind")]
