"""All images of an index, decoded and fitted, as one memory map that every process of a node shares.

An entry of the cache of the kind `views`, named by a digest of everything its content depends on.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import __version__ as pillow_version

from tune_cnn import progress
from tune_cnn.data.cache import ArraySpec, Cache, CacheUnusableError, Entry, Writer, in_memory
from tune_cnn.data.decode import Pixels, UndecodableError, decode_image, fit_image, fit_mask
from tune_cnn.data.masks import Mask, MaskRule, UnmappedError, decode_mask
from tune_cnn.data.paint import paint_out
from tune_cnn.data.sketch import SKETCH_BYTES, SKETCHED_BY, Sketches, sketch_of
from tune_cnn.data.table import ImageIndex, Row
from tune_cnn.machine import usable_cpus
from tune_cnn.sections.image import ImageConfig

KIND = "views"
# Part of an entry's key: raise it when the same files would give other pixels, or other facts of them.
FORMAT_VERSION = 4
_IMAGES = "images"
_SKETCHES = "sketches"
_MASKS = "masks"
_BATCH = 256


@dataclass(frozen=True)
class Views:
    """What the rows of an index look like.

    `images` is (N, px, px, 3) and `sketches` (N, SKETCH_BYTES) in the order of the index's rows, read-only; the rows of
    a bad image are zero. `sha256` is the digest of each file's content ('' if it cannot be read), or of that and what
    is painted in it. `made_by` names how pixels come from contents. `bad` gives the reason for each unusable path, and
    `note` says so if the images are held in memory because the cache cannot be used. With masks, `masks` is
    (N, px, px), `masks_sha256` their digests, and `unmapped` gives, by path of the image, the values without a class.
    """

    images: Pixels
    sketches: Sketches
    sha256: tuple[str, ...]
    bad: dict[str, str]
    made_by: str
    note: str | None = None
    masks: Mask | None = None
    masks_sha256: tuple[str, ...] = ()
    unmapped: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _View:
    """One image: its pixels and its sketch, with its mask if it has one; or why there are none."""

    pixels: Pixels | None
    sha256: str
    reason: str = ""
    sketch: Sketches | None = None
    mask: Mask | None = None
    mask_sha256: str = ""
    unmapped: str = ""


@dataclass(frozen=True)
class _Source:
    """What is decoded, and how."""

    index: ImageIndex
    image: ImageConfig
    masks: MaskRule | None

    @property
    def specs(self) -> dict[str, ArraySpec]:
        """The arrays of an entry."""
        rows = len(self.index.rows)
        square = (rows, self.image.px, self.image.px)
        shapes = {_IMAGES: (*square, 3), _SKETCHES: (rows, SKETCH_BYTES)}
        shapes |= {} if self.masks is None else {_MASKS: square}
        return {name: ArraySpec(shape, np.uint8) for name, shape in shapes.items()}

    @property
    def settings(self) -> list[Any]:
        """Everything the pixels depend on beside the files."""
        rule = None if self.masks is None else [sorted(self.masks.ids.items()), self.masks.threshold]
        return [FORMAT_VERSION, pillow_version, SKETCHED_BY, *vars(self.image).items(), rule]


def open_views(index: ImageIndex, image: ImageConfig, cache: Cache, masks: MaskRule | None = None) -> Views:
    """Open the cached images of `index`, making them first if this is the first time.

    Where the cache cannot be used, the images are held in memory instead, and `note` says why.

    Args:
        index: the images, with their masks if `masks` is given.
        image: how they are fitted.
        cache: where they are kept.
        masks: from the values of masks to class ids; None for images without masks.
    """
    source = _Source(index, image, masks)
    build = partial(_decode_all, source)
    try:
        return _views(source, cache.arrays(KIND, _key(source), source.specs, build))
    except CacheUnusableError as error:
        return _views(source, in_memory(source.specs, build), f"{error}; images are in memory")


def _key(source: _Source) -> str:
    """Everything an entry depends on, without opening a file: names, sizes and times stand for contents."""
    index = source.index
    digest = hashlib.sha256(json.dumps([source.settings, str(index.root)]).encode())
    for row in index.rows:
        progress.sign()
        identity = [row.path, *_identity(index.root, row.file)]
        if row.mask is not None:
            identity += _identity(index.root, row.mask)
        if row.paint is not None:
            identity.append(vars(row.paint))
        digest.update(json.dumps(identity).encode() + b"\n")
    return digest.hexdigest()[:32]


def _identity(root: Path, path: str) -> list[Any]:
    try:
        status = (root / path).stat()
    except OSError:
        return [path, None, None]
    return [path, status.st_size, status.st_mtime_ns]


def _views(source: _Source, entry: Entry, note: str | None = None) -> Views:
    return Views(
        entry.arrays[_IMAGES],
        entry.arrays[_SKETCHES],
        tuple(entry.facts["sha256"]),
        dict(entry.facts["bad"]),
        json.dumps(source.settings),
        note,
        entry.arrays.get(_MASKS),
        tuple(entry.facts["masks_sha256"]),
        dict(entry.facts["unmapped"]),
    )


def _decode_all(source: _Source, writer: Writer) -> dict[str, Any]:
    """Write each row's arrays, zeros for a row that cannot be used, and give what is known of the rows."""
    blank = {name: np.zeros(spec.shape[1:], np.uint8) for name, spec in source.specs.items()}
    facts: dict[str, Any] = {"sha256": [], "bad": {}, "masks_sha256": [], "unmapped": {}}
    for row, view in zip(source.index.rows, _decoded(source), strict=True):
        made = {_IMAGES: view.pixels, _SKETCHES: view.sketch, _MASKS: view.mask}
        for name, zeros in blank.items():
            pixels = None if view.pixels is None else made[name]
            writer.append(name, (zeros if pixels is None else pixels)[None])
        facts["sha256"].append(view.sha256)
        if source.masks is not None:
            facts["masks_sha256"].append(view.mask_sha256)
        if view.reason:
            facts["bad"][row.path] = view.reason
        if view.unmapped:
            facts["unmapped"][row.path] = view.unmapped
    return facts


def _decoded(source: _Source) -> Iterator[_View]:
    """Decode in the order of the rows. In batches, so that no more than one of them waits in memory to be written."""
    rows = iter(source.index.rows)
    threads = min(8, usable_cpus())
    with ThreadPoolExecutor(threads) as pool:  # Pillow lets go of the interpreter while it decodes and resizes
        while batch := list(islice(rows, _BATCH)):
            yield from pool.map(lambda row: _decode(row, source), batch)


def _decode(row: Row, source: _Source) -> _View:
    image = source.image
    try:
        data = (source.index.root / row.file).read_bytes()
    except OSError as error:
        return _View(None, "", f"cannot be read ({error.strerror})")
    sha256 = hashlib.sha256(data).hexdigest()
    if row.paint is not None:
        sha256 = hashlib.sha256(f"{sha256}\n{json.dumps(vars(row.paint))}".encode()).hexdigest()
    try:
        whole = decode_image(data, max_megapixels=image.max_megapixels)
        whole = whole if row.paint is None else paint_out(whole, row.paint)
    except UndecodableError as error:
        return _View(None, sha256, str(error))
    view = _View(fit_image(whole, image.px, image.fit), sha256, sketch=sketch_of(whole))
    if source.masks is None or row.mask is None:
        return view
    return _with_mask(view, (whole.shape[0], whole.shape[1]), source.index.root / row.mask, source.masks, image)


def _with_mask(view: _View, size: tuple[int, int], path: Path, rule: MaskRule, image: ImageConfig) -> _View:
    """Add the mask to a view of an upright image of `size` (height, width); without one, the pixels go too."""
    try:
        data = path.read_bytes()
        view = replace(view, mask_sha256=hashlib.sha256(data).hexdigest())
        mask = decode_mask(data, rule, max_megapixels=image.max_megapixels)
    except OSError as error:
        return replace(view, pixels=None, reason=f"its mask {path.name} cannot be read ({error.strerror})")
    except UndecodableError as error:
        return replace(view, pixels=None, reason=f"its mask {path.name}: {error}")
    except UnmappedError as error:
        return replace(view, pixels=None, unmapped=f"its mask {path.name} {error}")
    if mask.shape != size:
        swapped = " (sides swapped: was the image turned after its mask was drawn?)" if mask.shape == size[::-1] else ""
        return replace(
            view,
            pixels=None,
            reason=f"{size[1]} x {size[0]} pixels, but its mask {path.name} {mask.shape[1]} x {mask.shape[0]}{swapped}",
        )
    return replace(view, mask=fit_mask(mask, image.px, image.fit))
