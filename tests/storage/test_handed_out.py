"""A trial is handed out to a worker that may be anywhere, and may end without a word: no two machines send it."""

import random
import time
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from threading import Event

import pytest

from tests.conftest import trial_config
from tests.storage.life import KilledError, Life, keep_epoch, killed, until
from tests.storage.test_mirror import check_whole
from tune_cnn.errors import StorageError
from tune_cnn.search import trials_away
from tune_cnn.search.kept import kept_in_storage
from tune_cnn.storage.claim import HeldRemote
from tune_cnn.storage.pull import epoch_here, epoch_there
from tune_cnn.storage.remote import Remote

SEED = 0


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


def test_what_a_silent_worker_did_is_fetched_by_the_next_driver_if_the_storage_is_lost_just_then(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(remote: Remote, _name: str) -> bytes | None:
        raise StorageError(f"{remote.url}: lost")

    monkeypatch.setattr(trials_away, "_WAITS_SECONDS", ())
    with life.driver():
        life.train(10, away=True)
        keep_epoch(life.begin(away=False).folder, 11)
    with life.driver():
        place = life.begin(away=True)
        keep_epoch(place.folder, 12)
        place.finish()
        with monkeypatch.context() as patched:
            patched.setattr(Remote, "read", lost)
            life.end(11)
        assert epoch_here(life.trial) == 11
    with life.driver():
        check_whole(life.trial, {12})


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
    rng, config = random.Random(SEED), trial_config(shapes)  # noqa: S311
    slow_down(monkeypatch, random.Random(SEED))  # noqa: S311
    for number in range(5):
        life, newest = Life(tmp_path / f"{number}", config), 0
        for _ in range(5):
            with suppress(KilledError), some_end(monkeypatch, rng), life.driver():
                assert epoch_here(life.trial) == newest, number
                for _ in range(rng.randrange(4)):
                    newest = stint(life, newest, rng)
        with life.driver():
            life.end(newest)
            assert epoch_here(life.trial) == newest, number
        assert epoch_there(life.there) == newest, number
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
