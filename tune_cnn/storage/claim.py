"""Who is at work on a run in a storage: one driver at a time, each with an object of its own, numbered.

    NAME/drivers/000001.json    the first driver, and what it said last
    NAME/drivers/000002.json    the one after it

Nobody works on a run but who has made the newest of them, and of several that would make the same number one does: a
write that asks for nothing to be there is decided by the storage. S3 and GCS promise that; of a storage that lets
several write, each reads what is there a moment later, and again and again, and all but one of them end.

A run is worked on in a folder of the driver's machine. A mark in that folder tells whether it is the one that the
storage has heard of last, or one that the search has gone on without.
"""

import json
import os
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any
from uuid import uuid4

from pydantic import TypeAdapter

from tune_cnn.errors import RunFolderError, StorageError
from tune_cnn.files import parse_json, write_whole
from tune_cnn.results.display import place
from tune_cnn.storage.remote import Remote

DRIVERS = "drivers/"
"""Where drivers say that they are at work; no part of the run."""
SECONDS_BETWEEN_SIGNS = 20.0
_SILENT_SECONDS = 180.0
"""After so long without a word a driver is taken for dead."""
_LOST_SECONDS = 0.5
"""After a storage gave no answer: of several threads that wait to ask it, one has waited for all."""
_MARK = ".storage.json"
_OBJECT = re.compile(r"drivers/(\d{6})\.json")


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
    process: str = ""
    """Tells processes apart, whatever they are called."""
    number: int = 0
    """Of its object."""

    @property
    def alive(self) -> bool:
        """Whether it has been heard of lately."""
        return self.at_work and abs(time.time() - self.seconds) < _SILENT_SECONDS

    @property
    def text(self) -> str:
        """Name it to people."""
        return f"a search on {self.host} (process {self.pid})"


_CLAIM = TypeAdapter(Claim)


def read_claim(remote: Remote) -> Claim | None:
    """Say who was at work on a run last; None if there was nobody.

    Raises:
        StorageError: the storage cannot be read.
    """
    found = [match for file in remote.files(DRIVERS.rstrip("/")) if (match := _OBJECT.fullmatch(file.name))]
    if not found:
        return None
    newest = max(found, key=lambda match: match[1])
    try:
        return replace(_CLAIM.validate_json(remote.read(newest[0]) or b""), number=int(newest[1]))
    except ValueError:
        return Claim(mark="", host="", pid=0, at_work=False, seconds=0.0, number=int(newest[1]))


def check_free(remote: Remote, claim: Claim) -> None:
    """Make sure that nobody is at work on a run.

    Raises:
        RunFolderError: somebody is, or was until a moment ago.
    """
    if claim.alive:
        raise RunFolderError(
            f"{remote.url}: {claim.text} was at work on it {max(0.0, time.time() - claim.seconds):.0f} seconds ago; "
            f"wait for it, or, if it has died, for {_SILENT_SECONDS:.0f} seconds after its last word; or write --name "
            "OTHER"
        )


@dataclass
class Hold:
    """The hold of this process on a run; it says from time to time that it is at work. For several threads."""

    remote: Remote
    claim: Claim
    _due: float = field(default=0.0, init=False)
    _said: float = field(default=0.0, init=False)
    """When it was said last, in seconds since 1970: the clock of `_due` stands still while a machine sleeps."""
    _lost: tuple[float, Sequence[str]] = field(default=(0.0, ()), init=False)
    """Until when the storage counts as lost, and why."""
    _over: bool = field(default=False, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    @classmethod
    def take(cls, remote: Remote, folder: Path) -> "Hold":
        """Take a run for this process, to work on it in a folder that bears a mark.

        Raises:
            StorageError: the storage cannot be read or written.
            RunFolderError: another process has taken it since the folder was brought here.
        """
        before = read_claim(remote)
        if before is not None and not is_newest(folder, before):
            check_free(remote, before)
            raise RunFolderError(f"{remote.url}: {before.text} has gone on with it a moment ago; run this once more")
        mine = Claim(
            mark=str(_read_mark(folder).get("mark", "")),
            host=socket.gethostname(),
            pid=os.getpid(),
            at_work=True,
            seconds=time.time(),
            process=uuid4().hex,
            number=before.number + 1 if before else 1,
        )
        if not remote.create(_name(mine), _body(mine)):
            raise RunFolderError(
                f"{remote.url}: another search has begun with it at the same moment; wait for it, or search "
                "with --name OTHER"
            )
        return cls(remote, mine)

    def __call__(self) -> None:
        """Say that this process is at work, if it is time; nothing after `end`.

        Raises:
            StorageError: the storage cannot be read or written.
            RunFolderError: another process has taken the run meanwhile; nothing may be sent there any more.
        """
        with self._lock:
            if self._over or not self._is_due():
                return
            if time.monotonic() < self._lost[0]:
                raise StorageError(self._lost[1])
            try:
                self._say(at_work=True)
            except StorageError as error:
                self._lost = (time.monotonic() + _LOST_SECONDS, error.faults)
                raise
            self._due = time.monotonic() + SECONDS_BETWEEN_SIGNS
            self._said = time.time()

    def end(self) -> None:
        """Say that this process is through, and nothing after that.

        Raises: as calling it does.
        """
        with self._lock:
            self._over = True
            self._say(at_work=False)

    def _is_due(self) -> bool:
        return time.monotonic() >= self._due or abs(time.time() - self._said) >= SECONDS_BETWEEN_SIGNS

    def _say(self, *, at_work: bool) -> None:
        newest, mine = read_claim(self.remote), self.claim
        if newest and (
            newest.number > mine.number or (newest.number == mine.number and newest.process != mine.process)
        ):
            raise RunFolderError(
                f"{self.remote.url}: {newest.text} has taken this run over, as nothing was heard of this one for a "
                "while, or both began at the same moment; nothing more is sent there from here"
            )
        self.remote.write(_name(self.claim), _body(replace(self.claim, at_work=at_work, seconds=time.time())))


class HeldRemote(Remote):
    """A folder in a storage that is written for as long as a hold on it lasts: each time, that is looked after first.

    A process that was stopped for minutes, in the middle of a round, goes on where it was.
    """

    def __init__(self, hold: Hold) -> None:
        """Write where a hold is; what `hold()` raises, writing raises too."""
        super().__init__(hold.remote.url)
        self._hold = hold

    def put(self, name: str, file: Path) -> None:
        """Write an object from a file; see `Remote.put`."""
        self._hold()
        super().put(name, file)

    def write(self, name: str, data: bytes) -> None:
        """Write an object; see `Remote.write`."""
        self._hold()
        super().write(name, data)

    def delete(self, name: str) -> None:
        """Delete an object; see `Remote.delete`."""
        self._hold()
        super().delete(name)


def is_newest(folder: Path, claim: Claim) -> bool:
    """Whether nobody has worked on a run since it was worked on in a folder, or was fetched into it."""
    told = _read_mark(folder)
    return bool(claim.mark) and (told.get("mark") == claim.mark or told.get("after") == [claim.mark, claim.seconds])


def mark(folder: Path, url: str, *, after: Claim | None = None) -> None:
    """Give a folder a mark of its own, unless it has one.

    Args:
        folder: in which a run is worked on.
        url: of the run.
        after: what the storage said when the folder was fetched; None if it was not.
    """
    if not _read_mark(folder):
        heard = [after.mark, after.seconds] if after else None
        write_whole(folder / _MARK, json.dumps({"mark": uuid4().hex, "after": heard, "url": url}))


def name_of(folder: Path) -> str:
    """Give what people write for a run: its address in a storage, or its folder."""
    return str(_read_mark(folder).get("url") or place(folder))


def _name(claim: Claim) -> str:
    return f"{DRIVERS}{claim.number:06d}.json"


def _body(claim: Claim) -> bytes:
    return json.dumps(asdict(claim)).encode()


def _read_mark(folder: Path) -> dict[str, Any]:
    try:
        told = parse_json((folder / _MARK).read_bytes())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
