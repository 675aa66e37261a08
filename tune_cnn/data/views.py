"""All images of an index, decoded and fitted, as one memory map that every process of a node shares.

An entry of the cache is a folder named by a digest of everything its content depends on. It is built once, under a
lock, in a temporary folder, and appears by a rename; after that it is only read. It can be deleted at any time.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from filelock import FileLock
from PIL import __version__ as pillow_version

from tune_cnn.data.decode import Pixels, UndecodableError, decode_image, fit_image
from tune_cnn.data.paint import paint_out
from tune_cnn.data.sketch import SKETCH_BYTES, SKETCHED_BY, Sketches, sketch_of
from tune_cnn.data.table import ImageIndex, Paint
from tune_cnn.machine import usable_cpus
from tune_cnn.sections.image import ImageConfig

# Part of an entry's name: raise it when the same files would give other pixels, or the entry's files change.
FORMAT_VERSION = 2
_IMAGES = "images.npy"
_SKETCHES = "sketches.npy"
_ROWS = "rows.json"
_BATCH = 256


@dataclass(frozen=True)
class Views:
    """What the rows of an index look like.

    `images` is (N, px, px, 3) and `sketches` (N, SKETCH_BYTES) in the order of the index's rows, read-only; the rows of
    a bad image are zero. `sha256` is the digest of each file's content ('' if it cannot be read), or of that and what
    is painted in it. `bad` gives the reason for each unusable path, and `note` says so if the images are held in memory
    because the cache cannot be used.
    """

    images: Pixels
    sketches: Sketches
    sha256: tuple[str, ...]
    bad: dict[str, str]
    note: str | None = None


@dataclass(frozen=True)
class _View:
    """One image: its pixels and its sketch, or why there are none."""

    pixels: Pixels | None
    sketch: Sketches
    sha256: str
    reason: str = ""


def open_views(index: ImageIndex, image: ImageConfig, cache_dir: Path) -> Views:
    """Open the cached images of `index`, making them first if this is the first time.

    Safe under concurrent callers: one builds, the others wait. A damaged entry is built anew. Where the cache folder
    cannot be written, or the disk is full, the images are held in memory instead, and `note` says why.
    """
    entry = cache_dir / "views" / _key(index, image)
    shape = (len(index.rows), image.px, image.px, 3)
    views = _opened(entry, index, shape)
    if views is not None:
        return views
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{entry}.lock"):
            views = _opened(entry, index, shape)  # another process may have built it meanwhile
            if views is None:
                _build(entry, index, image, shape)
                views = _opened(entry, index, shape)
        if views is not None:
            return views
        reason = "what was written could not be read back"
    except OSError as error:
        reason = str(error)
    return _in_memory(index, image, shape, f"the cache in {cache_dir} cannot be used ({reason}); images are in memory")


def _key(index: ImageIndex, image: ImageConfig) -> str:
    """Everything the pixels depend on, without opening a file: names, sizes and times stand for contents."""
    digest = hashlib.sha256()
    made_by = [FORMAT_VERSION, pillow_version, SKETCHED_BY]
    settings = [*made_by, str(index.root), image.px, image.fit, image.max_megapixels]
    digest.update(json.dumps(settings).encode())
    for row in index.rows:
        try:
            status = (index.root / row.file).stat()
            identity: list[Any] = [row.path, status.st_size, status.st_mtime_ns]
        except OSError:
            identity = [row.path, None, None]
        if row.paint is not None:
            identity.append(vars(row.paint))
        digest.update(json.dumps(identity).encode() + b"\n")
    return digest.hexdigest()[:32]


def _opened(entry: Path, index: ImageIndex, shape: tuple[int, ...]) -> Views | None:
    """The entry, or None if it is missing, incomplete, or not what its name promises."""
    try:
        rows = json.loads((entry / _ROWS).read_text("utf-8"))
        images = np.load(entry / _IMAGES, mmap_mode="r", allow_pickle=False)
        sketches = np.load(entry / _SKETCHES, mmap_mode="r", allow_pickle=False)
        sha256, bad = tuple(rows["sha256"]), dict(rows["bad"])
    except (OSError, ValueError, TypeError, LookupError, EOFError):
        return None
    whole = images.shape == shape and images.dtype == np.uint8 and len(sha256) == len(index.rows)
    sketched = sketches.shape == (len(index.rows), SKETCH_BYTES) and sketches.dtype == np.uint8
    return Views(images, sketches, sha256, bad) if whole and sketched else None


def _build(entry: Path, index: ImageIndex, image: ImageConfig, shape: tuple[int, ...]) -> None:
    """Write a whole entry beside its place, then put it there."""
    making = Path(tempfile.mkdtemp(prefix=f"{entry.name}.making-", dir=entry.parent))
    try:
        with (making / _IMAGES).open("wb") as file:
            header = {"descr": np.dtype(np.uint8).str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            rows, sketches = _write_rows(file, index, image)
        np.save(making / _SKETCHES, sketches, allow_pickle=False)
        (making / _ROWS).write_text(json.dumps(rows), "utf-8")
        _clear(entry)
        making.rename(entry)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _write_rows(file: IO[bytes], index: ImageIndex, image: ImageConfig) -> tuple[dict[str, Any], Sketches]:
    # Written, not mapped: on a full disk a write is an error that can be told, a store into a map kills the process.
    blank = np.zeros((image.px, image.px, 3), np.uint8)
    sketches = np.zeros((len(index.rows), SKETCH_BYTES), np.uint8)
    sha256: list[str] = []
    bad: dict[str, str] = {}
    for place, (row, view) in enumerate(zip(index.rows, _decoded(index, image), strict=True)):
        file.write((blank if view.pixels is None else view.pixels).tobytes())
        sketches[place] = view.sketch
        sha256.append(view.sha256)
        if view.pixels is None:
            bad[row.path] = view.reason
    return {"sha256": sha256, "bad": bad}, sketches


def _in_memory(index: ImageIndex, image: ImageConfig, shape: tuple[int, ...], note: str) -> Views:
    images = np.zeros(shape, np.uint8)
    sketches = np.zeros((len(index.rows), SKETCH_BYTES), np.uint8)
    sha256: list[str] = []
    bad: dict[str, str] = {}
    for place, (row, view) in enumerate(zip(index.rows, _decoded(index, image), strict=True)):
        sketches[place] = view.sketch
        sha256.append(view.sha256)
        if view.pixels is None:
            bad[row.path] = view.reason
        else:
            images[place] = view.pixels
    images.flags.writeable = False
    return Views(images, sketches, tuple(sha256), bad, note)


def _decoded(index: ImageIndex, image: ImageConfig) -> Iterator[_View]:
    """Decode in the order of the rows. In batches, so that no more than one of them waits in memory to be written."""
    rows = iter(index.rows)
    threads = min(8, usable_cpus())
    with ThreadPoolExecutor(threads) as pool:  # Pillow lets go of the interpreter while it decodes and resizes
        while batch := list(islice(rows, _BATCH)):
            yield from pool.map(lambda row: _decode(index.root / row.file, row.paint, image), batch)


def _decode(path: Path, paint: Paint | None, image: ImageConfig) -> _View:
    no_sketch = np.zeros(SKETCH_BYTES, np.uint8)
    try:
        data = path.read_bytes()
    except OSError as error:
        return _View(None, no_sketch, "", f"cannot be read ({error.strerror})")
    sha256 = hashlib.sha256(data).hexdigest()
    if paint is not None:
        sha256 = hashlib.sha256(f"{sha256}\n{json.dumps(vars(paint))}".encode()).hexdigest()
    try:
        pixels = decode_image(data, max_megapixels=image.max_megapixels)
        pixels = pixels if paint is None else paint_out(pixels, paint)
    except UndecodableError as error:
        return _View(None, no_sketch, sha256, str(error))
    return _View(fit_image(pixels, image.px, image.fit), sketch_of(pixels), sha256)


def _clear(entry: Path) -> None:
    """Take a damaged entry out of the way; whoever has it mapped keeps it until they let go."""
    with suppress(FileNotFoundError):
        aside = Path(tempfile.mkdtemp(prefix=f"{entry.name}.old-", dir=entry.parent))
        try:
            entry.rename(aside / "entry")
        finally:
            shutil.rmtree(aside, ignore_errors=True)
