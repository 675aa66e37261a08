"""From the `data` and `image` sections of a config to arrays: the one door to images for training and evaluation."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import SupportsIndex, TypeAlias

import numpy as np
import numpy.typing as npt

from tune_cnn.data.checks import share_warnings, split_faults, split_warnings
from tune_cnn.data.decode import Pixels
from tune_cnn.data.index import count_by_class, read_index
from tune_cnn.data.sketch import Sketches
from tune_cnn.data.split import draw_splits
from tune_cnn.data.table import ImageIndex, Row, Skipped, Split
from tune_cnn.data.views import Views, open_views
from tune_cnn.errors import DataError
from tune_cnn.sections.data import BoxesCsvData, FoldersData, ListsData, Splits
from tune_cnn.sections.image import ImageConfig

Places: TypeAlias = npt.NDArray[np.integer] | Sequence[int] | slice | SupportsIndex


class ImageRows:
    """Some rows of a larger array of images, read only when asked for.

    `rows[places]` copies out (B, px, px, 3) for an array of B places, (px, px, 3) for one.
    """

    def __init__(self, images: Pixels, rows: npt.NDArray[np.int64]) -> None:
        self._images = images
        self._rows = rows

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, px, px, 3)."""
        return (len(self._rows), self._images.shape[1], self._images.shape[2], 3)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, places: Places) -> Pixels:
        return np.array(self._images[self._rows[places]])


@dataclass(frozen=True)
class SplitImages:
    """The images of one split: `labels` is (N,), `paths` are relative to the data root."""

    images: ImageRows
    labels: npt.NDArray[np.int64]
    paths: tuple[str, ...]


@dataclass(frozen=True)
class ImageData:
    """A data set ready to train on. `splits` holds train and val, and test where one was asked for.

    `rows` are the images of all splits in the order of their paths, with labels that index `classes`; `sha256` gives
    the digest of each one's content, `sketches` (N, SKETCH_BYTES) what it looks like. `fingerprint` is the same for the
    same images, classes and splits wherever they lie.
    """

    classes: tuple[str, ...]
    splits: dict[Split, SplitImages]
    rows: tuple[Row, ...]
    sha256: tuple[str, ...]
    sketches: Sketches
    skipped: tuple[Skipped, ...]
    warnings: tuple[str, ...]
    fingerprint: str


@dataclass(frozen=True)
class ClassCount:
    """Images of one class by split; None for a test split that was not asked for."""

    class_name: str
    train: int
    val: int
    test: int | None

    def of(self, split: Split) -> int:
        """Give the number for a split; 0 for one that was not asked for."""
        return {"train": self.train, "val": self.val, "test": self.test}[split] or 0


def open_data(data: FoldersData | BoxesCsvData | ListsData, image: ImageConfig, *, cache_dir: Path) -> ImageData:
    """Index, decode, drop what cannot be used, draw the fractions, check.

    The first call decodes every image into the cache below `cache_dir`; later ones only look at names and times.

    Raises:
        DataError: everything wrong with the layout at once; or every unreadable image (unless `on_bad: skip`); or what
            is wrong between the splits once they are drawn.
    """
    index = read_index(data)
    views = open_views(index, image, cache_dir)
    if views.bad and data.on_bad == "error":
        raise DataError(
            f"{index.root / row.file}: {views.bad[row.path]}; replace it, or write data.on_bad: skip to leave it out"
            for row in _bad_rows(index, views)
        )
    rows = _drawn([row for row in index.rows if row.path not in views.bad], index, data.splits)
    counts = count_by_class(((row.split, index.classes[row.label]) for row in rows), _wanted(data.splits))
    faults = split_faults(counts)
    if faults:
        raise DataError(f"{index.root}: {fault}" for fault in faults)
    return _assembled(index, views, rows, counts, data.splits)


def summary(data: ImageData) -> tuple[ClassCount, ...]:
    """Number of images of each class in each split, in the order of the classes."""
    counts = {split: np.bincount(part.labels, minlength=len(data.classes)) for split, part in data.splits.items()}
    return tuple(
        ClassCount(
            class_name,
            train=int(counts["train"][place]),
            val=int(counts["val"][place]),
            test=int(counts["test"][place]) if "test" in counts else None,
        )
        for place, class_name in enumerate(data.classes)
    )


def _wanted(splits: Splits) -> tuple[Split, ...]:
    return ("train", "val") if splits.test is None else ("train", "val", "test")


def _bad_rows(index: ImageIndex, views: Views) -> list[Row]:
    """Give what cannot be used, each file once; of synthetic images those whose original is sound."""
    return [row for row in index.rows if row.path in views.bad and (row.paint is None or row.file not in views.bad)]


def _drawn(rows: Sequence[Row], index: ImageIndex, splits: Splits) -> list[Row]:
    """Put the images of splits written as fractions where the draw says.

    Raises:
        DataError: fewer groups than splits.
    """
    val = splits.val if isinstance(splits.val, float) else None
    test = splits.test if isinstance(splits.test, float) else None
    real = [row for row in rows if row.split == "train" and row.paint is None]
    pool = [(row.path, index.classes[row.label]) for row in real]
    groups = {row.path: row.group for row in real if row.group is not None} if splits.group else None
    try:
        drawn = draw_splits(pool, val=val, test=test, seed=splits.seed, groups=groups)
    except DataError as error:
        raise DataError(f"{index.root}: {fault}" for fault in error.faults) from error
    # A painted image goes where its original goes, and is of use in training only.
    placed = [replace(row, split=drawn.get(row.file, row.split)) for row in rows]
    return [row for row in placed if row.paint is None or row.split == "train"]


def _assembled(
    index: ImageIndex, views: Views, rows: Sequence[Row], counts: Mapping[Split, Counter[str]], splits: Splits
) -> ImageData:
    place = {row.path: number for number, row in enumerate(index.rows)}
    places = np.array([place[row.path] for row in rows], np.int64)
    sha256 = tuple(views.sha256[number] for number in places)
    classes = tuple(name for name in index.classes if counts["train"][name])
    bad = tuple(Skipped(row.path, row.split, views.bad[row.path]) for row in _bad_rows(index, views))
    label = {number: classes.index(name) for number, name in enumerate(index.classes) if name in classes}
    return ImageData(
        classes=classes,
        splits={
            split: _split_images(index, views, classes, place, [row for row in rows if row.split == split])
            for split in counts
        },
        rows=tuple(replace(row, label=label[row.label]) for row in rows),
        sha256=sha256,
        sketches=views.sketches[places],
        skipped=index.skipped + bad,
        warnings=_warnings(index, views, counts, [*split_warnings(counts, classes), *share_warnings(rows, splits)]),
        fingerprint=_fingerprint(rows, index.classes, sha256),
    )


def _warnings(
    index: ImageIndex, views: Views, counts: Mapping[Split, Counter[str]], found: Sequence[str]
) -> tuple[str, ...]:
    warnings = [*index.warnings, *(f"{index.root}: {text}" for text in found)]
    gone = [name for name in index.classes if not counts["train"][name]]
    if gone:
        warnings.append(f"{index.root}: classes without a readable image were left out: {', '.join(gone)}")
    if views.note is not None:
        warnings.append(views.note)
    return tuple(warnings)


def _fingerprint(rows: Sequence[Row], classes: Sequence[str], sha256: Sequence[str]) -> str:
    """Digest of what is learned from, wherever it lies; `rows` stand in the order of their paths."""
    digest = hashlib.sha256()
    for row, content in zip(rows, sha256, strict=True):
        digest.update("\0".join((row.path, row.split, classes[row.label], content)).encode() + b"\n")
    return digest.hexdigest()


def _split_images(
    index: ImageIndex, views: Views, classes: Sequence[str], place: Mapping[str, int], rows: Sequence[Row]
) -> SplitImages:
    label = {name: number for number, name in enumerate(classes)}
    return SplitImages(
        ImageRows(views.images, np.array([place[row.path] for row in rows], np.int64)),
        np.array([label[index.classes[row.label]] for row in rows], np.int64),
        tuple(row.path for row in rows),
    )
