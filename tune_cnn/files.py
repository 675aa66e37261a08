"""Files and folders: read with care; written whole or not at all, and surviving a power cut once they are there."""

import errno
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MOST_JSON_BYTES = 64 * 1024**2
"""Of a JSON file: thousands of epochs and classes fit in."""


def read_file(path: Path, *, most_bytes: int) -> bytes:
    """Read a file that a stranger may have put there: a pipe would be waited for, and `/dev/zero` has no end.

    Raises:
        OSError: there is none, it is no file, it cannot be read, or it holds more than `most_bytes`.
    """
    with open(path, "rb", opener=_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "is a pipe or a device, not a file", str(path))
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise OSError(errno.EFBIG, f"holds more than {most_bytes} bytes", str(path))
    return data


def read_json(path: Path) -> Any:
    """Read a JSON file that a stranger may have put there.

    Raises:
        OSError: as `read_file`.
        ValueError: it is no JSON, or nested too deep.
    """
    return parse_json(read_file(path, most_bytes=MOST_JSON_BYTES))


def parse_json(text: bytes) -> Any:
    """Give what a JSON text holds that a stranger may have written.

    Raises:
        ValueError: it is no JSON, or nested too deep.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def write_whole(path: Path, data: bytes | str, *, durable: bool = True) -> None:
    """Write a file under a temporary name in the same folder, sync it, and rename it into place.

    Text is written as UTF-8. A reader sees the old content or the new one, never a part.

    Args:
        path: of the file.
        data: its content.
        durable: whether to wait until the disk has it. If not, it survives the death of this process all the same, but
            a power cut may leave anything in its place: for files that name their digest, or are soon synced.

    Raises:
        OSError: the disk is full or the folder cannot be written; the old file still stands.
    """
    with replaced(path, durable=durable) as part:
        part.write_bytes(data.encode() if isinstance(data, str) else data)


@contextmanager
def replaced(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Give a temporary path to write to; it takes the place of `path` if the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        part.chmod(0o644)  # mkstemp makes private files; results are meant to be read by the group
        if durable:
            sync(part)
        part.replace(path)
        if durable:
            sync(path.parent)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder to fill; it becomes `path` if the block ends without an error.

    Raises:
        OSError: `path` exists and is not an empty folder, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    try:
        yield part
        part.chmod(0o755)
        sync_all(part)
        part.rename(path)
        sync(path.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Delete what a kill left half-written in a folder: nobody may be writing there now. No folder, nothing to do."""
    for part in folder.glob(".*.part*"):  # SQLite puts a journal beside its file
        if part.is_dir() and not part.is_symlink():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


def point_to(link: Path, target: Path) -> None:
    """Let the symbolic link `link` name `target` from one moment to the next, by a relative path."""
    relative = os.path.relpath(target, link.parent)
    if link.is_symlink() and str(link.readlink()) == relative:
        return
    part = link.with_name(f".{link.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    part.symlink_to(relative)
    part.replace(link)
    sync(link.parent)


def sync_all(folder: Path) -> None:
    """Ask the system to bring a folder and all that is in it to the disk."""
    for path in (*folder.rglob("*"), folder):
        sync(path)


def sync(path: Path) -> None:
    """Ask the system to bring a file or a folder's entries to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
