"""A folder in a storage: list, read, write, delete. The only importer of fsspec and of what it speaks to storages with.

An object appears whole or not at all: that is what storages promise of a single write.
"""

import base64
import binascii
import errno
import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from tune_cnn.errors import StorageError
from tune_cnn.masking import masked
from tune_cnn.urls import url_fault

_PACKAGES = {"s3": ("s3fs", "cloud"), "gs": ("gcsfs", "gs")}
_SECONDS_TO_ANSWER = 12.0
"""Of the first question to a storage: what is wrong with it is said before anything is begun."""
_OPTIONS: Mapping[str, dict[str, Any]] = {
    # No cache of listings: other machines write as well. Few retries: who asks decides whether to ask again.
    "s3": {
        "use_listings_cache": False,
        "config_kwargs": {
            "connect_timeout": 4,
            "read_timeout": 30,
            "max_pool_connections": 32,
            "retries": {"mode": "standard", "max_attempts": 2},
        },
    },
    "gs": {"use_listings_cache": False},
    "memory": {},
}
_SETTINGS = {"s3": "AWS_ENDPOINT_URL", "gs": "STORAGE_EMULATOR_HOST"}
_CREDENTIALS = {
    "s3": "AWS_PROFILE, AWS_ACCESS_KEY_ID, a role",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, gcloud auth application-default login, a service account",
}
_AT_ONCE = 16
_MD5 = re.compile(r"[0-9a-f]{32}")
Item = TypeVar("Item")
_OWN_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR}


@dataclass(frozen=True)
class RemoteFile:
    """An object, as its storage lists it."""

    name: str
    """Below the folder that was listed, with forward slashes."""
    size_bytes: int
    tag: str
    """Changes whenever the content does: the ETag, a digest, or the time of the last change."""
    md5: str | None
    """Of the content, if the storage tells; for objects encrypted with keys of one's own it may be that of others."""
    changed_seconds: float
    """Since 1970; 0 if the storage does not tell."""


class Remote:
    """A folder in a storage. What it raises names the address and says what to do."""

    def __init__(self, url: str) -> None:
        """Name a folder; asks nothing yet.

        Raises:
            StorageError: the address cannot be used, or the package that speaks to such a storage is missing.
        """
        if fault := url_fault(url):
            raise StorageError(f"{masked(url)}: {fault}")
        self.url = url.rstrip("/")
        self._scheme = self.url.partition("://")[0]
        self._files = _filesystem(self._scheme)
        self._root = str(self._files._strip_protocol(self.url))

    def answers(self) -> None:
        """Make sure, within some seconds, that the folder can be listed; it may be empty.

        Raises:
            StorageError: it cannot.
        """
        asking = _Asking(self._list_one)
        asking.start()
        asking.join(_SECONDS_TO_ANSWER)
        if asking.is_alive():
            raise StorageError(f"{self.url}: no answer for {_SECONDS_TO_ANSWER:.0f} seconds; {self._way_out}")
        if asking.error is not None:
            raise asking.error

    def files(self, under: str = "") -> list[RemoteFile]:
        """List everything below the folder, or below one in it, by name; empty if there is nothing.

        Raises:
            StorageError: it cannot be listed.
        """
        with self._told("listed"):
            folder = self._path(under) if under else self._root
            found = self._files.find(folder, detail=True) if self._first(f"{folder}/") else {}
        start = len(self._root) + 1
        listed = [_file(str(path)[start:], facts) for path, facts in found.items() if not str(path).endswith("/")]
        return sorted(listed, key=lambda file: file.name)

    def get(self, name: str, to: Path) -> None:
        """Copy an object into a file of this machine.

        Raises:
            StorageError: it is gone, or cannot be read.
            OSError: the disk is full or cannot be written.
        """
        with self._told("read", name):
            self._files.get_file(self._path(name), str(to))

    def read(self, name: str) -> bytes | None:
        """Give a small object's content; None if there is no such object.

        Raises:
            StorageError: it cannot be read.
        """
        with self._told("read", name):
            there = self._first(self._path(name)) == self._path(name)
            return bytes(self._files.cat_file(self._path(name))) if there else None

    def put(self, name: str, file: Path) -> None:
        """Write an object from a file.

        Raises:
            StorageError: it cannot be written.
            FileNotFoundError: there is no such file.
        """
        file.stat()
        with self._told("written", name):
            self._files.put_file(str(file), self._path(name))

    def write(self, name: str, data: bytes) -> None:
        """Write an object.

        Raises:
            StorageError: it cannot be written.
        """
        with self._told("written", name):
            self._files.pipe_file(self._path(name), data)

    def create(self, name: str, data: bytes) -> bool:
        """Write an object where there is none; False if there is another.

        Of several that do so at once one is told True, if the storage honours the condition; where it does not, several
        may be, and the last one's content stays.

        Raises:
            StorageError: it cannot be written or read.
        """
        try:
            with self._told("written", name):
                self._files.pipe_file(self._path(name), data, mode="create")
        except StorageError as error:
            if getattr(error.__cause__, "errno", None) == errno.ENOSYS:  # it says that it knows no such condition
                self.write(name, data)
            elif not self._is_there(name):
                raise
        return self.read(name) == data

    def delete(self, name: str) -> None:
        """Delete an object; one that is gone already is fine.

        Raises:
            StorageError: it cannot be deleted.
        """
        try:
            with self._told("deleted", name):
                self._files.rm_file(self._path(name))
        except StorageError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise

    def below(self, name: str) -> "Remote":
        """Give a folder in this one."""
        return Remote(f"{self.url}/{name}")

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _is_there(self, name: str) -> bool:
        """Whether there is an object; no where that cannot be found out."""
        try:
            return self.read(name) is not None
        except StorageError:
            return False

    def _list_one(self) -> None:
        with self._told("reached"):
            self._first(f"{self._root}/")

    def _first(self, start: str) -> str | None:
        """Give the first object whose path begins so; None if there is none.

        For S3 by a listing: who may use one prefix of a bucket alone is told "forbidden" of an object that is not
        there, by whatever else asks for it.
        """
        if not self.url.startswith("s3://"):
            folder = start.rstrip("/")
            return folder if self._files.exists(folder) else None
        bucket, _, key = start.partition("/")
        found = self._files.call_s3("list_objects_v2", Bucket=bucket, Prefix=key, MaxKeys=1)
        return next((f"{bucket}/{each['Key']}" for each in found.get("Contents", ())), None)

    @property
    def _way_out(self) -> str:
        settings = f" ({_SETTINGS[self._scheme]})" if self._scheme in _SETTINGS else ""
        return f"see to the address, the network and the storage's own settings{settings}, then run it again"

    def _why(self, error: Exception) -> str:
        """Say in a line what a storage's package means, and what to do about it."""
        text = masked(" ".join(str(error).split())) or type(error).__name__
        if isinstance(error, PermissionError) or _is_refusal(error):
            where = _CREDENTIALS.get(self._scheme, "")
            return f"no right to ({text}); see to the credentials ({where}) and the bucket's policy"
        if isinstance(error, FileNotFoundError):
            return f"there is no such bucket or object ({text}); see to the name"
        return f"{text}; {self._way_out}"

    @contextmanager
    def _told(self, done: str, name: str = "") -> Iterator[None]:
        """Turn whatever a storage's package raises into the one error of storages.

        Raises:
            StorageError: for all of it.
            OSError: where it is the disk of this machine that failed.
        """
        where = f"{self.url}/{name}" if name else self.url
        try:
            yield
        except _errors(self._scheme) as error:
            if isinstance(error, OSError) and error.errno in _OWN_DISK:
                raise
            raise StorageError(f"{where}: cannot be {done}: {self._why(error)}") from error


class _Asking(threading.Thread):
    """A question to a storage that may never answer: it holds nobody, nor the end of the process."""

    def __init__(self, ask: Callable[[], None]) -> None:
        super().__init__(name="storage, the first question", daemon=True)
        self._ask = ask
        self.error: StorageError | OSError | None = None

    def run(self) -> None:
        """Ask."""
        try:
            self._ask()
        except (StorageError, OSError) as error:
            self.error = error


def may_pass(error: StorageError) -> bool:
    """Whether a storage may well answer when it is asked again: nobody said no, and nothing is missing."""
    cause = error.__cause__
    is_final = isinstance(cause, ImportError | PermissionError | FileNotFoundError)
    return not (is_final or (isinstance(cause, Exception) and _is_refusal(cause)))


def side_by_side(do: Callable[[Item], object], items: Iterable[Item]) -> None:
    """Do something with many objects at a time; the first error ends it, and goes on up."""
    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        for _ in pool.map(do, items):
            pass
    finally:
        pool.shutdown(cancel_futures=True)


@cache
def _filesystem(scheme: str) -> Any:
    """Give what speaks to storages of a kind.

    Raises:
        StorageError: its package is not installed.
    """
    import fsspec  # only those who use a storage wait for it

    try:
        found = fsspec.filesystem(scheme, **_OPTIONS[scheme])
    except ImportError as error:
        package, extra = _PACKAGES[scheme]
        raise StorageError(
            f"{scheme}://: needs the package {package}, which is not installed; run pip install 'tune-cnn[{extra}]'"
        ) from error
    if scheme == "s3":
        found.retries = 1
    for name in ("gcsfs", "google.auth"):  # they log, with tracebacks, what they raise as well
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return found


@cache
def _errors(scheme: str) -> tuple[type[Exception], ...]:
    """Give what the packages that speak to storages of a kind are known to raise."""
    if scheme == "s3":
        from aiohttp import ClientError as HttpError
        from botocore.exceptions import BotoCoreError, ClientError

        return (OSError, BotoCoreError, ClientError, HttpError, TimeoutError, ValueError)
    if scheme == "gs":
        from aiohttp import ClientError as HttpError
        from gcsfs.retry import HttpError as GoogleError
        from google.auth.exceptions import GoogleAuthError

        return (OSError, GoogleAuthError, GoogleError, HttpError, TimeoutError, ValueError)
    return (OSError, ValueError)


def _is_refusal(error: Exception) -> bool:
    """Whether a storage's package means that it has no credentials, or such as are not taken."""
    told = getattr(error, "code", None) in {401, 403} or str(error).startswith("Forbidden")  # as gcsfs does
    return told or "Credentials" in type(error).__name__


def _file(name: str, facts: Mapping[str, Any]) -> RemoteFile:
    told = str(facts.get("ETag") or "").strip('"')
    md5 = told if _MD5.fullmatch(told) else _hex(facts.get("md5Hash"))
    changed = facts.get("LastModified") or facts.get("updated") or facts.get("mtime") or facts.get("created")
    tag = told or md5 or facts.get("crc32c") or facts.get("etag") or changed
    return RemoteFile(name, int(facts["size"] or 0), str(tag), md5, _seconds(changed))


def _seconds(changed: object) -> float:
    if isinstance(changed, str):
        changed = datetime.fromisoformat(changed)
    return changed.timestamp() if isinstance(changed, datetime) else 0.0


def _hex(digest: object) -> str | None:
    """Give a digest that is written in base64 as hexadecimal digits; None if there is none."""
    try:
        return base64.b64decode(str(digest), validate=True).hex() if digest else None
    except binascii.Error:
        return None
