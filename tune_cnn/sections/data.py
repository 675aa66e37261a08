"""The `data` section: where the images are, how they are labelled, which belong to which split."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tune_cnn.sections.base import Fraction, Section


class Splits(Section):
    """Where the three splits come from: a folder or list by name, or a fraction drawn from what is left for training.

    `train` may be left out: then everything below the root that is no other split is drawn from.
    """

    train: str | None = None
    val: str | Fraction
    test: str | Fraction | None = None
    seed: int = 0

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


class BoxesCsvData(DataSection):
    """Bounding boxes in a CSV per split folder; an image's label is its dominant class, argmax(total area x count)."""

    kind: Literal["boxes_csv"]
    splits: Splits
    annotations: str = "_annotations.csv"
    label: Literal["dominant"] = "dominant"


class ListsData(DataSection):
    """Text files with a path and a label per line; numeric labels may be named by a `classes` file (`id name`)."""

    kind: Literal["lists"]
    splits: Splits
    classes: str | None = None


Data = Annotated[FoldersData | BoxesCsvData | ListsData, Field(discriminator="kind")]
