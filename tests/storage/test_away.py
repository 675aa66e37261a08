"""Trials that go from machine to machine while drivers come and go: whoever has the newest is never overwritten."""

import random
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Event
from uuid import uuid4

import pytest

from tests.conftest import trial_config
from tests.storage.test_kept import until
from tests.storage.test_mirror import check_whole, keep_state
from tune_cnn.config import TrialConfig
from tune_cnn.errors import RunFolderError, StorageError
from tune_cnn.results.records import RunFolder, TrialFolder
from tune_cnn.search import kept as kept_module
from tune_cnn.search import trials_away
from tune_cnn.search.kept import kept_in_storage
from tune_cnn.search.trials_away import Kept
from tune_cnn.storage.claim import HeldRemote, Hold
from tune_cnn.storage.place import TrialPlace, trial_place
from tune_cnn.storage.pull import epoch_here, epoch_there
from tune_cnn.storage.pusher import Pusher
from tune_cnn.storage.remote import Remote, RemoteFile


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


@pytest.fixture
def life(tmp_path: Path, shapes: Path) -> Life:
    return Life(tmp_path, trial_config(shapes))


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


@pytest.mark.parametrize(
    "stints",
    [
        pytest.param([(10, True), (30, True)], id="away-and-away-again"),
        pytest.param([(10, False), (30, True)], id="begun-at-home"),
        pytest.param([(10, True), (20, False), (30, True)], id="home-in-between"),
        pytest.param([(10, True), (30, False)], id="home-at-last"),
    ],
)
def test_a_driver_that_goes_on_never_sends_old_files_of_its_own_over_newer_ones(
    life: Life, stints: list[tuple[int, bool]]
) -> None:
    for epoch, away in stints:
        with life.driver():
            life.train(epoch, away=away)
    with life.driver():
        check_whole(life.trial, {30})
    assert epoch_there(life.there) == 30
    assert life.trial.log.read_text() == "epoch 30"


def test_a_trial_that_comes_back_to_the_drivers_machine_stays_as_it_is_there(life: Life) -> None:
    with life.driver():
        life.train(5, away=True)
        life.train(6, away=False)
        until(lambda: epoch_there(life.there) == 6)  # it is sent from here again
        keep_epoch(life.trial, 40)
        life.end(40)
        check_whole(life.trial, {40})
        assert life.trial.log.read_text() == "epoch 40"
    assert epoch_there(life.there) == 40


def test_a_driver_that_is_killed_after_a_trial_came_back_does_not_fetch_the_old_one(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    with killed(monkeypatch), life.driver() as kept:
        keep_epoch(life.trial, 7)
        kept.on_away(life.trial.path, "epochs: 6\n")  # by a machine that had not got on as far
        life.there.write("trial.log", b"epoch 6")
        life.train(8, away=False)
        until(lambda: epoch_there(life.there) == 8)
        keep_epoch(life.trial, 11)  # not sent: too soon after the last
    with life.driver():
        assert epoch_here(life.trial) == 11


def test_a_trial_is_taken_back_though_the_storage_is_lost_just_then(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = 0

    def files(remote: Remote, under: str = "") -> list[RemoteFile]:
        nonlocal lost
        lost += under == "trials/0007"
        if lost and lost < 3:
            raise StorageError(f"{remote.url}: lost")
        return whole(remote, under)

    whole = Remote.files
    monkeypatch.setattr("tune_cnn.storage.pusher._SHORTEST_WAIT_SECONDS", 0.02)
    with life.driver():
        life.train(5, away=True)
        monkeypatch.setattr(Remote, "files", files)
        life.train(6, away=False)
        until(lambda: epoch_there(life.there) == 6)
    assert lost == 3


def test_a_worker_at_home_that_is_lost_before_a_word_leaves_no_doubt(life: Life) -> None:
    with life.driver():
        life.train(10, away=True)
        life.begin(away=False)  # fetches the trial, and is lost
        life.train(30, away=True)
    with life.driver():
        check_whole(life.trial, {30})


def test_a_trial_of_which_nothing_had_arrived_belongs_to_this_machine(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    with life.driver() as kept:
        kept.on_away(life.trial.path, "epochs: 5\n")
    with killed(monkeypatch), life.driver():
        life.train(10, away=False)
        until(lambda: epoch_there(life.there) == 10)
        keep_epoch(life.trial, 11)  # not sent: too soon after the last
    with life.driver():
        assert epoch_here(life.trial) == 11


def test_a_trial_that_could_not_be_fetched_is_fetched_by_the_next_driver_over_what_lies_here(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(remote: Remote, _folder: Path, _wanted: object) -> list[RemoteFile]:
        raise StorageError(f"{remote.url}: lost")

    monkeypatch.setattr(trials_away, "_WAITS_SECONDS", ())
    with life.driver():
        life.train(10, away=False)
    with life.driver():
        life.train(30, away=True)
        with monkeypatch.context() as patched:
            patched.setattr(trials_away, "pull", lost)
            life.end(30)
    assert life.trial.log.read_text() == "epoch 10"
    with life.driver():
        check_whole(life.trial, {30})


def test_what_a_trial_that_failed_before_its_first_epoch_left_elsewhere_comes_home(life: Life) -> None:
    with life.driver() as kept:
        place = life.begin(away=True)
        place.folder.error.write_text("ValueError: no such layer")
        place.finish()
        kept.on_away(life.trial.path, "")
        life.end(0)
    assert life.trial.error.read_text() == "ValueError: no such layer"
    assert life.trial.config.is_file()
    assert not life.trial.effective.exists()
    assert not life.trial.away.exists()


def test_where_nothing_arrived_of_a_trial_that_failed_its_folder_stays(life: Life) -> None:
    with life.driver() as kept:
        life.trial.path.mkdir(parents=True)
        life.trial.config.write_text("model: {}\n")
        kept.on_away(life.trial.path, "")
        life.end(0)
        assert life.trial.config.read_text() == "model: {}\n"
    assert {file.name for file in life.there.files()} == {"config.yaml"}


def test_a_worker_elsewhere_goes_on_from_all_that_was_done_here(life: Life) -> None:
    with life.driver():
        life.train(10, away=False)
        until(lambda: epoch_there(life.there) == 10)
        keep_epoch(life.trial, 20)  # not sent: too soon after the last
        assert epoch_here(life.begin(away=True).folder) == 20


def test_a_worker_elsewhere_begins_once_what_was_on_its_way_has_arrived(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrives, plain = Event(), HeldRemote.put

    def put(remote: HeldRemote, name: str, file: Path) -> None:
        if name == "trials/0007/last/state.json":
            assert arrives.wait(60)
        plain(remote, name, file)

    monkeypatch.setattr(HeldRemote, "put", put)
    with life.driver() as kept:
        life.train(20, away=False)
        for _ in range(50):
            assert not kept.before_begin(life.trial.path)
        arrives.set()
        life.train(21, away=True)
    assert epoch_there(life.there) == 21


@pytest.mark.parametrize(
    ("away", "does", "epoch"),
    [
        pytest.param(True, True, 11, id="the-worker-elsewhere-had-got-further"),
        pytest.param(False, True, 11, id="the-worker-here-had-got-further"),
        pytest.param(True, False, 10, id="nothing-was-done"),
    ],
)
@pytest.mark.parametrize("dies", [True, False], ids=["the-driver-is-killed", "the-driver-goes-on"])
def test_of_a_worker_that_ends_without_a_word_whatever_is_newest_stays(
    life: Life, monkeypatch: pytest.MonkeyPatch, away: bool, does: bool, epoch: int, dies: bool
) -> None:
    with killed(monkeypatch) if dies else monkeypatch.context(), life.driver():
        life.train(10, away=False)
        place = life.begin(away=away)
        if does:
            keep_epoch(place.folder, 11)
            place.finish()
        if not dies:
            life.end(10)
            assert not life.trial.away.exists()
    with life.driver():
        check_whole(life.trial, {epoch})
    assert epoch_there(life.there) == epoch


@pytest.mark.parametrize("told", [True, False], ids=["away-so-far", "here-so-far"])
@pytest.mark.parametrize("first", [True, False], ids=["silent-elsewhere", "silent-here"])
@pytest.mark.parametrize("second", [True, False], ids=["then-elsewhere", "then-here"])
def test_whoever_is_next_goes_on_from_what_a_worker_did_that_ended_without_a_word(
    life: Life, told: bool, first: bool, second: bool
) -> None:
    with life.driver():
        life.train(10, away=told)
        place = life.begin(away=first)
        keep_epoch(place.folder, 11)
        place.finish()
        assert epoch_here(life.begin(away=second).folder) == 11


def test_a_trial_is_handed_out_once_the_storage_is_back_and_until_then_it_is_told_why_not(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, plain = Event(), HeldRemote.put

    def put(remote: HeldRemote, name: str, file: Path) -> None:
        if lost.is_set():
            raise StorageError(f"{remote.url}: lost")
        plain(remote, name, file)

    monkeypatch.setattr(HeldRemote, "put", put)
    monkeypatch.setattr("tune_cnn.storage.pusher._SHORTEST_WAIT_SECONDS", 0.02)
    monkeypatch.setattr(trials_away, "_SECONDS_TO_LEAVE", 0.0)
    said: list[str] = []
    with kept_in_storage(life.run, life.url, said.append, seconds_between=0.02) as kept:
        assert kept is not None
        keep_epoch(life.trial, 10)
        lost.set()
        until(lambda: not kept.before_begin(life.trial.path) and len(said) == 2)
        assert kept.of(lambda _number: True, alone=True).before_begin(life.trial.path)  # who needs no storage
        lost.clear()
        until(lambda: kept.before_begin(life.trial.path))
    assert sum(text == f"{life.there.url}: is not all there yet; the trial goes on once it is" for text in said) == 1


def test_what_a_fetch_left_that_was_killed_goes_with_the_next_driver_or_worker(life: Life) -> None:
    def leave() -> list[Path]:
        left = [life.trial.path.parent / f".0007.abcd1234{end}" for end in (".part", ".old.part")]
        for folder in left:
            (folder / "last").mkdir(parents=True)
        return left

    left = leave()
    with life.driver():
        assert not any(folder.exists() for folder in left)
        left, other = leave(), life.trial.path.parent / ".0008.abcd1234.part"
        other.mkdir()
        life.begin(away=False)
        assert not any(folder.exists() for folder in left)
        assert other.exists()  # another worker's, who may be at it


def test_whatever_trials_machines_and_drivers_do_nothing_newer_is_lost(
    tmp_path: Path, shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # noqa: T201
    rng, config = random.Random(seed), trial_config(shapes)  # noqa: S311
    slow_down(monkeypatch, random.Random(seed))  # noqa: S311
    for number in range(5):
        life, newest = Life(tmp_path / f"{number}", config), 0
        for _ in range(5):
            with suppress(KilledError), some_end(monkeypatch, rng), life.driver():
                assert epoch_here(life.trial) == newest, (seed, number)
                for _ in range(rng.randrange(4)):
                    newest = stint(life, newest, rng)
        with life.driver():
            life.end(newest)
            assert epoch_here(life.trial) == newest, (seed, number)
        assert epoch_there(life.there) == newest, (seed, number)
        if newest:
            check_whole(life.trial, {newest})


def stint(life: Life, newest: int, rng: random.Random) -> int:
    """Let a worker take the trial up; it may be lost before a word, with an epoch done or without.

    Returns:
        The newest epoch of all.
    """
    place = life.begin(away=rng.random() < 0.5)
    assert epoch_here(place.folder) == newest
    if rng.random() < 0.3:
        return newest
    newest += 1
    keep_epoch(place.folder, newest)
    if rng.random() < 0.3:
        place.finish()
        return newest
    life.tell(place)
    if not place.is_away:  # and goes on
        for _ in range(rng.randrange(3)):
            newest += 1
            keep_epoch(place.folder, newest)
    return newest


def some_end(monkeypatch: pytest.MonkeyPatch, rng: random.Random) -> AbstractContextManager[object]:
    """Choose how a driver ends: in order, killed between two rounds, or in the middle of one."""
    match rng.randrange(3):
        case 0:
            return monkeypatch.context()
        case 1:
            return killed(monkeypatch)
        case _:
            return killed(monkeypatch, after_writes=rng.randrange(1, 40))


def slow_down(monkeypatch: pytest.MonkeyPatch, rng: random.Random) -> None:
    """Let what drivers send, and nothing else, be on its way for a while; they send every state."""
    plain = HeldRemote.put

    def put(remote: HeldRemote, name: str, file: Path) -> None:
        time.sleep(rng.random() * 0.01)
        plain(remote, name, file)

    monkeypatch.setattr(HeldRemote, "put", put)
    monkeypatch.setattr("tune_cnn.storage.mirror.SECONDS_BETWEEN_STATES", 0.0)
