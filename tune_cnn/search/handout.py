"""Files of weights for machines that do not see the driver's disk: written there once, under their name on that disk.

So the config of a trial names one path wherever it runs. Where a machine has a file of that name, it must be the same.
"""

import hashlib
import os
import platform
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

from tune_cnn import progress
from tune_cnn.errors import WeightsError
from tune_cnn.files import replaced

_PIECE_BYTES = 16 * 2**20
"""What is read, or comes from the driver, between two signs of life."""
# Files that this process has seen to be right: (device, inode, time, size, digest).
_verified: set[tuple[int | str, ...]] = set()


def pieces_of(file: Path) -> Iterator[bytes]:
    """Give a file's content piece by piece; none of an empty one.

    Raises:
        OSError: it cannot be read.
    """
    with file.open("rb") as stream:
        while piece := stream.read(_PIECE_BYTES):
            yield piece


def put_in_place(file: Path, sha256: str, fetch: Callable[[], Iterable[bytes]]) -> None:
    """Make sure that this machine has a file of weights; of several processes that lack it, one writes it.

    It may be large and the way slow, so that each piece is a sign of life of the trial that waits for it.

    Args:
        file: its absolute path on the driver's machine.
        sha256: the digest that it has there.
        fetch: gets its content from there, piece by piece.

    Raises:
        WeightsError: the file that is here is another one, or it cannot be written here.
    """
    try:
        if _is_sound(file, sha256):
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        with _locked(file):
            if not _is_sound(file, sha256):
                _write(file, fetch())
    except OSError as error:
        raise WeightsError(
            f"{file}: cannot be written on {platform.node()} ({error.strerror}), which lacks it; put the weights on a "
            "disk that all machines see, or write --weights with a folder that can be made there"
        ) from error


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with ExitStack() as stack:
        with progress.unmeasured():  # who holds it may take long, and is watched itself
            stack.enter_context(FileLock(f"{file}.lock"))
        yield


def _write(file: Path, pieces: Iterable[bytes]) -> None:
    with replaced(file) as part, part.open("wb") as stream:
        for piece in pieces:
            stream.write(piece)
            progress.sign()


def _is_sound(file: Path, sha256: str) -> bool:
    """Whether the file is here.

    Raises:
        WeightsError: it is another one.
        OSError: it cannot be read, or not be made.
    """
    try:
        with file.open("rb") as stream:
            status = os.fstat(stream.fileno())
            identity = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, sha256)
            if identity in _verified:
                return True
            found = _digest(stream)
    except FileNotFoundError:
        return False
    if found != sha256:
        raise WeightsError(
            f"{file}: other weights on {platform.node()} (sha256 {found[:12]}) than where the search was started "
            f"({sha256[:12]}); delete them there, or bring all machines to the same"
        )
    _verified.add(identity)
    return True


def _digest(stream: BinaryIO) -> str:
    found = hashlib.sha256()
    while piece := stream.read(_PIECE_BYTES):
        found.update(piece)
        progress.sign()
    return found.hexdigest()
