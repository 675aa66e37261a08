"""Entries of the cache that hold files as they are, in folders of their own, beside those that hold arrays.

FOLDER/KIND/KEY/entry.json        how many files, what they take; locked (shared) by who uses them
FOLDER/KIND/KEY/files/…           the files
"""

import atexit
import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from tune_cnn.data.cache_entry import ENTRY, sealed, unsealed
from tune_cnn.files import sync, write_whole

FILES = "files"
_held: dict[Path, BinaryIO] = {}
"""What this process uses, for as long as it lives: nobody knows when it reads the next image."""


@atexit.register
def _release() -> None:
    """Close what is held, now that nobody reads any more."""
    while _held:
        _held.popitem()[1].close()


def open_files(place: Path) -> Path | None:
    """Give an entry's folder of files, and keep it from being removed; None if it is missing or damaged."""
    entry = place / ENTRY
    try:
        _hold(entry)
        facts = unsealed(entry.read_bytes())
        found = [file.stat().st_size for file in _files(place / FILES)]
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return None
    if (len(found), sum(found)) != (facts["files"], facts["size_bytes"]):
        _held.pop(entry).close()
        return None
    with suppress(OSError):
        os.utime(place)
    return place / FILES


def seal_files(place: Path) -> None:
    """Write down what an entry holds, now that all its files are there.

    Raises:
        OSError: the disk is full.
    """
    found = list(_files(place / FILES))
    for file in found:
        sync(file)
    size_bytes = sum(file.stat().st_size for file in found)
    write_whole(place / ENTRY, sealed({"files": len(found), "size_bytes": size_bytes}))


def told_bytes(place: Path) -> int:
    """Give what an entry's files take; 0 if it does not tell."""
    try:
        return int(unsealed((place / ENTRY).read_bytes())["size_bytes"])
    except (ValueError, TypeError, LookupError, AttributeError):
        return 0


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _hold(entry: Path) -> None:
    held = _held.get(entry)
    if held is not None and os.fstat(held.fileno()).st_ino == entry.stat().st_ino:
        return
    file = entry.open("rb")
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # an error if it is about to be removed
    except OSError:
        file.close()
        raise
    if held is not None:
        held.close()
    _held[entry] = file
