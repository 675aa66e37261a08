"""Where a worker trains a trial of a run that is kept in a storage: on the driver's machine, or on another.

On another machine the trial lies below the cache, and the worker itself brings it to the storage: after an epoch,
before it tells of it, and at the end. That holds up the training for no more than a small share of the time; what has
not been sent then is sent beside it.
"""

import hashlib
import logging
import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Timer

from tune_cnn.config import TrialConfig
from tune_cnn.errors import StorageError, UnreachedTrialError
from tune_cnn.results.records import TrialFolder
from tune_cnn.storage.mirror import Mirror
from tune_cnn.storage.pull import epoch_here, epoch_there, pull, sweep_parts_of
from tune_cnn.storage.remote import Remote
from tune_cnn.yaml_files import write_yaml

log = logging.getLogger(__name__)

_TIME_SHARE = 0.05
_LONGEST_REST_SECONDS = 15.0
"""What is new is sent after so long, beside the training: the trial may have been stopped, and wait for its end."""
_WAITS_SECONDS = (1, 2, 4, 8, 16, 30, 60, 60, 60, 60)
"""Between the attempts to bring to a lost storage what a trial has left, or to fetch from it what one goes on from."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_left_behind: set[Path] = set()
"""Folders of trials that this process has trained for another machine."""


@dataclass(frozen=True)
class Share:
    """What a worker has to know of a run that is kept in a storage."""

    url: str
    run: Path
    """The run folder on the driver's machine."""
    home: str
    """The driver's machine, as `machine_id` names it."""

    def remote(self, folder: Path) -> Remote:
        """Give the counterpart of a folder of the run."""
        return Remote(f"{self.url}/{folder.relative_to(self.run).as_posix()}")


def machine_id() -> str:
    """Name this machine, or the container that takes itself for one."""
    boot = _BOOT.read_text().strip() if _BOOT.is_file() else ""
    return f"{socket.gethostname()} {boot}"


class TrialPlace:
    """A trial's folder on this machine, and how it gets to where the others find it."""

    def __init__(self, folder: TrialFolder, mirror: Mirror | None, clock: Callable[[], float]) -> None:
        self.folder, self._mirror, self._clock = folder, mirror, clock
        self._due = 0.0
        self._told: str | None = None
        self._sending = Lock()
        self._later: Timer | None = None

    @property
    def is_away(self) -> bool:
        """Whether the driver cannot see the folder."""
        return self._mirror is not None

    def after_epoch(self) -> str | None:
        """Bring there what is new, if it is time, and else a little later, whatever the trial does then.

        Returns:
            What effective.yaml holds now, if the driver cannot see it and has not been told; else None. So the first
            answer says whether the trial is away.
        """
        if self._mirror is None:
            return None
        if self._clock() >= self._due:
            self._send()
        elif self._later is None or not self._later.is_alive():
            self._later = Timer(min(self._due - self._clock(), _LONGEST_REST_SECONDS), self._send)
            self._later.daemon = True
            self._later.start()
        text = self.folder.effective.read_text("utf-8")
        if text == self._told:
            return None
        self._told = text
        return text

    def finish(self, *, hurried: bool = False) -> None:
        """Bring there everything that is new; for some minutes, if the storage is lost: the driver fetches it next.

        Args:
            hurried: whether to try once only.
        """
        if self._mirror is None:
            return
        if self._later is not None:
            self._later.cancel()
        for seconds in () if hurried else _WAITS_SECONDS:
            if self._send():
                return
            time.sleep(seconds)
        self._send()

    def _send(self) -> bool:
        assert self._mirror is not None  # noqa: S101 - all callers have looked
        with self._sending:
            began, arrived = self._clock(), True
            try:
                self._mirror.send()
            except StorageError as error:
                log.warning("%s; kept here meanwhile", error)
                arrived = False
            took = self._clock() - began
            self._due = self._clock() + took / _TIME_SHARE
            return arrived


def trial_place(
    folder: Path,
    config: TrialConfig,
    share: Share | None,
    cache_folder: Path,
    clock: Callable[[], float] = time.monotonic,
    *,
    told_epochs: int = 0,
) -> TrialPlace:
    """Make ready for a trial: it goes on from the later of the checkpoints that this machine and the storage have.

    While the storage does not answer, it begins with what is here only if that is all that the driver was told of.

    Args:
        folder: of the trial, on the driver's machine.
        config: what is trained.
        share: how the run is shared by a storage; None if all machines see its folder.
        cache_folder: below which the trials of other machines' runs lie.
        clock: seconds that only go forward.
        told_epochs: how many epochs the driver was told of, by whatever worker.

    Raises:
        UnreachedTrialError: more was done than is here, and the storage has not answered for some minutes.
        OSError: the disk is full or cannot be written.
    """
    if share is None:
        return TrialPlace(TrialFolder(folder), None, clock)
    remote, at_home = share.remote(folder), share.home == machine_id()
    here = TrialFolder(folder if at_home else _away(folder, share, cache_folder))
    mirror = None if at_home else Mirror(here.path, remote, clock=clock, every_state=True)
    sweep_parts_of(here.path)
    _take_up_newest(here, remote, told_epochs)
    try:
        if mirror is not None:
            mirror.adopt(remote.files())
    except StorageError as error:
        log.warning("%s; sends anew what is there already", error)
    if not at_home:
        write_yaml(here.config, config.model_dump(mode="json"), durable=False)
    return TrialPlace(here, mirror, clock)


def _take_up_newest(here: TrialFolder, remote: Remote, told_epochs: int) -> None:
    """Fetch a trial if the storage has more of it than is here; tries again for some minutes, if that may be so."""
    for seconds in (*_WAITS_SECONDS, None):
        try:
            if epoch_there(remote) > epoch_here(here):
                pull(remote, here.path)
            return
        except StorageError as error:
            if epoch_here(here) >= told_epochs:
                log.warning("%s; the trial begins with what is here", error)
                return
            if seconds is None:
                raise UnreachedTrialError(
                    f"what it did up to epoch {told_epochs} lies in a storage that does not answer: {error}"
                ) from error
            log.warning("%s; the trial goes on from there, and waits", error)
            time.sleep(seconds)


def _away(folder: Path, share: Share, cache_folder: Path) -> Path:
    """Give the folder of a trial of another machine's run; those that this process has left behind go."""
    run = cache_folder / "trials" / hashlib.sha256(f"{share.url} {share.home}".encode()).hexdigest()[:16]
    here = run / folder.relative_to(share.run).as_posix().replace("/", "-")
    for old in _left_behind - {here}:
        shutil.rmtree(old, ignore_errors=True)
    _left_behind.intersection_update({here})
    _left_behind.add(here)
    return here
