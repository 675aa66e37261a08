"""Files of weights for machines that do not see the driver's disk: written there once, under their name on that disk.

So the config of a trial names one path wherever it runs. Where a machine has a file of that name, it must be the same.
"""

import hashlib
import os
import platform
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from tune_cnn.errors import WeightsError
from tune_cnn.files import write_whole

# Files that this process has seen to be right: (device, inode, time, size, digest).
_verified: set[tuple[int | str, ...]] = set()


def put_in_place(file: Path, sha256: str, fetch: Callable[[], bytes]) -> None:
    """Make sure that this machine has a file of weights; of several processes that lack it, one writes it.

    Args:
        file: its absolute path on the driver's machine.
        sha256: the digest that it has there.
        fetch: gets its content from there.

    Raises:
        WeightsError: the file that is here is another one, or it cannot be written here.
    """
    try:
        if _is_sound(file, sha256):
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{file}.lock"):
            if not _is_sound(file, sha256):
                write_whole(file, fetch())
    except OSError as error:
        raise WeightsError(
            f"{file}: cannot be written on {platform.node()} ({error.strerror}), which lacks it; put the weights on a "
            "disk that all machines see, or write --weights with a folder that can be made there"
        ) from error


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
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        return False
    if found != sha256:
        raise WeightsError(
            f"{file}: other weights on {platform.node()} (sha256 {found[:12]}) than where the search was started "
            f"({sha256[:12]}); delete them there, or bring all machines to the same"
        )
    _verified.add(identity)
    return True
