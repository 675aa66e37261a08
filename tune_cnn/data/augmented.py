"""Augmented images for training: a view of all of them per epoch, made once for all trials of a node.

View k of an image is drawn from a seed of (study seed, policy, k, the image's path), whatever its place, its batch or
the process. So a new view every epoch *is* online augmentation, except that all trials of a study see the same draws.
Views are entries of the cache of the kind `augmented`, made when an epoch first asks for them. Where the cache cannot
be used, the same draws are made batch by batch.
"""

import functools
import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tune_cnn.data.augment import Augmenter
from tune_cnn.data.cache import ArraySpec, Cache, CacheUnusableError, Entry, Writer
from tune_cnn.data.dataset import ImageRows, SplitImages
from tune_cnn.data.decode import Pixels
from tune_cnn.seeds import seed_of

log = logging.getLogger(__name__)
KIND = "augmented"
# Part of every key: raise it when the same images, policy and seed would give other pixels.
FORMAT_VERSION = 1
_IMAGES, _MASKS = "images", "masks"
_BATCH = 64

_Numbers = NDArray[np.int64]
_Fetch = Callable[[str, _Numbers], Pixels]
"""From a part, images or masks, and (B,) places to what a view shows there."""


class Augmentation:
    """A policy and a seed at work on some images; several splits, such as folds, may be parts of these."""

    def __init__(
        self, images: SplitImages, augmenter: Augmenter, *, seed: int, views: int | None, cache: Cache | None
    ) -> None:
        """Draw nothing yet.

        Args:
            images: a training split, or all images of which folds are made.
            augmenter: the policy.
            seed: of the study.
            views: how many views the epochs go round; None for a new one every epoch.
            cache: where they are kept; None draws them batch by batch.
        """
        self.augmenter = augmenter
        self.views = views
        self.images = images
        self._seed = seed
        self._cache = cache
        self._is_refused = False

    def content(self, images: SplitImages) -> str:
        """Name what all views of some of the images depend on."""
        masks = None if images.masks is None else images.masks.key
        parts = [FORMAT_VERSION, images.images.key, masks, images.paths, self.augmenter.made_by, self._seed]
        return _digest(json.dumps(parts))

    def fetch(self, number: int) -> _Fetch:
        """Open a view, making it first if nobody has; or give what draws it batch by batch."""
        entry = self._entry(number)
        return _Drawn(partial(self._draw, number)) if entry is None else partial(_kept, entry)

    def _entry(self, number: int) -> Entry | None:
        if self._cache is None:
            return None
        key = _key(self._content, number)
        if self._is_refused:  # to fill a disk that is full anew every epoch would be in vain
            return self._cache.find(KIND, key, self._specs)
        try:
            return self._cache.arrays(KIND, key, self._specs, partial(self._build, number))
        except CacheUnusableError as error:
            self._is_refused = True
            log.warning("%s; images are augmented batch by batch", error)
            return None

    @cached_property
    def _content(self) -> str:
        return self.content(self.images)

    @cached_property
    def _specs(self) -> dict[str, ArraySpec]:
        parts = {_IMAGES: self.images.images, _MASKS: self.images.masks}
        return {name: ArraySpec(rows.shape, np.uint8) for name, rows in parts.items() if rows is not None}

    def _build(self, number: int, writer: Writer) -> dict[str, Any]:
        everything = np.arange(len(self.images.paths))
        for begin in range(0, len(everything), _BATCH):
            for name, pixels in self._draw(number, everything[begin : begin + _BATCH]).items():
                writer.append(name, pixels)
        return {}

    def _draw(self, number: int, places: _Numbers) -> dict[str, Pixels]:
        """Draw what a view shows at (B,) places: images, (B, px, px, 3), and masks, (B, px, px), if there are any."""
        shown = {name: np.empty((len(places), *spec.shape[1:]), np.uint8) for name, spec in self._specs.items()}
        for row, place in enumerate(places.tolist()):
            path, mask = self.images.paths[place], None if self.images.masks is None else self.images.masks[place]
            seed = seed_of("augment", self._seed, self.augmenter.policy_digest, number, path)
            shown[_IMAGES][row], seen = self.augmenter.view(self.images.images[place], mask, seed)
            if mask is not None:
                shown[_MASKS][row] = seen
        return shown


class AugmentedViews:
    """What the epochs of a training see of its split."""

    def __init__(self, split: SplitImages, augmentation: Augmentation) -> None:
        """Take a split whose images are all among those of `augmentation`."""
        self.split = split
        self._augmentation = augmentation
        place = {path: number for number, path in enumerate(augmentation.images.paths)}
        self._rows = np.array([place[path] for path in split.paths], np.int64)

    @property
    def augmenter(self) -> Augmenter:
        """The policy."""
        return self._augmentation.augmenter

    @property
    def views(self) -> int | None:
        """How many views the epochs go round; None for a new one every epoch."""
        return self._augmentation.views

    def number_of(self, epoch: int) -> int:
        """Say which view an epoch sees, from 0 on; always 0 where the policy changes nothing."""
        if not self.augmenter.augments:
            return 0
        return epoch - 1 if self.views is None else (epoch - 1) % self.views

    def key(self, number: int) -> str:
        """Name the content of a view; where the policy changes nothing, that of the images as they are."""
        return _key(self._content, number) if self.augmenter.augments else self.split.images.key

    def open(self, number: int) -> "tuple[ImageRows | ViewRows, _Numbers | ImageRows | ViewRows]":
        """Give a view's images, (N, px, px, 3), and targets, (N,) or (N, px, px).

        It is made, if nobody has made it, when the first of them are looked at.
        """
        if not self.augmenter.augments:
            return self.split.images, self.split.targets
        fetch = _Late(partial(self._augmentation.fetch, number))
        images, masks = (ViewRows(fetch, part, self._rows) for part in (_IMAGES, _MASKS))
        return images, self.split.labels if self.split.masks is None else masks

    @cached_property
    def _content(self) -> str:
        return self._augmentation.content(self.split)


class ViewRows:
    """Images or masks of a view: `rows[places]` gives (B, …), a copy, for an array of B places or a slice."""

    def __init__(self, fetch: _Fetch, part: str, rows: _Numbers) -> None:
        self._fetch = fetch
        self._part = part
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, places: NDArray[np.integer] | slice) -> Pixels:
        return self._fetch(self._part, self._rows[places])


def _key(content: str, number: int) -> str:
    return _digest(f"{content}\n{number}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _kept(entry: Entry, part: str, places: _Numbers) -> Pixels:
    return np.asarray(entry.arrays[part][places])


class _Late:
    """Opens a view when something of it is asked for: with features of it cached, nothing may ever be."""

    def __init__(self, open_view: Callable[[], _Fetch]) -> None:
        self._open = functools.cache(open_view)

    def __call__(self, part: str, places: _Numbers) -> Pixels:
        return self._open()(part, places)


class _Drawn:
    """Draws rows when they are asked for; those asked for last are kept, as masks come right after their images."""

    def __init__(self, draw: Callable[[_Numbers], Mapping[str, Pixels]]) -> None:
        self._draw = draw
        self._places: _Numbers = np.array([], np.int64)
        self._shown: Mapping[str, Pixels] = {}

    def __call__(self, part: str, places: _Numbers) -> Pixels:
        if not self._shown or not np.array_equal(places, self._places):
            self._places, self._shown = places, self._draw(places)
        return np.array(self._shown[part])
