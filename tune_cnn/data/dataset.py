"""From the `data` and `image` sections of a config to arrays: the one door to images for training and evaluation."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import SupportsIndex, TypeAlias

import numpy as np
import numpy.typing as npt

from tune_cnn.data.cache import Cache
from tune_cnn.data.checks import empty_splits, mask_faults, share_warnings, split_faults, split_warnings
from tune_cnn.data.decode import Pixels
from tune_cnn.data.fetch import located
from tune_cnn.data.index import count_by_class, read_index
from tune_cnn.data.masks import MaskRule
from tune_cnn.data.sketch import Sketches
from tune_cnn.data.split import draw_splits
from tune_cnn.data.table import ImageIndex, Row, Skipped, Split
from tune_cnn.data.views import Views, open_views
from tune_cnn.errors import DataError, UnreadableImagesError
from tune_cnn.sections.data import Data, MasksData, Splits
from tune_cnn.sections.image import ImageConfig

_MOST_UNMAPPED = 5
Places: TypeAlias = npt.NDArray[np.integer] | Sequence[int] | slice | SupportsIndex


class ImageRows:
    """Some rows of a larger array of images or masks, read only when asked for.

    `rows[places]` copies out (B, px, px, 3) for an array of B places, (px, px, 3) for one; masks lack the last axis.
    """

    def __init__(self, images: Pixels, rows: npt.NDArray[np.int64], *, made_by: str, sha256: Sequence[str]) -> None:
        """Select rows.

        Args:
            images: (M, px, px, 3), or (M, px, px) masks.
            rows: (N,) which of them.
            made_by: names how these pixels come from contents.
            sha256: M digests of the contents that they come from.
        """
        self._images = images
        self._rows = rows
        self._made_by = made_by
        self._sha256 = sha256

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, px, px, 3), or (N, px, px) for masks."""
        return (len(self._rows), *self._images.shape[1:])

    @cached_property
    def key(self) -> str:
        """Names the content: the same for the same rows of the same images, wherever their files lie."""
        contents = (self._sha256[row] for row in self._rows.tolist())
        return hashlib.sha256("\n".join((self._made_by, str(self.shape), *contents)).encode()).hexdigest()[:32]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, places: Places) -> Pixels:
        return np.array(self._images[self._rows[places]])

    def joined(self, other: "ImageRows") -> "ImageRows":
        """Give these rows and then those of another selection of the same array."""
        return self._selected(np.concatenate([self._rows, other._rows]))

    def picked(self, chosen: npt.NDArray[np.bool_]) -> "ImageRows":
        """Give the rows for which (N,) `chosen` is true, in their order."""
        return self._selected(self._rows[chosen])

    def _selected(self, rows: npt.NDArray[np.int64]) -> "ImageRows":
        return ImageRows(self._images, rows, made_by=self._made_by, sha256=self._sha256)


@dataclass(frozen=True)
class SplitImages:
    """The images of one split: `labels` is (N,), all 0 beside `masks`; `paths` are relative to the data root."""

    images: ImageRows
    labels: npt.NDArray[np.int64]
    paths: tuple[str, ...]
    masks: ImageRows | None = None
    """Class ids per pixel, `IGNORED_ID` where nothing counts; None for classification."""
    pixels: npt.NDArray[np.int64] | None = None
    """(N, classes) pixels of each class in each mask; None for classification."""

    @property
    def targets(self) -> npt.NDArray[np.int64] | ImageRows:
        """What is to be predicted: a class per image, or a mask."""
        return self.labels if self.masks is None else self.masks

    def joined(self, other: "SplitImages") -> "SplitImages":
        """Give the images of this split and then those of another of the same data set."""
        both = self.pixels is not None and other.pixels is not None
        return SplitImages(
            self.images.joined(other.images),
            np.concatenate([self.labels, other.labels]),
            self.paths + other.paths,
            self.masks.joined(other.masks) if self.masks is not None and other.masks is not None else None,
            np.concatenate([self.pixels, other.pixels]) if both else None,
        )

    def picked(self, chosen: npt.NDArray[np.bool_]) -> "SplitImages":
        """Give the images for which (N,) `chosen` is true, in their order."""
        return SplitImages(
            self.images.picked(chosen),
            self.labels[chosen],
            tuple(path for path, take in zip(self.paths, chosen, strict=True) if take),
            self.masks.picked(chosen) if self.masks is not None else None,
            self.pixels[chosen] if self.pixels is not None else None,
        )

    def per_class(self, classes: int) -> npt.NDArray[np.int64]:
        """Count the images, or the pixels of the masks, of each of so many classes: (classes,)."""
        return np.bincount(self.labels, minlength=classes) if self.pixels is None else self.pixels.sum(axis=0)


@dataclass(frozen=True)
class ImageData:
    """A data set ready to train on. `splits` holds train and val, and test where one was asked for.

    `rows` are the images of all splits in the order of their paths, with labels that index `classes` (beside masks,
    labels say nothing); `sha256` gives the digest of each one's content, `sketches` (N, SKETCH_BYTES) what it looks
    like. `fingerprint` is the same for the same images, masks, classes and splits wherever they lie.
    """

    classes: tuple[str, ...]
    splits: dict[Split, SplitImages]
    rows: tuple[Row, ...]
    sha256: tuple[str, ...]
    sketches: Sketches
    skipped: tuple[Skipped, ...]
    warnings: tuple[str, ...]
    fingerprint: str
    note: str | None
    """Why the images are held in memory, if the cache cannot be used; one of the warnings."""

    @property
    def has_masks(self) -> bool:
        """Whether it is pixels, not images, that have classes."""
        return self.splits["train"].masks is not None


@dataclass(frozen=True)
class ClassCount:
    """Images (with masks: pixels) of one class by split; None for a test split that was not asked for."""

    class_name: str
    train: int
    val: int
    test: int | None

    def of(self, split: Split) -> int:
        """Give the number for a split; 0 for one that was not asked for."""
        return {"train": self.train, "val": self.val, "test": self.test}[split] or 0


def open_data(data: Data, image: ImageConfig, *, cache: Cache) -> ImageData:
    """Index, decode, drop what cannot be used, draw the fractions, check.

    The first call decodes every image into `cache`; later ones only look at names and times. Images of a storage are
    fetched there before.

    Raises:
        StorageError: the storage of the images cannot be used.
        UnreadableImagesError: every unreadable image, unless `on_bad: skip`.
        DataError: everything wrong with the layout at once; or every mask with a value of no class; or
            what is wrong between the splits once they are drawn.
    """
    with located(data, cache) as here:
        opened = open_local(here, image, cache=cache)
        return replace(opened, warnings=tuple(text.replace(here.root, data.root) for text in opened.warnings))


def open_local(data: Data, image: ImageConfig, *, cache: Cache) -> ImageData:
    """Open images that lie in a folder of this machine, as `open_data` does."""
    index = read_index(data)
    masks = data if isinstance(data, MasksData) else None
    views = open_views(index, image, cache, MaskRule.of(masks) if masks else None)
    if views.unmapped:
        raise DataError(_unmapped_lines(index.root, views.unmapped))
    if views.bad and data.on_bad == "error":
        reasons = (f"{index.root / row.file}: {views.bad[row.path]}" for row in _bad_rows(index, views))
        raise UnreadableImagesError(reasons, Counter(row.split for row in _drawn(index.rows, index, data.splits)))
    rows = _drawn([row for row in index.rows if row.path not in views.bad], index, data.splits)
    counts = count_by_class(((row.split, index.classes[row.label]) for row in rows), _wanted(data.splits))
    faults = empty_splits(counts) if masks else split_faults(counts)
    if faults:
        raise DataError(f"{index.root}: {fault}" for fault in faults)
    if masks:
        return _with_masks(masks, index, views, rows, counts)
    return _assembled(index, views, rows, counts, data.splits)


def summary(data: ImageData) -> tuple[ClassCount, ...]:
    """Number of images of each class in each split, in the order of the classes."""
    counts = {split: part.per_class(len(data.classes)) for split, part in data.splits.items()}
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
        skipped=index.skipped + _bad(index, views),
        warnings=_warnings(index, views, counts, [*split_warnings(counts, classes), *share_warnings(rows, splits)]),
        fingerprint=_fingerprint(rows, index.classes, sha256),
        note=views.note,
    )


def _with_masks(
    data: MasksData, index: ImageIndex, views: Views, rows: Sequence[Row], wanted: Iterable[Split]
) -> ImageData:
    """Put a data set for segmentation together.

    Raises:
        DataError: the training masks hold one class only.
    """
    place = {row.path: number for number, row in enumerate(index.rows)}
    places = np.array([place[row.path] for row in rows], np.int64)
    classes = data.class_names
    splits = {
        split: _counted(
            _split_images(index, views, index.classes, place, [row for row in rows if row.split == split]), len(classes)
        )
        for split in wanted
    }
    faults = mask_faults(dict(zip(classes, splits["train"].per_class(len(classes)).tolist(), strict=True)))
    if faults:
        raise DataError(f"{index.root}: {fault}" for fault in faults)
    sha256 = tuple(views.sha256[number] for number in places)
    contents = [f"{views.sha256[number]} {views.masks_sha256[number]}" for number in places]
    rule = json.dumps([sorted(data.values.items()), data.threshold])
    return ImageData(
        classes=classes,
        splits=splits,
        rows=tuple(rows),
        sha256=sha256,
        sketches=views.sketches[places],
        skipped=index.skipped + _bad(index, views),
        warnings=_warnings(index, views, {"train": Counter(index.classes)}, share_warnings(rows, data.splits)),
        fingerprint=_fingerprint(rows, [rule], contents),
        note=views.note,
    )


def _counted(split: SplitImages, classes: int) -> SplitImages:
    """Count the pixels of each class in each mask; there may be none."""
    assert split.masks is not None  # noqa: S101 - `_with_masks` has opened them
    masks = split.masks
    pixels = [np.bincount(masks[number].ravel(), minlength=256)[:classes] for number in range(len(masks))]
    return replace(split, pixels=np.array(pixels, np.int64).reshape(-1, classes))


def _bad(index: ImageIndex, views: Views) -> tuple[Skipped, ...]:
    return tuple(Skipped(row.path, row.split, views.bad[row.path]) for row in _bad_rows(index, views))


def _unmapped_lines(root: Path, unmapped: Mapping[str, str]) -> list[str]:
    """A line for each of the first images whose masks hold values of no class, and how many more there are."""
    lines = [f"{root / path}: {text}" for path, text in sorted(unmapped.items())]
    more = len(lines) - _MOST_UNMAPPED
    return [*lines[:_MOST_UNMAPPED], f"{root}: {more} more masks hold such values"] if more > 0 else lines


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
    places = np.array([place[row.path] for row in rows], np.int64)
    masks = None
    if views.masks is not None:
        masks = ImageRows(views.masks, places, made_by=views.made_by, sha256=views.masks_sha256)
    return SplitImages(
        ImageRows(views.images, places, made_by=views.made_by, sha256=views.sha256),
        np.array([label[index.classes[row.label]] for row in rows], np.int64),
        tuple(row.path for row in rows),
        masks,
    )
