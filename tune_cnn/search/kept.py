"""A run that is kept in a storage: worked on in a folder of this machine, from where all of it goes there."""

import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path

from filelock import FileLock

from tune_cnn.errors import RunFolderError, StorageError, StoreError
from tune_cnn.files import sweep, write_whole
from tune_cnn.invocation import program
from tune_cnn.results.best_model import BEST
from tune_cnn.results.display import place, word
from tune_cnn.results.records import RunFolder, TrialFolder
from tune_cnn.search.driver_lock import driver_lock
from tune_cnn.storage.claim import Claim, HeldRemote, Hold, check_free, is_newest, mark, read_claim
from tune_cnn.storage.mirror import POINTER, Mirror
from tune_cnn.storage.place import Share, machine_id
from tune_cnn.storage.pull import epoch_there, everything, fetched, is_table, pull
from tune_cnn.storage.pusher import SECONDS_BETWEEN, Pusher
from tune_cnn.storage.remote import Remote, RemoteFile
from tune_cnn.urls import is_url, url_fault

Say = Callable[[str], None]
_TRIAL = re.compile(r"((?:trials|finals)/[\w-]+)/")
_WAITS_SECONDS = (1.0, 2.0, 4.0, 8.0)
"""Between the attempts to fetch a trial that has ended elsewhere: the driver does nothing else meanwhile."""
_SECONDS_ON_THE_WAY = 40.0
"""So long a worker may take to send what a stopped trial did last."""
_SECONDS_BETWEEN_LOOKS = 1.0
_LAST_SECONDS = 30.0
_LAST_SECONDS_INTERRUPTED = 3.0
"""Who interrupts a search is promised its end within ten seconds."""


def working_folder(run: str | Path) -> Path:
    """Give the folder of this machine that a run is worked on in: of an address, one below `runs`.

    Raises:
        StorageError: the address cannot be used.
    """
    if not is_url(run):
        return Path(run).absolute()
    if fault := url_fault(str(run)):
        raise StorageError(f"{run}: {fault}")
    scheme, _, rest = str(run).rstrip("/").partition("://")
    return Path("runs", scheme, *rest.split("/")).absolute()


def brought(run: str | Path, say: Say) -> Path:
    """Give the folder of this machine that a run is worked on in, with all that the storage has of it.

    The folder stays as it is if the storage has heard of no other since: then it is the newest there is.

    Args:
        run: a path, or an address of a storage.
        say: told in a line what is done.

    Raises:
        StorageError: the storage is missing, forbidden or out of reach.
        RunFolderError: another driver is at work on it, or something else lies there.
    """
    folder = working_folder(run)
    if not is_url(run):
        return folder
    remote = Remote(str(run))
    remote.answers()
    claim = read_claim(remote)
    if (claim is None and not _holds_run(remote)) or _is_here(folder, claim):
        return folder
    if claim is not None:
        check_free(remote, claim)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.fetching.lock")):
        claim = read_claim(remote)  # another process may have fetched it meanwhile, and be at work in it
        if not _is_here(folder, claim):
            _fetch(remote, claim, folder, say)
    return folder


def _is_here(folder: Path, claim: Claim | None) -> bool:
    """Whether a folder is all that the storage has of a run."""
    return folder.exists() and (claim is None or is_newest(folder, claim))


def _fetch(remote: Remote, claim: Claim | None, folder: Path, say: Say) -> None:
    """Fetch a run; what lies in its place is put aside, unless a driver is at work in it."""
    if claim is not None:
        check_free(remote, claim)
    for part in folder.parent.glob(f".{escape(folder.name)}.{'?' * 8}.part"):  # of one that was killed at it
        shutil.rmtree(part, ignore_errors=True)
    if folder.exists():
        with driver_lock(RunFolder(folder)):
            aside = _free_name(folder)
            folder.rename(aside)
            RunFolder(aside).driver.unlink()
        say(f"{place(folder)}: the search has gone on elsewhere since; put aside as {aside.name}")
    with fetched(remote, folder) as (part, files):
        mark(part, remote.url, after=claim)  # before it is there: without one it would be put aside as outdated
        try:
            part.rename(folder)
        except OSError as error:
            if not folder.exists():
                raise
            raise RunFolderError(
                f"{folder}: another search has begun in this folder meanwhile; wait for it, or search with --name OTHER"
            ) from error
    say(f"{remote.url}: {len(files)} files fetched into {place(folder)}")


def check_apart(run: str | None, data_root: str | Path) -> None:
    """Make sure that neither of two addresses lies in the other: images would change, or be taken for the run's.

    Raises:
        RunFolderError: one does.
    """
    if run is None or not is_url(data_root):
        return
    first, second = (f"{str(address).rstrip('/')}/" for address in (run, data_root))
    if first.startswith(second) or second.startswith(first):
        raise RunFolderError(f"{run}: must not share a place with the images, {data_root}; write another --out")


def _holds_run(remote: Remote) -> bool:
    """Whether there is a run; False if there is nothing.

    Raises:
        RunFolderError: something else lies there, among which a run would be mixed.
    """
    names = [file.name for file in remote.files()]
    if names and "study.db" not in names:
        raise RunFolderError(
            f"{remote.url}: holds other objects ({names[0]!r} is one of {len(names)}) and no run; write `search` with "
            "--name OTHER, or another --out"
        )
    return bool(names)


def tables_of(run: str, into: Path) -> Path:
    """Fetch what a leaderboard needs of a run in a storage; a path is given back as it is.

    Raises:
        StorageError: the storage is missing, forbidden or out of reach.
        RunFolderError: there is no run.
    """
    if not is_url(run):
        return Path(run)
    remote = Remote(run)
    remote.answers()
    folder = into / run.rstrip("/").rpartition("/")[2]
    pull(remote, folder, is_table)
    if not RunFolder(folder).study.is_file():
        raise RunFolderError(f"{run}: holds no study.db; give a run that `tune-cnn search --out` wrote")
    mark(folder, run.rstrip("/"))  # so that what is said of it names the storage
    return folder


class Kept:
    """The way to the storage of a run under way; told of trials that other machines bring there."""

    def __init__(self, run: RunFolder, remote: Remote, pusher: Pusher, say: Say) -> None:
        self.share = Share(remote.url, run.path, machine_id())
        self._run, self._pusher, self._say = run, pusher, say
        self._away: set[Path] = set()
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
        write_whole(trial.away, "")  # each time: a worker here may have fetched the trial since, and the mark with it
        if effective:
            write_whole(trial.effective, effective, durable=False)
        if folder not in self._away:
            self._away.add(folder)
            name = self._name(folder)
            self._pusher.ask(lambda mirror: mirror.leave(name))

    def on_home(self, folder: Path) -> None:
        """Take in that a trial runs in its folder here: it has begun with what is newest, and is sent from here."""
        if folder not in self._away:
            return
        self._away.discard(folder)
        TrialFolder(folder).away.unlink(missing_ok=True)
        name = self._name(folder)
        self._pusher.ask(lambda mirror: mirror.take_back(name))

    def of(self, is_wanted: Callable[[int], bool]) -> "Homecoming":
        """Give what an executor tells of trials elsewhere; `is_wanted` says whose weights may be kept, by number."""
        return Homecoming(self, is_wanted)

    def bring_home(self, folder: Path, *, with_weights: bool, epoch: int) -> bool:
        """Fetch a trial that another machine has run; without its weights, they are deleted in the storage.

        Args:
            folder: of the trial; one that was not away stays as it is.
            with_weights: whether they may be kept.
            epoch: the last one that was told of.

        Returns:
            False while a checkpoint of that epoch is still on its way there: ask again.
        """
        if folder not in self._away:
            return True
        remote = self.share.remote(folder)
        if self._is_on_its_way(folder, remote, epoch):
            return False
        try:
            files = _patiently(lambda: _pull_if_there(remote, folder, everything if with_weights else _is_no_weights))
        except StorageError as error:
            self._say(f"{remote.url}: could not be fetched; the next `tune-cnn resume` does it ({error})")
            return True
        self._away.discard(folder)
        TrialFolder(folder).away.unlink(missing_ok=True)
        name = self._name(folder)
        named = [
            RemoteFile(f"{name}{one.name}", one.size_bytes, one.tag, one.md5, one.changed_seconds) for one in files
        ]
        self._pusher.ask(lambda mirror: mirror.take_back(name, named))
        return True

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

    def _name(self, folder: Path) -> str:
        return folder.relative_to(self._run.path).as_posix() + "/"


@dataclass(frozen=True)
class Homecoming:
    """Told by an executor of the trials of one session that run on other machines."""

    kept: Kept
    is_wanted: Callable[[int], bool]

    def check(self) -> None:
        """Make sure that the search may go on; see `Kept.check`."""
        self.kept.check()

    def on_away(self, folder: Path, effective: str) -> None:
        """Take in that a trial runs on another machine, and what it read back there; see `Kept.on_away`."""
        self.kept.on_away(folder, effective)

    def on_home(self, folder: Path) -> None:
        """Take in that a trial runs in its folder here; see `Kept.on_home`."""
        self.kept.on_home(folder)

    def before_end(self, number: int, folder: Path, epoch: int) -> bool:
        """Bring a trial home, if it was away, before the session takes in that it has ended; see `Kept.bring_home`."""
        return self.kept.bring_home(folder, with_weights=self.is_wanted(number), epoch=epoch)


@contextmanager
def kept_in_storage(
    run: RunFolder, url: str | None, say: Say, *, seconds_between: float = SECONDS_BETWEEN
) -> Iterator[Kept | None]:
    """Send a run to its storage for as long as the block lasts, and what is left at its end.

    Args:
        run: the folder that is worked on; it is this driver's alone.
        url: of its counterpart; None for a run that stays where it is.
        say: told in a line when the storage is lost, and when it is back.
        seconds_between: of two rounds.

    Raises:
        StorageError: the storage cannot be written; nothing was begun.
        RunFolderError: another driver has taken the run.
        StoreError: at the end it is lost, and some of the run lies on this machine alone.
    """
    if url is None:
        yield None
        return
    remote = Remote(url)
    run.path.mkdir(parents=True, exist_ok=True)
    sweep(run.path)
    mark(run.path, remote.url)
    hold = Hold.take(remote, run.path)
    mirror = Mirror(run.path, HeldRemote(hold))
    files = remote.files()
    _bring_missing_trials(run, remote, files)
    mirror.adopt([file for file in files if _is_ours(run, file.name)])
    pusher = Pusher(mirror, beat=hold, say=say, seconds_between=seconds_between)
    pusher.start()
    seconds, over = _LAST_SECONDS, False
    try:
        yield Kept(run, remote, pusher, say)
        over = True
    except KeyboardInterrupt:
        seconds = _LAST_SECONDS_INTERRUPTED
        raise
    finally:
        left = _finish(run, hold, pusher, seconds)
        if left and not over:  # what ended the search is told after it
            say(left)
    if left:
        raise StoreError(left)


def _finish(run: RunFolder, hold: Hold, pusher: Pusher, seconds: float) -> str:
    """Send what is left, and say in a line if not all has arrived."""
    why = pusher.close(seconds=seconds, hurried=seconds == _LAST_SECONDS_INTERRUPTED)
    if not why:
        try:
            hold.end()
        except StorageError as error:
            why = str(error)
    if not why:
        return ""
    return (
        f"{hold.remote.url} does not have all of this run: {why}; all of it lies in {place(run.path)} on this machine: "
        f"`{program()} resume {word(hold.remote.url)}`, called here, sends it"
    )


def _patiently(fetch: Callable[[], list[RemoteFile]]) -> list[RemoteFile]:
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


def _bring_missing_trials(run: RunFolder, remote: Remote, files: Iterable[RemoteFile]) -> None:
    """Fetch the trials of other machines that an earlier driver did not come to fetch: then all that is here is ours.

    Epochs are no measure of which copy is newer: who has ended holds no checkpoint any more.
    """
    there = {found[1] for file in files if (found := _TRIAL.match(file.name))}
    for name in sorted(there):
        if _lies_elsewhere(TrialFolder(run.path / name)):
            pull(remote.below(name), run.path / name)
    for folder in (*run.path.glob("trials/*"), *run.path.glob("finals/*")):
        TrialFolder(folder).away.unlink(missing_ok=True)  # nothing of those that still have one has ever arrived


def _is_ours(run: RunFolder, name: str) -> bool:
    """Whether an object is a copy of a file of this machine; trials that ran elsewhere are not here."""
    parts = name.split("/")
    if parts[0] not in {"trials", "finals"} or len(parts) < 3:
        return parts == [f"{BEST}{POINTER}"]
    return not _lies_elsewhere(TrialFolder(run.path / parts[0] / parts[1]))


def _lies_elsewhere(trial: TrialFolder) -> bool:
    """Whether a trial that the storage has is newer there, as another machine has brought it."""
    return trial.away.exists() or not trial.log.exists()


def _is_no_weights(name: str) -> bool:
    return not name.startswith(("last/", ".best-", "best"))


def _free_name(folder: Path) -> Path:
    number = 1
    while (aside := folder.with_name(f"{folder.name}.before-{number}")).exists():
        number += 1
    return aside
