"""All images of an index, decoded and fitted, as one memory map that every process of a node shares.

An entry of the cache is a folder named by a digest of everything its content depends on. It is built once, under a
lock, in a temporary folder, and appears by a rename; after that it is only read. It can be deleted at any time.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from PIL import __version__ as pillow_version

from tune_cnn.data.cache import Cache
from tune_cnn.data.decode import Pixels, UndecodableError, decode_image, fit_image, fit_mask
from tune_cnn.data.masks import Mask, MaskRule, UnmappedError, decode_mask
from tune_cnn.data.paint import paint_out
from tune_cnn.data.sketch import SKETCH_BYTES, SKETCHED_BY, Sketches, sketch_of
from tune_cnn.data.table import ImageIndex, Row
from tune_cnn.machine import usable_cpus
from tune_cnn.sections.image import ImageConfig

# Part of an entry's name: raise it when the same files would give other pixels, or the entry's files change.
FORMAT_VERSION = 3
_IMAGES = "images.npy"
_SKETCHES = "sketches.npy"
_MASKS = "masks.npy"
_ROWS = "rows.json"
_BATCH = 256


@dataclass(frozen=True)
class Views:
    """What the rows of an index look like.

    `images` is (N, px, px, 3) and `sketches` (N, SKETCH_BYTES) in the order of the index's rows, read-only; the rows of
    a bad image are zero. `sha256` is the digest of each file's content ('' if it cannot be read), or of that and what
    is painted in it. `bad` gives the reason for each unusable path, and `note` says so if the images are held in memory
    because the cache cannot be used. With masks, `masks` is (N, px, px), `masks_sha256` their digests, and `unmapped`
    gives, by path of the image, the values without a class.
    """

    images: Pixels
    sketches: Sketches
    sha256: tuple[str, ...]
    bad: dict[str, str]
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
    def files(self) -> dict[str, tuple[int, ...]]:
        """The arrays of an entry: their files and shapes."""
        rows = len(self.index.rows)
        square = (rows, self.image.px, self.image.px)
        files: dict[str, tuple[int, ...]] = {_IMAGES: (*square, 3), _SKETCHES: (rows, SKETCH_BYTES)}
        return files if self.masks is None else files | {_MASKS: square}


def open_views(index: ImageIndex, image: ImageConfig, cache: Cache, masks: MaskRule | None = None) -> Views:
    """Open the cached images of `index`, making them first if this is the first time.

    Safe under concurrent callers: one builds, the others wait. A damaged entry is built anew. Where the cache folder
    cannot be written, or the disk is full, the images are held in memory instead, and `note` says why.

    Args:
        index: the images, with their masks if `masks` is given.
        image: how they are fitted.
        cache: where the cache is.
        masks: from the values of masks to class ids; None for images without masks.
    """
    source = _Source(index, image, masks)
    entry = cache.folder / "views" / _key(source)
    views = _opened(entry, source)
    if views is not None:
        return views
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{entry}.lock"):
            views = _opened(entry, source)  # another process may have built it meanwhile
            if views is None:
                _build(entry, source)
                views = _opened(entry, source)
        if views is not None:
            return views
        reason = "what was written could not be read back"
    except OSError as error:
        reason = str(error)
    return _in_memory(source, f"the cache in {cache.folder} cannot be used ({reason}); images are in memory")


def _key(source: _Source) -> str:
    """Everything the pixels depend on, without opening a file: names, sizes and times stand for contents."""
    index, image, masks = source.index, source.image, source.masks
    made_by = [FORMAT_VERSION, pillow_version, SKETCHED_BY]
    settings: list[Any] = [*made_by, str(index.root), image.px, image.fit, image.max_megapixels]
    if masks is not None:
        settings += [sorted(masks.ids.items()), masks.threshold]
    digest = hashlib.sha256(json.dumps(settings).encode())
    for row in index.rows:
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


def _opened(entry: Path, source: _Source) -> Views | None:
    """The entry, or None if it is missing, incomplete, or not what its name promises."""
    try:
        rows = json.loads((entry / _ROWS).read_text("utf-8"))
        arrays = {name: np.load(entry / name, mmap_mode="r", allow_pickle=False) for name in source.files}
        views = _views(arrays, rows)
    except (OSError, ValueError, TypeError, LookupError, EOFError):
        return None
    whole = all(arrays[name].shape == shape and arrays[name].dtype == np.uint8 for name, shape in source.files.items())
    return views if whole and len(views.sha256) == len(source.index.rows) else None


def _views(arrays: Mapping[str, Pixels], rows: Mapping[str, Any], note: str | None = None) -> Views:
    return Views(
        arrays[_IMAGES],
        arrays[_SKETCHES],
        tuple(rows["sha256"]),
        dict(rows["bad"]),
        note,
        arrays.get(_MASKS),
        tuple(rows["masks_sha256"]),
        dict(rows["unmapped"]),
    )


def _build(entry: Path, source: _Source) -> None:
    """Write a whole entry beside its place, then put it there."""
    making = Path(tempfile.mkdtemp(prefix=f"{entry.name}.making-", dir=entry.parent))
    try:
        with ExitStack() as stack:
            files = {name: stack.enter_context((making / name).open("wb")) for name in source.files}
            for name, shape in source.files.items():
                header = {"descr": np.dtype(np.uint8).str, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(files[name], header)
            # Written, not mapped: on a full disk a write is an error that can be told, a store into a map kills the
            # process.
            rows = _decode_all(source, lambda _place, name, pixels: files[name].write(pixels.tobytes()))
        (making / _ROWS).write_text(json.dumps(rows), "utf-8")
        _clear(entry)
        making.rename(entry)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _in_memory(source: _Source, note: str) -> Views:
    arrays = {name: np.empty(shape, np.uint8) for name, shape in source.files.items()}

    def take(place: int, name: str, pixels: Pixels) -> None:
        arrays[name][place] = pixels

    rows = _decode_all(source, take)
    for array in arrays.values():
        array.flags.writeable = False
    return _views(arrays, rows, note)


def _decode_all(source: _Source, take: Callable[[int, str, Pixels], object]) -> dict[str, Any]:
    """Hand each row's arrays to `take`, zeros for a row that cannot be used, and give what is known of the rows."""
    blank = {name: np.zeros(shape[1:], np.uint8) for name, shape in source.files.items()}
    rows: dict[str, Any] = {"sha256": [], "bad": {}, "masks_sha256": [], "unmapped": {}}
    for place, (row, view) in enumerate(zip(source.index.rows, _decoded(source), strict=True)):
        made = {_IMAGES: view.pixels, _SKETCHES: view.sketch, _MASKS: view.mask}
        for name, zeros in blank.items():
            pixels = None if view.pixels is None else made[name]
            take(place, name, zeros if pixels is None else pixels)
        rows["sha256"].append(view.sha256)
        if source.masks is not None:
            rows["masks_sha256"].append(view.mask_sha256)
        if view.reason:
            rows["bad"][row.path] = view.reason
        if view.unmapped:
            rows["unmapped"][row.path] = view.unmapped
    return rows


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


def _clear(entry: Path) -> None:
    """Take a damaged entry out of the way; whoever has it mapped keeps it until they let go."""
    with suppress(FileNotFoundError):
        aside = Path(tempfile.mkdtemp(prefix=f"{entry.name}.old-", dir=entry.parent))
        try:
            entry.rename(aside / "entry")
        finally:
            shutil.rmtree(aside, ignore_errors=True)
