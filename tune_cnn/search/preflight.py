"""Before trials run on a machine of a cluster: what it has, held against what the driver's machine has.

Knows no Ray: `look` runs on each machine that is there at the start, `faults` where the driver is; on a machine that
joins later, its workers hold it against the driver's themselves.
"""

import hashlib
import os
import platform
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from uuid import uuid4

from tune_cnn.data.fetch import KIND, listing_digest
from tune_cnn.errors import StorageError
from tune_cnn.planning.room import free_gb
from tune_cnn.results.failures import Failure
from tune_cnn.results.records import RunFolder
from tune_cnn.storage.remote import Remote, may_pass
from tune_cnn.urls import is_url

PACKAGES = ("tune-cnn", "torch", "timm", "ray", "albumentations", "numpy")
_LEAST_FREE_GB = 1.0
_WAITS_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 60.0, 60.0)
"""Between the looks at images whose storage does not answer."""


@dataclass(frozen=True)
class Asked:
    """What every machine is asked about."""

    data_root: str
    cache: str
    token: str | None
    """A file in the run folder that the driver has written for the time of the search; None for a run in a storage."""

    def as_json(self) -> dict[str, Any]:
        """Give plain data: another version of this class may read it."""
        return asdict(self)


@dataclass(frozen=True)
class Seen:
    """What a machine says of itself."""

    versions: Mapping[str, str]
    data: str
    """A digest of the names and sizes of what lies below data.root; empty if it cannot be looked at."""
    data_fault: str
    data_gb: float
    free_gb: float
    """On the disk of the cache."""
    sees_run: bool
    has_images: bool = False
    """Whether its cache holds the images of a storage already, or is about to."""
    unreached: str = ""
    """Why the storage of the images could not be asked just now, which says nothing of the machine."""


@dataclass(frozen=True)
class Standard:
    """What machines that join a search later are held against, each by its own workers."""

    asked: Asked
    here: Seen
    """Of the driver's machine."""
    known: frozenset[str]
    """The ids of the machines that were there at the start, and were asked then."""

    def misfit(self, machine: str) -> Failure | None:
        """Say why no trial may begin on this machine, by name and in a line; None if there is nothing against it.

        Blames the machine of that id, or an outage if the images have stayed out of reach for some minutes. Looks about
        until nothing is found, and takes that for granted from then on.
        """
        if machine in self.known or self.asked in _fitting:
            return None
        seen, name = look_patiently(self.asked), socket.gethostname()
        if seen.unreached:
            return Failure(f"{name}: {seen.unreached}", "outage")
        if found := list(_faults(self.here, seen, self.asked)):
            return Failure(f"{name}: {'; '.join(found)}", "machine", machine)
        _fitting.add(self.asked)
        return None


_fitting: set[Asked] = set()
"""What this machine was asked, and is fit for."""


def look_patiently(asked: Asked) -> Seen:
    """Look about on this machine, and for some minutes again while the storage of the images does not answer."""
    seen = Seen(**look(asked.as_json()))
    for seconds in _WAITS_SECONDS:
        if not seen.unreached:
            break
        time.sleep(seconds)
        seen = Seen(**look(asked.as_json()))
    return seen


def look(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Look about on this machine; `asked` is what `Asked.as_json` gave. Gives what `Seen(**…)` takes."""
    digest, size_bytes, fault, unreached = "", 0, "", ""
    try:
        digest, size_bytes = _data(asked["data_root"])
    except OSError as error:
        fault = str(error)
    except StorageError as error:
        fault, unreached = ("", str(error)) if may_pass(error) else (str(error), "")
    token = asked["token"]
    seen = Seen(
        versions=versions(),
        data=digest,
        data_fault=fault,
        data_gb=size_bytes / 1e9,
        free_gb=free_gb(Path(asked["cache"])),
        sees_run=token is None or Path(token).is_file(),
        has_images=bool(digest) and _has_images(Path(asked["cache"]) / KIND, digest),
        unreached=unreached,
    )
    return asdict(seen)


def versions() -> dict[str, str]:
    """Give the versions of what a trial is computed with; `none` for what is not installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "none"
    return found


def faults(here: Seen, machines: Mapping[str, Seen | str], asked: Asked) -> list[str]:
    """Say what machines cannot join for: a line for each machine and cause, empty if there is none.

    Args:
        here: the driver's own machine.
        machines: what each one said, by its name; or why it said nothing.
        asked: what they were asked.
    """
    return [
        f"machine {name}: {fault}"
        for name, seen in machines.items()
        for fault in ([seen] if isinstance(seen, str) else _faults(here, seen, asked))
    ]


@contextmanager
def token_in(run: RunFolder, *, shared: bool) -> Iterator[str | None]:
    """Write a file that tells whether a machine sees the run folder; None if it need not."""
    if not shared:
        yield None
        return
    token = run.path / f".token-{uuid4().hex}.part"
    token.write_text("")
    try:
        yield str(token)
    finally:
        token.unlink(missing_ok=True)


def _faults(here: Seen, there: Seen, asked: Asked) -> Iterator[str]:
    for name, version in here.versions.items():
        if there.versions.get(name) != version:
            yield (
                f"{name} {there.versions.get(name, 'none')}, but {version} on the driver's; install the same on all: "
                "pip install --constraint constraints.txt"
            )
    if there.unreached:
        yield there.unreached
    elif there.data_fault:
        yield f"{asked.data_root}: {there.data_fault}; let --data name what every machine can read"
    elif there.data != here.data:
        yield (
            f"{asked.data_root}: holds other files ({there.data[:12]}) than on the driver's ({here.data[:12]}); "
            "bring the same there, or give an address that all share, such as s3://BUCKET/PREFIX"
        )
    needed = _LEAST_FREE_GB + (here.data_gb if is_url(asked.data_root) and not there.has_images else 0.0)
    if there.free_gb < needed:
        yield (
            f"{there.free_gb:.1f} GB are free on the disk of {asked.cache}, where {needed:.1f} GB are needed; free "
            "some, or write --cache-dir on another disk"
        )
    if not there.sees_run:
        folder = Path(asked.token or "").parent
        yield f"does not see {folder}; let --out name a folder that all machines share, or s3://BUCKET/PREFIX"


def _has_images(fetched: Path, key: str) -> bool:
    """Whether images were fetched, or are just being fetched by another process: then the room for them is found."""
    return (fetched / key).is_dir() or any(fetched.glob(f".{key}.*.part"))


def _data(root: str) -> tuple[str, int]:
    """Give a digest of names and sizes below a root, and how many bytes all of it takes.

    Raises:
        OSError: a folder cannot be read.
        StorageError: a storage cannot be listed.
    """
    if is_url(root):
        remote = Remote(root)
        remote.answers()
        files = remote.files()
        return listing_digest(remote.url, files), sum(file.size_bytes for file in files)
    digest, total = hashlib.sha256(), 0
    with os.scandir(root):  # `walk` passes over what is not there
        pass
    for folder, inner, names in os.walk(root, followlinks=False):
        inner.sort()
        for name in sorted(names):
            path = Path(folder, name)
            size_bytes = path.lstat().st_size
            total += size_bytes
            text = f"{path.relative_to(root).as_posix()}\0{size_bytes}\n"
            digest.update(text.encode(errors="surrogateescape"))
    return digest.hexdigest(), total
