"""A trial of a run in a storage, on one machine and then on the next."""

import math
import time
from pathlib import Path
from uuid import uuid4

import pytest

from tests.conftest import trial_config
from tests.storage.test_mirror import check_whole, keep_state
from tune_cnn.data.cache import Cache
from tune_cnn.errors import StorageError, UnreachedTrialError
from tune_cnn.results.failures import Failure, failure_of
from tune_cnn.results.records import EpochRecord, RunFolder, TrialFolder
from tune_cnn.storage.mirror import Mirror
from tune_cnn.storage.place import Share, TrialPlace, machine_id, trial_place
from tune_cnn.storage.pull import epoch_here, epoch_there
from tune_cnn.storage.remote import Remote
from tune_cnn.trial import run_trial


@pytest.fixture
def share(tmp_path: Path) -> Share:
    return Share(f"memory://bucket-{uuid4().hex}/runs/made", tmp_path / "driver" / "run", home="another machine")


class GoneError(Exception):
    """The machine is taken away."""


def train(place: TrialPlace, shapes: Path, cache: Cache, *, dies_after: int = 99, epochs: int = 2) -> list[EpochRecord]:
    told: list[EpochRecord] = []

    def on_epoch(epoch: EpochRecord, *_rest: object) -> None:
        place.after_epoch()
        told.append(epoch)
        if epoch.epoch == dies_after:
            raise GoneError

    training = {"epochs": epochs, "batch_size": 8, "optimizer": {"kind": "adam", "lr": 1e-3}}
    config = trial_config(shapes, training=training)
    try:
        run_trial(config, place.folder, metric="val_accuracy", cache=cache, on_epoch=on_epoch)
        place.finish()
    except GoneError:
        pass
    return told


def test_a_trial_goes_on_on_another_machine_from_what_the_first_one_sent(
    shapes: Path, cache: Cache, tmp_path: Path, share: Share
) -> None:
    folder, config = RunFolder(share.run).trial(7).path, trial_config(shapes)
    whole = train(trial_place(tmp_path / "alone", config, None, cache.folder), shapes, cache)
    machines = [Cache(tmp_path / name) for name in ("one", "two")]
    first = trial_place(folder, config, share, machines[0].folder, clock=lambda: 0.0)
    train(first, shapes, cache, dies_after=1)
    second = trial_place(folder, config, share, machines[1].folder, clock=lambda: 0.0)
    assert first.folder.path.is_relative_to(tmp_path / "one")
    assert second.folder.path.is_relative_to(tmp_path / "two")
    rest = train(second, shapes, cache)
    assert [epoch.epoch for epoch in rest] == [1, 2]  # the past is told again
    assert [epoch.score for epoch in rest] == [epoch.score for epoch in whole]
    assert "goes on after epoch 1" in second.folder.log.read_text()
    assert epoch_there(share.remote(folder)) == 2
    names = {file.name for file in share.remote(folder).files()}
    assert {"config.yaml", "effective.yaml", "trial.log", "last/state.json", "best.json"} <= names


def test_the_drivers_machine_takes_up_what_another_one_sent(shapes: Path, cache: Cache, tmp_path: Path) -> None:
    away = Share(f"memory://bucket-{uuid4().hex}/runs/made", tmp_path / "run", home="another machine")
    home = Share(away.url, away.run, home=machine_id())
    folder, config = RunFolder(away.run).trial(0), trial_config(shapes)
    keep_state(folder, 1)
    there = trial_place(folder.path, config, away, tmp_path / "one")
    keep_state(there.folder, 2)
    there.finish()
    here = trial_place(folder.path, config, home, cache.folder)
    assert here.folder == folder
    check_whole(folder, {2})
    keep_state(folder, 3)
    trial_place(folder.path, config, home, cache.folder)
    check_whole(folder, {3})  # what is here is newer


def test_what_the_driver_cannot_see_is_told_once(shapes: Path, cache: Cache, share: Share) -> None:
    folder, config = RunFolder(share.run).trial(0).path, trial_config(shapes)
    place = trial_place(folder, config, share, cache.folder)
    place.folder.effective.write_text("phase: warm_up\n")
    assert place.after_epoch() == "phase: warm_up\n"
    assert place.after_epoch() is None
    place.folder.effective.write_text("phase: train\n")
    assert place.after_epoch() == "phase: train\n"
    assert trial_place(folder, config, None, cache.folder).after_epoch() is None


def test_sending_takes_a_small_share_of_the_time(shapes: Path, cache: Cache, share: Share) -> None:
    now = 0.0

    class Slow(TrialPlace):
        sends = 0

        def _send(self) -> bool:
            nonlocal now
            Slow.sends += 1
            began, now = now, now + 2.0
            self._due = now + (now - began) / 0.05
            return True

    made = trial_place(RunFolder(share.run).trial(0).path, trial_config(shapes), share, cache.folder, clock=lambda: now)
    place = Slow(made.folder, made._mirror, lambda: now)
    place.folder.effective.write_text("x")
    for _ in range(100):
        place.after_epoch()
        now += 1.0
    assert Slow.sends == 3
    place.finish()


def test_what_was_not_sent_before_a_stop_is_sent_soon_after(
    shapes: Path, cache: Cache, share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune_cnn.storage.place._LONGEST_REST_SECONDS", 0.05)
    folder = RunFolder(share.run).trial(0)
    place = trial_place(folder.path, trial_config(shapes), share, cache.folder)
    place.folder.effective.write_text("x")
    keep_state(place.folder, 1)
    place.after_epoch()
    place._due = float("inf")  # as if that had taken long
    keep_state(place.folder, 2)
    place.after_epoch()  # and nothing more is heard of the trial
    deadline = time.monotonic() + 30
    while epoch_there(share.remote(folder.path)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_trial_goes_on_while_the_storage_is_lost(
    shapes: Path, cache: Cache, share: Share, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = RunFolder(share.run).trial(0)
    place = trial_place(folder.path, trial_config(shapes), share, cache.folder, clock=lambda: 0.0)

    def lost(_self: Remote, name: str, _file: Path) -> None:
        raise StorageError(f"{name}: lost")

    keep_state(place.folder, 1)
    place.folder.effective.write_text("x")
    with monkeypatch.context() as patched:
        patched.setattr(Remote, "put", lost)
        assert place.after_epoch() == "x"
        assert "lost; kept here meanwhile" in caplog.text
        patched.setattr("tune_cnn.storage.place.time.sleep", lambda _seconds: patched.undo())
        place.finish()  # the driver looks for it next, so that it waits until the storage is back
    assert epoch_there(share.remote(folder.path)) == 1


class Lost:
    """A storage that does not answer for so many questions."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, questions: float) -> None:
        self.left, self._plain = questions, Remote.read
        self.slept: list[float] = []

        def read(remote: Remote, name: str) -> bytes | None:
            return self.read(remote, name)

        monkeypatch.setattr(Remote, "read", read)
        monkeypatch.setattr("tune_cnn.storage.place.time.sleep", self.slept.append)

    def read(self, remote: Remote, name: str) -> bytes | None:
        self.left -= 1
        if self.left >= 0:
            raise StorageError(f"{remote.url}: lost")
        return self._plain(remote, name)


@pytest.mark.parametrize("at_home", [True, False], ids=["on-the-drivers-machine", "on-another"])
@pytest.mark.parametrize(
    ("here", "told", "questions", "begins"),
    [
        pytest.param(2, 2, math.inf, 2, id="all-that-was-told-is-here"),
        pytest.param(0, 0, math.inf, 0, id="a-new-one"),
        pytest.param(2, 3, 3, 3, id="more-is-there-and-it-comes-back"),
        pytest.param(0, 3, 3, 3, id="all-is-there-and-it-comes-back"),
        pytest.param(2, 3, math.inf, None, id="more-is-there-and-it-does-not"),
    ],
)
def test_a_trial_begins_without_the_storage_only_if_that_has_no_more_of_it(
    tmp_path: Path,
    shapes: Path,
    monkeypatch: pytest.MonkeyPatch,
    at_home: bool,
    here: int,
    told: int,
    questions: float,
    begins: int | None,
) -> None:
    home = machine_id() if at_home else "another machine"
    share = Share(f"memory://bucket-{uuid4().hex}/runs/made", tmp_path / "driver" / "run", home)
    trial, config = RunFolder(share.run).trial(0), trial_config(shapes)
    if here:
        place = trial_place(trial.path, config, share, tmp_path / "cache")
        keep_state(place.folder, here)
    if told:
        sent = TrialFolder(tmp_path / "sent")
        keep_state(sent, told)
        Mirror(sent.path, share.remote(trial.path)).send()
    lost = Lost(monkeypatch, questions)
    if begins is None:
        with pytest.raises(
            UnreachedTrialError, match=r"what it did up to epoch 3 lies in a storage that does not answer: memory://"
        ):
            trial_place(trial.path, config, share, tmp_path / "cache", told_epochs=told)
        assert sum(lost.slept) > 120
    else:
        place = trial_place(trial.path, config, share, tmp_path / "cache", told_epochs=told)
        assert epoch_here(place.folder) == begins
        assert bool(lost.slept) == (begins != here)


def test_that_the_storage_does_not_answer_is_no_fault_of_the_trial() -> None:
    assert failure_of(UnreachedTrialError("no answer")) == Failure("UnreachedTrialError: no answer", "storage")
