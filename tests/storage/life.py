"""One trial of a run in a storage, made of text: trained here or elsewhere, told of to drivers that come and go."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from tests.storage.test_mirror import keep_state
from tune_cnn.config import TrialConfig
from tune_cnn.errors import RunFolderError
from tune_cnn.results.records import RunFolder, TrialFolder
from tune_cnn.search import kept as kept_module
from tune_cnn.search.kept import kept_in_storage
from tune_cnn.search.trials_away import Kept
from tune_cnn.storage.claim import Hold
from tune_cnn.storage.place import TrialPlace, trial_place
from tune_cnn.storage.pull import epoch_here
from tune_cnn.storage.pusher import Pusher
from tune_cnn.storage.remote import Remote


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline, "never came true"
        time.sleep(0.02)


class Life:
    """Of one trial: where it is trained, and what the drivers of its run hear of that."""

    def __init__(self, folder: Path, config: TrialConfig) -> None:
        self.run, self.url = RunFolder(folder / "run"), f"memory://bucket-{uuid4().hex}/runs/made"
        self.trial, self.there = self.run.trial(7), Remote(f"{self.url}/trials/0007")
        self._config, self._machines = config, folder / "machines"
        self._kept: Kept | None = None
        self.told = 0
        """The newest epoch that a driver was told of."""
        self.run.path.mkdir(parents=True)
        self.run.study.write_bytes(b"")

    @contextmanager
    def driver(self) -> Iterator[Kept]:
        with kept_in_storage(self.run, self.url, print, seconds_between=0.02) as kept:
            assert kept is not None
            self._kept = kept
            yield kept

    def begin(self, *, away: bool) -> TrialPlace:
        """Take the trial up, at home or on a machine that has never seen it, and go no further."""
        kept = self._kept
        assert kept is not None
        until(lambda: kept._pusher.broken is not None or kept.before_begin(self.trial.path))
        if kept._pusher.broken is not None:
            raise KilledError
        share = replace(kept.share, home="a machine far away") if away else kept.share
        return trial_place(self.trial.path, self._config, share, self._machines / uuid4().hex, told_epochs=self.told)

    def train(self, epoch: int, *, away: bool) -> None:
        """Take the trial up, train it to an epoch and tell of that."""
        place = self.begin(away=away)
        keep_epoch(place.folder, epoch)
        self.tell(place)

    def tell(self, place: TrialPlace) -> None:
        """Tell of what a worker has done."""
        assert self._kept is not None
        self.told = epoch_here(place.folder)
        effective = place.after_epoch()
        if effective is None:
            self._kept.on_home(self.trial.path)
        else:
            self._kept.on_away(self.trial.path, effective)

    def end(self, epoch: int) -> None:
        kept = self._kept
        assert kept is not None
        until(lambda: kept.bring_home(self.trial.path, with_weights=True, epoch=epoch))


class KilledError(Exception):
    """The driver is dead."""


def keep_epoch(folder: TrialFolder, epoch: int) -> None:
    keep_state(folder, epoch)
    folder.effective.write_text(f"epochs: {epoch}\n")
    folder.log.write_text(f"epoch {epoch}")


@contextmanager
def killed(monkeypatch: pytest.MonkeyPatch, *, after_writes: int = 10**9) -> Iterator[None]:
    """Let drivers end without a last round, as a kill between two rounds does, or in the middle of one."""
    left = after_writes

    def spend(_hold: Hold) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise RunFolderError("killed")

    def finish(_run: RunFolder, hold: Hold, pusher: Pusher, _seconds: float) -> str:
        pusher._closing.set()
        pusher._over.set()
        pusher._thread.join()
        hold.end()
        return ""

    with monkeypatch.context() as patched:
        patched.setattr(kept_module, "_finish", finish)
        patched.setattr(Hold, "__call__", spend)
        yield
