"""Who is at work on a run in a storage: one driver at a time, by a small object that it writes anew as it goes.

A run is worked on in a folder of the driver's machine. A mark in that folder tells whether it is the one that the
storage has heard of last, or one that the search has gone on without.
"""

import json
import os
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from tune_cnn.errors import RunFolderError
from tune_cnn.files import write_whole
from tune_cnn.storage.mirror import DRIVER, SECONDS_BETWEEN_STUDIES
from tune_cnn.storage.remote import Remote

_SILENT_SECONDS = 3 * SECONDS_BETWEEN_STUDIES
"""After so long without a word a driver is taken for dead."""
_MARK = ".storage.json"


@dataclass(frozen=True)
class Claim:
    """What a driver says of itself."""

    mark: str
    """Of the folder it works in."""
    host: str
    pid: int
    at_work: bool
    seconds: float
    """Since 1970, by its own clock."""

    @property
    def alive(self) -> bool:
        """Whether it has been heard of lately."""
        return self.at_work and abs(time.time() - self.seconds) < _SILENT_SECONDS


def read_claim(remote: Remote) -> Claim | None:
    """Say who was at work on a run last; None if there is no run.

    Raises:
        StorageError: the storage cannot be read.
    """
    text = remote.read(DRIVER)
    try:
        return Claim(**json.loads(text)) if text else None
    except (ValueError, TypeError):
        return Claim(mark="", host="", pid=0, at_work=False, seconds=0.0)


def write_claim(remote: Remote, folder: Path, *, at_work: bool) -> None:
    """Say that this process works on a run, in a folder that bears a mark; or that it is through.

    Raises:
        StorageError: the storage cannot be written.
    """
    body = Claim(
        str(_read_mark(folder).get("mark", "")), socket.gethostname(), os.getpid(), at_work=at_work, seconds=time.time()
    )
    remote.write(DRIVER, json.dumps(asdict(body)).encode())


class Heartbeat:
    """Says from time to time that this process is at work."""

    def __init__(self, remote: Remote, folder: Path) -> None:
        self._remote, self._folder, self._due = remote, folder, 0.0

    def __call__(self) -> None:
        """Say so, if it is time."""
        if time.monotonic() >= self._due:
            write_claim(self._remote, self._folder, at_work=True)
            self._due = time.monotonic() + SECONDS_BETWEEN_STUDIES


def check_free(remote: Remote, claim: Claim) -> None:
    """Make sure that nobody is at work on a run.

    Raises:
        RunFolderError: somebody is, or was until a moment ago.
    """
    if claim.alive:
        raise RunFolderError(
            f"{remote.url}: a search on {claim.host} (process {claim.pid}) was at work on it "
            f"{time.time() - claim.seconds:.0f} seconds ago; wait for it, or, if it has died, for "
            f"{_SILENT_SECONDS:.0f} seconds after its last word; or write --name OTHER"
        )


def is_newest(folder: Path, claim: Claim) -> bool:
    """Whether nobody has worked on a run since it was worked on in a folder, or was fetched into it."""
    told = _read_mark(folder)
    return bool(claim.mark) and (told.get("mark") == claim.mark or told.get("after") == [claim.mark, claim.seconds])


def mark(folder: Path, *, after: Claim | None = None) -> None:
    """Give a folder a mark of its own, unless it has one; `after` is what the storage said when it was fetched."""
    if not _read_mark(folder):
        heard = [after.mark, after.seconds] if after else None
        write_whole(folder / _MARK, json.dumps({"mark": uuid4().hex, "after": heard}))


def _read_mark(folder: Path) -> dict[str, Any]:
    try:
        told = json.loads((folder / _MARK).read_bytes())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
