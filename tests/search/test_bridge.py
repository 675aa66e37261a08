import itertools
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.search.driving import begin, epoch_of, facts_of, made_space, open_session, tell_read_back
from tune_cnn.errors import ChangedDataError, RunFolderError, StoreError
from tune_cnn.results.effective import write_effective
from tune_cnn.results.failures import Failure
from tune_cnn.results.records import RunFolder
from tune_cnn.search.bridge import Bridge, epoch_message, failure_message
from tune_cnn.search.jobs import Job
from tune_cnn.search.session import SearchSession
from tune_cnn.yaml_files import read_yaml


@pytest.fixture
def session(tmp_path: Path) -> SearchSession:
    seconds = itertools.count()  # between any two epochs: none is in a rush
    return open_session(made_space(tmp_path), RunFolder(tmp_path / "run"), clock=lambda: float(next(seconds)))


@pytest.fixture
def bridge(session: SearchSession) -> Bridge:
    return Bridge(session, lambda: 8)


def started(bridge: Bridge, session: SearchSession, key: str) -> Job:
    job = bridge.propose(key)
    assert job is not None
    begin(session, job)
    assert bridge.on_message(key, epoch_message(epoch_of(1, 0.5), facts_of(job), None))
    return job


def test_an_epoch_arrives_as_it_was_told(bridge: Bridge, session: SearchSession) -> None:
    job = started(bridge, session, "a")
    assert session.records[0].epochs == (epoch_of(1, 0.5),)
    assert session.records[0].facts == facts_of(job)


@pytest.mark.parametrize(
    ("held", "seen", "says"),
    [
        pytest.param({}, {}, "", id="as-handed-out"),
        pytest.param({"training.batch_size": 9}, {}, "training.batch_size is 32 in the config", id="another-value"),
        pytest.param({}, {"frozen_units": 99}, "units were to be frozen, but 99 stand still", id="another-depth"),
    ],
)
def test_what_a_worker_tells_of_its_live_objects_is_compared_though_the_driver_cannot_read_the_file(
    bridge: Bridge, session: SearchSession, held: dict[str, Any], seen: dict[str, Any], says: str
) -> None:
    job = bridge.propose("a")
    assert job is not None
    observed = {"phase": "train", "frozen_units": facts_of(job).frozen_units, **seen}
    told = write_effective(job.folder / "elsewhere.yaml", job.config, live=held, observed=observed)
    assert told == read_yaml(job.folder / "elsewhere.yaml").tree
    goes_on = bridge.on_message("a", epoch_message(epoch_of(1, 0.5), facts_of(job), None, read_back=told))
    assert goes_on is not bool(says)
    assert says in session.running[0].stop_reason


def test_what_was_told_of_one_phase_is_not_taken_for_the_next(tmp_path: Path) -> None:
    space = made_space(tmp_path, overrides=("training.warm_up={epochs: 1}", "search.asha=null"))
    session = open_session(space, RunFolder(tmp_path / "run"))
    bridge = Bridge(session, lambda: 8)
    job = bridge.propose("a")
    assert job is not None
    facts = facts_of(job)
    told = tell_read_back(session, job, phase="warm_up", frozen_units=facts.units)
    assert bridge.on_message("a", epoch_message(epoch_of(1, 0.1, "warm_up"), facts, None, read_back=told))
    tell_read_back(session, job, frozen_units=facts.units)  # nothing thawed, says the file
    assert not bridge.on_message("a", epoch_message(epoch_of(2, 0.2), facts, None))
    assert f"{facts.units} stand still" in session.running[0].stop_reason


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        pytest.param(Failure("ValueError: wrong"), "ValueError: wrong", id="an-error"),
        pytest.param(Failure("MemoryError: 8 GiB"), "MemoryError: 8 GiB", id="memory"),
    ],
)
@pytest.mark.parametrize("raised", [True, False], ids=["its-worker-raises", "its-worker-goes-on"])
def test_a_failed_trial_has_the_reason_that_its_worker_told(
    bridge: Bridge, session: SearchSession, told: Failure, reason: str, raised: bool
) -> None:
    started(bridge, session, "a")
    bridge.on_message("a", failure_message(told))
    bridge.on_end("a", failed=raised)
    assert (session.records[0].state, session.records[0].reason) == ("failed", reason)
    assert bridge.broken is None


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        pytest.param(Failure("OSError: [Errno 28] No space left on device", "store"), StoreError, id="full-disk"),
        pytest.param(Failure("ChangedDataError: images have changed", "data"), ChangedDataError, id="other-images"),
    ],
)
def test_what_would_strike_any_trial_ends_the_search_and_leaves_the_trial_open(
    bridge: Bridge, session: SearchSession, told: Failure, kind: type[Exception]
) -> None:
    for key in "ab":
        started(bridge, session, key)
    bridge.on_message("a", failure_message(told))
    bridge.on_end("a", failed=True)
    assert isinstance(bridge.broken, kind)
    assert told.reason.partition(": ")[2] in str(bridge.broken)
    assert bridge.propose("c") is None
    assert not bridge.on_message("b", epoch_message(epoch_of(2, 0.6), facts_of(session.running[1].job), None))
    bridge.on_end("b", failed=False)
    again = open_session(session.space, session.run)
    assert [record.state for record in again.records.values()] == ["running", "running"]


def test_a_trial_that_a_machine_is_not_fit_for_runs_on_another(session: SearchSession) -> None:
    shunned: set[str] = set()
    bridge = Bridge(session, lambda: 8, shunned=shunned)
    for time in range(5):  # more often than a trial is tried again that lost its worker
        job = bridge.propose(f"{time}")
        assert job is not None
        assert job.number == 0
        bridge.on_message(f"{time}", failure_message(Failure("two: torch 2.14", "machine", f"id-{time % 2}")))
        bridge.on_end(f"{time}", failed=True)
    assert shunned == {"id-0", "id-1"}
    assert session.records[0].state == "running"
    assert not bridge.broken


class Ending:
    """Knows of something that ends the search."""

    def check(self) -> None:
        raise RunFolderError("the run is another driver's")

    def on_away(self, _folder: Path, _effective: str) -> None: ...

    def on_home(self, _folder: Path) -> None: ...

    def before_begin(self, _folder: Path) -> bool:
        return True

    def before_end(self, _number: int, _folder: Path, _epoch: int) -> bool:
        return True


class Coming(Ending):
    """Whatever has ended is on its way for a while."""

    looks = 0

    def check(self) -> None: ...

    def before_end(self, _number: int, _folder: Path, epoch: int) -> bool:
        assert epoch == 1
        self.looks += 1
        return self.looks > 2


def test_a_trial_has_ended_once_it_is_here(tmp_path: Path) -> None:
    session = open_session(made_space(tmp_path, overrides=("search.trials=1",)), RunFolder(tmp_path / "run"))
    bridge = Bridge(session, lambda: 8, Coming())
    started(bridge, session, "a")
    bridge.on_end("a", failed=False)
    assert bridge.propose("b") is None
    states, overs = [session.records[0].state], [bridge.over]
    assert bridge.propose("c") is None
    assert [*states, session.records[0].state] == ["running", "complete"]
    assert [*overs, bridge.over] == [False, True]


class Places(Coming):
    """Keeps what is told of where workers are."""

    looks = 2

    def __init__(self) -> None:
        self.told: list[tuple[str, str | None]] = []

    def on_away(self, folder: Path, effective: str) -> None:
        self.told.append((folder.name, effective))

    def on_home(self, folder: Path) -> None:
        self.told.append((folder.name, None))


def test_where_a_worker_is_is_told_with_its_first_message_each_time(session: SearchSession) -> None:
    places = Places()
    bridge = Bridge(session, lambda: 8, places)
    job = started(bridge, session, "a")  # here
    bridge.on_message("a", epoch_message(epoch_of(2, 0.6), facts_of(job), None))
    bridge.on_end("a", failed=True)
    assert bridge.propose("b") is not None
    for number, effective in enumerate(["phase: train\n", None, "phase: fit\n"], start=1):  # on another machine
        bridge.on_message("b", epoch_message(epoch_of(number, 0.5), facts_of(job), None, effective))
    bridge.on_end("b", failed=True)
    assert bridge.propose("c") is not None
    bridge.on_message("c", epoch_message(epoch_of(1, 0.5), facts_of(job), None))  # here again
    assert not bridge.on_message("b", epoch_message(epoch_of(3, 0.5), facts_of(job), None, "of one given up\n"))
    assert places.told == [("0000", None), ("0000", "phase: train\n"), ("0000", "phase: fit\n"), ("0000", None)]


@pytest.mark.parametrize(
    ("away", "told"),
    [
        pytest.param(True, [("0000", "")], id="on-another-machine"),
        pytest.param(False, [("0000", None)], id="here"),
        pytest.param(None, [], id="before-it-had-a-folder"),
    ],
)
def test_a_failure_tells_where_the_worker_was_too(
    session: SearchSession, away: bool | None, told: list[tuple[str, str | None]]
) -> None:
    places = Places()
    bridge = Bridge(session, lambda: 8, places)
    assert bridge.propose("a") is not None
    bridge.on_message("a", failure_message(Failure("ValueError: wrong"), away=away))
    assert places.told == told


def test_a_trial_whose_checkpoint_is_out_of_reach_waits_as_long_as_it_takes(tmp_path: Path) -> None:
    told: list[str] = []
    session = open_session(made_space(tmp_path), RunFolder(tmp_path / "run"), on_event=told.append)
    bridge = Bridge(session, lambda: 8)
    started(bridge, session, "a")
    bridge.on_end("a", failed=True)
    for key in "bcdefg":  # more often than a trial is tried again that lost its worker
        job = bridge.propose(key)
        assert job is not None
        assert (job.number, job.told_epochs) == (0, 1)
        bridge.on_message(key, failure_message(Failure("UnreachedTrialError: no answer", "storage")))
        bridge.on_end(key, failed=True)
    assert session.records[0].state == "running"
    assert told[-1] == "trial 0 waits (no answer)"
    assert bridge.broken is None


class Sending(Coming):
    """What lies here of some trials is on its way to the storage."""

    def __init__(self) -> None:
        self.on_their_way = {"0000", "0001"}

    def before_begin(self, folder: Path) -> bool:
        return folder.name not in self.on_their_way


def test_a_trial_that_is_on_its_way_keeps_its_slot_for_a_while_and_goes_first_once_it_may(tmp_path: Path) -> None:
    now, sending = 0.0, Sending()
    session = open_session(made_space(tmp_path), RunFolder(tmp_path / "run"))
    bridge = Bridge(session, lambda: 2, sending, clock=lambda: now)
    keys = map(str, itertools.count())

    def numbers() -> list[int]:
        jobs = (bridge.propose(next(keys)) for _ in range(5))
        return [job.number for job in jobs if job is not None]

    assert numbers() == []  # two have been drawn, for two slots
    assert sorted(session.running) == [0, 1]
    sending.on_their_way = {"0000"}
    assert numbers() == [1]
    now = 59.0
    assert numbers() == []
    now = 61.0
    assert numbers() == [2]
    assert not bridge.over
    sending.on_their_way = set()
    assert numbers() == []  # no slot is free
    bridge.on_end(bridge.running[-1], failed=True)
    assert numbers() == [0]


def test_a_run_that_has_become_another_drivers_ends_the_search(session: SearchSession) -> None:
    bridge = Bridge(session, lambda: 8, Ending())
    with pytest.raises(RunFolderError):
        bridge.propose("a")
    assert isinstance(bridge.broken, RunFolderError)
    assert bridge.propose("b") is None


def test_what_a_worker_left_in_its_log_says_more_than_that_it_was_lost(tmp_path: Path) -> None:
    told: list[str] = []
    session = open_session(made_space(tmp_path), RunFolder(tmp_path / "run"), on_event=told.append)
    bridge = Bridge(session, lambda: 8)
    log = started(bridge, session, "a").folder / "trial.log"
    log.write_text("Fatal Python error: Aborted\n\nThread 0x1 (most recent call first):\n")
    bridge.on_end("a", failed=True)
    lost = "trial 0 lost its worker (crashed: Aborted; stack in trial.log), goes on from epoch 2 (1 of 3)"
    assert told[-1] == lost
    assert bridge.propose("b") is not None
    bridge.on_end("b", failed=True)
    assert told[-1].startswith("trial 0 lost its worker (killed, or out of memory), "), "the log is as it was"


def test_a_study_that_breaks_ends_the_search_though_the_executor_swallows_the_error(
    bridge: Bridge, session: SearchSession
) -> None:
    job = started(bridge, session, "a")
    with sqlite3.connect(session.run.study) as db:
        db.execute("DROP TABLE trial_user_attributes")
    with pytest.raises(StoreError):
        bridge.on_message("a", epoch_message(epoch_of(2, 0.6), facts_of(job), None))
    bridge.on_end("a", failed=True)  # the executor blames the trial
    assert isinstance(bridge.broken, StoreError)
    assert bridge.propose("b") is None
