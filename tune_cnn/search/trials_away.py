"""Trials of a run in a storage that go from machine to machine: whose files are sent from here, and who comes home.

One machine at a time sends a trial's files:

    here            the driver's mirror sends them
    handed out      a worker takes it up, nobody knows where yet: the storage has all that was here, and gets no more
    away            a worker elsewhere was heard of: it sends them

A worker's first word leads from the second to one of the other two; if it ends without one, whoever has got further has
what is newest. For all of that to hold through a kill, a mark on the disk says so first, see `left_elsewhere.py`.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TypeVar

from tune_cnn.errors import StorageError
from tune_cnn.files import sync, write_whole
from tune_cnn.results.records import RunFolder, TrialFolder
from tune_cnn.search.left_elsewhere import is_newer_there, mark_away, mark_handed_out
from tune_cnn.storage.mirror import Mirror
from tune_cnn.storage.place import Share, machine_id
from tune_cnn.storage.pull import epoch_there, everything, pull
from tune_cnn.storage.pusher import Pusher
from tune_cnn.storage.remote import Remote, RemoteFile

Say = Callable[[str], None]
Answer = TypeVar("Answer")
_WAITS_SECONDS = (1.0, 2.0, 4.0, 8.0)
"""Between the attempts to fetch a trial that has ended elsewhere: the driver does nothing else meanwhile."""
_SECONDS_ON_THE_WAY = 40.0
"""So long a worker may take to send what a stopped trial did last."""
_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_TO_LEAVE = 30.0
"""After so long a trial that waits to be handed out is told of."""


class _Leaving:
    """A trial that is being sent, to be handed out after that."""

    def __init__(self) -> None:
        self.since = time.monotonic()
        self.told = False
        self.over = Event()

    @property
    def is_late(self) -> bool:
        """Whether it is time to say so; once."""
        late = not self.told and time.monotonic() - self.since > _SECONDS_TO_LEAVE
        self.told = self.told or late
        return late


class Kept:
    """The way to the storage of a run under way; told of trials that other machines bring there."""

    def __init__(self, run: RunFolder, remote: Remote, pusher: Pusher, say: Say) -> None:
        self.share = Share(remote.url, run.path, machine_id())
        self._run, self._pusher, self._say = run, pusher, say
        self._away: set[Path] = set()
        self._handed_out: set[Path] = set()
        self._leaving: dict[Path, _Leaving] = {}
        self._awaited: dict[Path, tuple[float, float]] = {}
        """Trials that have ended elsewhere: until when they are waited for, and when to look next."""

    def check(self) -> None:
        """Make sure that what the search writes is still brought to its storage.

        Raises:
            RunFolderError: the run is another driver's by now.
        """
        if self._pusher.broken is not None:
            raise self._pusher.broken

    def on_away(self, folder: Path, effective: str) -> None:
        """Take in that a trial runs on another machine, and what it read back there; empty if it came to nothing.

        From now on the storage has what is newest of it. A driver that goes on after this one must know that before
        anything of this trial is told of in study.db, even after a power cut, or it would send its old files.
        """
        trial = TrialFolder(folder)
        mark_away(trial)  # each time: a worker here may have fetched the trial since, and the mark with it
        if effective:
            write_whole(trial.effective, effective, durable=False)
        if folder not in self._away | self._handed_out:
            name = self._name(folder)
            self._pusher.ask(lambda mirror: mirror.leave(name))
        self._handed_out.discard(folder)
        self._away.add(folder)

    def on_home(self, folder: Path) -> None:
        """Take in that a trial runs in its folder here: it has begun with what is newest, and is sent from here."""
        if folder not in self._away | self._handed_out:
            return
        self._away.discard(folder)
        self._handed_out.discard(folder)
        self._unmark(folder)
        name = self._name(folder)
        self._pusher.ask(lambda mirror: mirror.take_back(name))

    def before_begin(self, folder: Path) -> bool:
        """Make ready for a worker, here or elsewhere, to take a trial up: from then on nothing of it is sent from here.

        Returns:
            False while what is here is on its way to the storage, from where a worker elsewhere goes on: ask again.
        """
        if not self._has_left(folder):
            return False
        mark_handed_out(TrialFolder(folder))
        self._away.discard(folder)
        self._handed_out.add(folder)
        return True

    def _has_left(self, folder: Path) -> bool:
        """Whether the storage has all that is here of a trial, and will get no more of it from here; seen to if not."""
        if folder in self._away:
            return True
        if not TrialFolder(folder).log.exists():  # nobody has worked on it here: there is nothing to wait for
            name = self._name(folder)
            self._pusher.ask(lambda mirror: mirror.leave(name))
            return True
        leaving = self._leaving.get(folder) or self._let_leave(folder)
        if leaving.is_late:
            self._say(f"{self.share.remote(folder).url}: is not all there yet; the trial goes on once it is")
        if not leaving.over.is_set():
            return False
        del self._leaving[folder]
        return True

    def _let_leave(self, folder: Path) -> _Leaving:
        leaving = self._leaving[folder] = _Leaving()
        is_unheard = folder in self._handed_out

        def send(mirror: Mirror) -> None:
            name = self._name(folder)
            if is_unheard:  # its worker ended without a word, and may have been anywhere
                self._take_newest(folder)
                mirror.take_back(name)
            mirror.send_folder(name)
            mirror.leave(name)
            leaving.over.set()

        self._pusher.ask(send, soon=True)
        return leaving

    def _take_newest(self, folder: Path) -> None:
        """Fetch a trial that was handed out, if the storage has got further than this machine."""
        trial, remote = TrialFolder(folder), self.share.remote(folder)
        if trial.away.exists() and is_newer_there(trial, remote):
            pull(remote, folder)

    def of(self, is_wanted: Callable[[int], bool], *, alone: bool = False) -> "Homecoming":
        """Give what an executor tells of trials elsewhere.

        Args:
            is_wanted: says whose weights may be kept, by number.
            alone: whether all workers are on this machine, so that none goes on from the storage.
        """
        return Homecoming(self, is_wanted, alone)

    def bring_home(self, folder: Path, *, with_weights: bool, epoch: int) -> bool:
        """Fetch a trial that another machine has run; without its weights, they are deleted in the storage.

        Args:
            folder: of the trial; one that was not away stays as it is.
            with_weights: whether they may be kept.
            epoch: the last one that was told of.

        Returns:
            False while a checkpoint of that epoch is still on its way there: ask again.
        """
        if folder in self._handed_out:
            self._end_unheard(folder)
            return True
        if folder not in self._away:
            return True
        remote = self.share.remote(folder)
        if self._is_on_its_way(folder, remote, epoch):
            return False
        try:
            files = _patiently(lambda: _pull_if_there(remote, folder, everything if with_weights else _is_no_weights))
        except StorageError as error:
            self._tell_unfetched(remote, error)
            return True
        self._away.discard(folder)
        self._unmark(folder)
        name = self._name(folder)
        named = [
            RemoteFile(f"{name}{one.name}", one.size_bytes, one.tag, one.md5, one.changed_seconds) for one in files
        ]
        self._pusher.ask(lambda mirror: mirror.take_back(name, named))
        return True

    def _end_unheard(self, folder: Path) -> None:
        """Take a trial back whose worker ended without a word."""
        try:
            _patiently(lambda: self._take_newest(folder))
        except StorageError as error:
            self._tell_unfetched(self.share.remote(folder), error)
        else:
            self.on_home(folder)

    def _tell_unfetched(self, remote: Remote, error: StorageError) -> None:
        self._say(f"{remote.url}: could not be fetched; the next `tune-cnn resume` does it ({error})")

    def _is_on_its_way(self, folder: Path, remote: Remote, epoch: int) -> bool:
        """Whether the worker of a trial that was stopped is still sending; looks once a second, and not for ever."""
        now = time.monotonic()
        until, next_look = self._awaited.setdefault(folder, (now + _SECONDS_ON_THE_WAY, now))
        if now < next_look:
            return True
        with suppress(StorageError):
            if now < until and 0 < epoch_there(remote) < epoch:
                self._awaited[folder] = (until, now + _SECONDS_BETWEEN_LOOKS)
                return True
        del self._awaited[folder]
        return False

    @staticmethod
    def _unmark(folder: Path) -> None:
        TrialFolder(folder).away.unlink(missing_ok=True)
        if folder.exists():
            sync(folder)

    def _name(self, folder: Path) -> str:
        return folder.relative_to(self._run.path).as_posix() + "/"


@dataclass(frozen=True)
class Homecoming:
    """Told by an executor of the trials of one session that run on other machines."""

    kept: Kept
    is_wanted: Callable[[int], bool]
    alone: bool = False
    """Whether all workers are on this machine."""

    def check(self) -> None:
        """Make sure that the search may go on; see `Kept.check`."""
        self.kept.check()

    def on_away(self, folder: Path, effective: str) -> None:
        """Take in that a trial runs on another machine, and what it read back there; see `Kept.on_away`."""
        self.kept.on_away(folder, effective)

    def on_home(self, folder: Path) -> None:
        """Take in that a trial runs in its folder here; see `Kept.on_home`."""
        self.kept.on_home(folder)

    def before_begin(self, folder: Path) -> bool:
        """Make ready for a worker to take a trial up; see `Kept.before_begin`."""
        return self.alone or self.kept.before_begin(folder)

    def before_end(self, number: int, folder: Path, epoch: int) -> bool:
        """Bring a trial home, if it was away, before the session takes in that it has ended; see `Kept.bring_home`."""
        return self.kept.bring_home(folder, with_weights=self.is_wanted(number), epoch=epoch)


def _patiently(fetch: Callable[[], Answer]) -> Answer:
    """Fetch, and try again for a while if the storage is lost."""
    for seconds in _WAITS_SECONDS:
        try:
            return fetch()
        except StorageError:
            time.sleep(seconds)
    return fetch()


def _pull_if_there(remote: Remote, folder: Path, wanted: Callable[[str], bool]) -> list[RemoteFile]:
    """Fetch a trial; where nothing of it has arrived, the folder stays as it is."""
    return pull(remote, folder, wanted) if remote.files() else []


def _is_no_weights(name: str) -> bool:
    return not name.startswith(("last/", ".best-", "best"))
