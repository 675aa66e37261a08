"""Images from a storage: fetched once by each machine, whole and checked, into its cache, for all its trials.

An entry of the cache of the kind `fetched`, named by the address and by what the storage lists below it: names, sizes
and digests of all objects. While a search runs, a machine that has what it needs asks the storage once in a while only,
and goes on without it if it does not answer.
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from tune_cnn import progress
from tune_cnn.data.cache import Cache
from tune_cnn.data.cache_entry import sealed, unsealed
from tune_cnn.errors import CacheUnusableError, DataError, StorageError, StoreError
from tune_cnn.files import write_whole
from tune_cnn.sections.data import Data
from tune_cnn.storage.names import check_names
from tune_cnn.storage.remote import Remote, RemoteFile, side_by_side
from tune_cnn.urls import is_url

log = logging.getLogger(__name__)

KIND = "fetched"
_TRUSTED_SECONDS = 60.0
"""For so long a trial takes another one's word for what the storage lists."""
_WAITS_SECONDS = (1, 2, 4, 8, 16, 30, 60, 60, 60, 60)
"""Between the attempts of a trial to reach a lost storage."""
_LISTING_SECONDS = 1800.0
"""Millions of objects come a thousand at a time."""


@contextmanager
def located(data: Data, cache: Cache, *, patient: bool = False) -> Iterator[Data]:
    """Give a data section whose root is a folder of this machine; what goes wrong within names the storage.

    Args:
        data: a section whose root may be an address.
        cache: where images of a storage are kept.
        patient: whether a search is under way; see `local_copy`.

    Raises:
        DataError: as `local_copy`; and whatever the block raises, told of the address.
    """
    if not is_url(data.root):
        yield data
        return
    folder = str(local_copy(data.root, cache, patient=patient))
    try:
        yield data.model_copy(update={"root": folder})
    except DataError as error:
        raise error.naming(data.root, instead_of=folder) from error


def local_copy(url: str, cache: Cache, *, patient: bool = False) -> Path:
    """Give a folder of this machine with all that lies below an address, fetching it first if it is not there.

    Args:
        url: of the images.
        cache: where they are kept. Of several processes that ask at once, one fetches and the others wait.
        patient: whether a search is under way. Then a storage that does not answer is asked again for some minutes, or
            not at all if what was there a while ago is still here.

    Raises:
        StorageError: the storage is missing, forbidden or out of reach, or a name in it would leave the folder.
        DataError: nothing lies there, it changed while it was fetched, or the cache cannot hold it.
        StoreError: in a search, the storage stayed out of reach.
    """
    remote = Remote(url)
    if patient and (known := _known(remote, cache, newer_than=time.time() - _TRUSTED_SECONDS)):
        return known
    if patient:
        try:
            files = _listed(remote)
        except StorageError as error:
            if known := _known(remote, cache, newer_than=0.0):
                log.warning("%s; going on with what this machine fetched before", error)
                return known
            files = _insisting(partial(_listed, remote))
    else:
        remote.answers()
        files = remote.files()
    return _fetched(remote, files, cache)


def listing_digest(url: str, files: Sequence[RemoteFile]) -> str:
    """Digest an address and what lies below it: names, sizes, and what changes with the contents."""
    lines = [json.dumps([file.name, file.size_bytes, file.tag]) for file in files]
    return hashlib.sha256("\n".join((url, *lines)).encode()).hexdigest()[:32]


def _fetched(remote: Remote, files: Sequence[RemoteFile], cache: Cache) -> Path:
    check_names(remote.url, (file.name for file in files))
    if not files:
        raise DataError(f"{remote.url}: nothing lies there; copy the images to it, or write --data with their address")
    key = listing_digest(remote.url, files)
    try:
        folder = cache.files(KIND, key, sum(file.size_bytes for file in files), partial(_fill, remote, files))
    except CacheUnusableError as error:
        raise DataError(f"{remote.url}: cannot be fetched: {error}") from error
    with suppress(OSError):
        write_whole(_note(remote, cache), sealed({"key": key, "seconds": time.time()}), durable=False)
    return folder


def _listed(remote: Remote) -> list[RemoteFile]:
    """List what lies there, which gives no sign of life."""
    with progress.unmeasured(_LISTING_SECONDS):
        return remote.files()


def _fill(remote: Remote, files: Sequence[RemoteFile], folder: Path) -> None:
    """Fetch everything, many objects at a time, and make sure that it is one state of the storage."""
    for parent in {(folder / file.name).parent for file in files}:
        parent.mkdir(parents=True, exist_ok=True)
    side_by_side(partial(_get, remote, folder), files)
    if listing_digest(remote.url, _listed(remote)) != listing_digest(remote.url, files):
        raise DataError(
            f"{remote.url}: changed while it was fetched; wait until nobody writes there, then run it again"
        )


def _get(remote: Remote, folder: Path, file: RemoteFile) -> None:
    """Fetch an object and hold it against its size and its digest."""
    place = folder / file.name
    found = ""
    for _attempt in range(3):
        remote.get(file.name, place)
        before, found = found, _md5(place)
        # A digest that stays another one is no digest of the content: so it is with keys of one's own.
        if place.stat().st_size == file.size_bytes and (file.md5 in {None, found} or found == before):
            os.utime(place, (file.changed_seconds, file.changed_seconds))  # what is fetched again looks the same
            progress.sign()  # all of it may take hours, and a trial that waits for it does not hang
            return
    raise StorageError(f"{remote.url}/{file.name}: arrived damaged, three times; see to the network, then run it again")


def _md5(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, partial(hashlib.md5, usedforsecurity=False)).hexdigest()


def _note(remote: Remote, cache: Cache) -> Path:
    return cache.folder / KIND / f"{hashlib.sha256(remote.url.encode()).hexdigest()[:32]}.json"


def _known(remote: Remote, cache: Cache, *, newer_than: float) -> Path | None:
    """Give what this machine fetched from there last, if it looked there since a time in seconds since 1970."""
    try:
        note = unsealed(_note(remote, cache).read_bytes())
        return cache.find_files(KIND, str(note["key"])) if note["seconds"] >= newer_than else None
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return None


def _insisting(ask: Callable[[], list[RemoteFile]]) -> list[RemoteFile]:
    """Ask a storage again and again, for some minutes.

    Raises:
        StoreError: it stayed out of reach.
    """
    for seconds in _WAITS_SECONDS:
        try:
            return ask()
        except StorageError as error:
            log.warning("%s; asking again in %d s", error, seconds)
            time.sleep(seconds)
            progress.sign()
    try:
        return ask()
    except StorageError as error:
        raise StoreError(f"the images are out of reach: {error}") from error
