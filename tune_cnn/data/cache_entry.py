"""One entry of the cache: arrays in `.npy` files and what is known of them in `entry.json`; written, opened, checked.

Each array's file holds a shared `flock` for as long as its map lives: the map keeps the open file, and the file the
lock, also through views and forks. So nothing has to be closed, and nothing is forgotten when a process is killed.
"""

import fcntl
import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO, FileIO
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self

import numpy as np
import numpy.typing as npt

from tune_cnn import progress
from tune_cnn.errors import CacheUnusableError
from tune_cnn.files import sync

Array = npt.NDArray[Any]
ENTRY = "entry.json"
# Raise it when what is written changes its form; what an entry holds is for its key to say.
_FORMAT = 1
_CHUNK = 2**20
# Files whose digest this process has seen to be right: (device, inode, time, size, digest). So the digest of an entry
# is computed once per process, however many trials open it.
_verified: set[tuple[int, ...]] = set()


@dataclass(frozen=True)
class ArraySpec:
    """An array of N rows: `shape` is (N, …)."""

    shape: tuple[int, ...]
    dtype: npt.DTypeLike

    @property
    def size_bytes(self) -> int:
        """What its values take."""
        return prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def header(self) -> bytes:
        """What a `.npy` file of such an array begins with."""
        text = BytesIO()
        fields = {"descr": np.dtype(self.dtype).str, "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(text, fields)
        return text.getvalue()


@dataclass(frozen=True)
class Entry:
    """What was made: read-only arrays by name, and facts as JSON gives them back."""

    arrays: Mapping[str, Array]
    facts: Mapping[str, Any]


class Writer(Protocol):
    """Takes the arrays of an entry, row after row."""

    def append(self, name: str, rows: Array) -> None:
        """Add (B, …) rows to an array.

        Raises:
            ValueError: they are not of the array's spec.
        """
        ...


Build = Callable[[Writer], Mapping[str, Any]]
"""Writes all rows of every array in order, and gives the facts, which JSON can hold."""


@contextmanager
def telling(folder: Path) -> Iterator[None]:
    """Turn what the system says of a cache's folder or its disk into the one error of the cache.

    Raises:
        CacheUnusableError: for every OSError in the block.
    """
    try:
        yield
    except OSError as error:
        raise CacheUnusableError(f"the cache in {folder} cannot be used ({error})") from error


def sealed(content: Mapping[str, Any]) -> str:
    """Give JSON that carries the digest of its content."""
    text = json.dumps(content)
    return json.dumps({"crc32": zlib.crc32(text.encode()), "content": text})


def unsealed(text: str | bytes) -> dict[str, Any]:
    """Give the content of what `sealed` wrote.

    Raises:
        ValueError, TypeError or LookupError: it is damaged.
    """
    outer = json.loads(text)
    if zlib.crc32(outer["content"].encode()) != outer["crc32"]:
        raise ValueError("the digest does not fit")
    return dict(json.loads(outer["content"]))


class FileWriter:
    """Writes an entry into a new folder.

    With `write`, never through a map: on a full disk a write is an error that can be told, a store into a map kills the
    process. The digest is CRC-32 of zlib, taken on the way: it finds every single flipped byte, guards against
    accidents only, and of what the standard library has is the one that is fast with and without special instructions
    (docs/decisions/0011).
    """

    def __init__(self, cache: Path, folder: Path, specs: Mapping[str, ArraySpec]) -> None:
        self._cache = cache
        self._folder = folder
        self._specs = specs
        self._files: dict[str, FileIO] = {}
        self._rows = dict.fromkeys(specs, 0)
        self._digests: dict[str, int] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with telling(self._cache), ExitStack() as opening:
            for name, spec in self._specs.items():
                self._files[name] = opening.enter_context((self._folder / f"{name}.npy").open("xb", buffering=0))
                self._write(name, spec.header)
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._open.close()

    def append(self, name: str, rows: Array) -> None:
        """Add (B, …) rows to an array.

        Raises:
            CacheUnusableError: the disk is full.
            ValueError: they are not of the array's spec.
        """
        _check_rows(name, rows, self._specs[name])
        self._rows[name] += len(rows)
        with telling(self._cache):
            self._write(name, np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data)

    def finish(self, facts: Mapping[str, Any]) -> Entry:
        """Write the facts, bring everything to the disk, and open it.

        Raises:
            CacheUnusableError: the disk is full.
            ValueError: rows are missing, or there are more than the spec says.
        """
        for name, spec in self._specs.items():
            _check_count(name, self._rows[name], spec)
        content = {"format": _FORMAT, "facts": dict(facts), "arrays": {name: self._facts(name) for name in self._specs}}
        with telling(self._cache):
            (self._folder / ENTRY).write_text(sealed(content), "utf-8")
            for name, file in self._files.items():
                os.fsync(file.fileno())
                _verified.add(_identity(file, self._digests[name]))
            sync(self._folder / ENTRY)
            sync(self._folder)
            return _opened(self._folder, self._specs)

    def _write(self, name: str, data: bytes | memoryview) -> None:
        self._digests[name] = zlib.crc32(data, self._digests.get(name, 0))
        rest = memoryview(data)
        while rest:
            rest = rest[self._files[name].write(rest) :]

    def _facts(self, name: str) -> dict[str, Any]:
        spec = self._specs[name]
        size_bytes = len(spec.header) + spec.size_bytes
        dtype = np.dtype(spec.dtype).str
        return {"shape": spec.shape, "dtype": dtype, "size_bytes": size_bytes, "crc32": self._digests[name]}


class _MemoryWriter:
    def __init__(self, specs: Mapping[str, ArraySpec]) -> None:
        self._specs = specs
        self._rows = dict.fromkeys(specs, 0)
        self.arrays = {name: np.empty(spec.shape, spec.dtype) for name, spec in specs.items()}

    def append(self, name: str, rows: Array) -> None:
        _check_rows(name, rows, self._specs[name])
        begin = self._rows[name]
        self._rows[name] += len(rows)
        self.arrays[name][begin : begin + len(rows)] = rows

    def finish(self, facts: Mapping[str, Any]) -> Entry:
        for name, array in self.arrays.items():
            _check_count(name, self._rows[name], self._specs[name])
            array.flags.writeable = False
        return Entry(self.arrays, json.loads(json.dumps(facts)))


def in_memory(specs: Mapping[str, ArraySpec], build: Build) -> Entry:
    """Make in memory what an entry would hold, for where the cache cannot be used.

    Raises:
        ValueError: what is written is not of these specs.
    """
    writer = _MemoryWriter(specs)
    return writer.finish(build(writer))


def open_entry(folder: Path, specs: Mapping[str, ArraySpec]) -> Entry | None:
    """Open an entry and note that it was used now; None if it is missing, damaged, or not of these specs.

    The digests are compared when a process opens the files for the first time, names, shapes and sizes every time.
    """
    try:
        entry = _opened(folder, specs)
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return None
    with suppress(OSError):  # a cache that others have filled can be read without the right to write
        os.utime(folder)
    return entry


def _opened(folder: Path, specs: Mapping[str, ArraySpec]) -> Entry:
    content = unsealed((folder / ENTRY).read_bytes())
    if content["format"] != _FORMAT or set(content["arrays"]) != set(specs):
        raise ValueError("of another version, or with other arrays")
    told = content["arrays"]
    arrays = {name: _mapped(folder / f"{name}.npy", spec, told[name]["crc32"]) for name, spec in specs.items()}
    return Entry(arrays, content["facts"])


def _mapped(path: Path, spec: ArraySpec, digest: int) -> Array:
    header = spec.header
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # an error if it is about to be removed
        size_bytes = os.fstat(file.fileno()).st_size
        if file.read(len(header)) != header or size_bytes != len(header) + spec.size_bytes:
            raise ValueError("of another shape or type, or cut")
        _verify(file, digest)
        return np.memmap(file, spec.dtype, "r", offset=len(header), shape=spec.shape)


def _verify(file: BinaryIO, digest: int) -> None:
    """Read the whole file, unless this process has done so.

    Raises:
        ValueError: it does not hold what was written.
    """
    identity = _identity(file, digest)
    if identity in _verified:
        return
    found, chunk = 0, bytearray(_CHUNK)
    file.seek(0)
    while count := file.readinto(chunk):  # type: ignore[attr-defined] # typeshed's BinaryIO lacks it
        progress.sign()
        found = zlib.crc32(memoryview(chunk)[:count], found)
    if found != digest:
        raise ValueError("the digest does not fit")
    _verified.add(identity)


def _identity(file: BinaryIO | FileIO, digest: int) -> tuple[int, ...]:
    status = os.fstat(file.fileno())
    return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, digest)


def _check_rows(name: str, rows: Array, spec: ArraySpec) -> None:
    progress.sign()
    if rows.shape[1:] != spec.shape[1:] or rows.dtype != np.dtype(spec.dtype):
        raise ValueError(
            f"{name}: rows of {rows.shape[1:]} {rows.dtype}, not of {spec.shape[1:]} {np.dtype(spec.dtype)}"
        )


def _check_count(name: str, count: int, spec: ArraySpec) -> None:
    if count != spec.shape[0]:
        raise ValueError(f"{name}: {count} rows were written, not {spec.shape[0]}")
