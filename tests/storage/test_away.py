"""Trials that go from machine to machine while drivers come and go: whoever has the newest is never overwritten."""

from pathlib import Path

import pytest

from tests.storage.life import Life, keep_epoch, killed, until
from tests.storage.test_mirror import check_whole
from tune_cnn.errors import StorageError
from tune_cnn.search import trials_away
from tune_cnn.storage.pull import epoch_here, epoch_there
from tune_cnn.storage.remote import Remote, RemoteFile


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
