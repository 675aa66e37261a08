"""What a search must survive: kills at any moment, trials that fail late, folders that move, disks that fill."""

import itertools
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.full_disk import full_disk
from tests.search.driving import (
    WEIGHTS,
    drive,
    epoch_of,
    facts_of,
    go_on,
    keep_weights,
    made_space,
    open_session,
    start,
)
from tune_cnn.config import TrialConfig
from tune_cnn.errors import StoreError
from tune_cnn.results.records import RunFolder, Scalar
from tune_cnn.search.jobs import Job
from tune_cnn.search.session import SearchSession
from tune_cnn.search.study import Study
from tune_cnn.sections.search import SearchConfig
from tune_cnn.space.nodes import Drawn, Suggest
from tune_cnn.space.schema import Parameter, Space
from tune_cnn.yaml_files import load_model

NO_ASHA = ("search.asha=null", "training.epochs=2")


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def opened(run: RunFolder, *overrides: str, **options: object) -> SearchSession:
    return open_session(made_space(run.path.parent, overrides=overrides), run, **options)


def finish(session: SearchSession, job: Job, score: float) -> None:
    """Run a trial to its end, with one score from its first epoch on."""
    for epoch in range(len(session.running[job.number].epochs) + 1, job.config.training.epochs + 1):
        assert go_on(session, job, epoch, score)
    session.on_end(job.number, None)


# --- weights ----------------------------------------------------------------------------------------------------------


def test_running_trials_that_fail_in_the_end_have_displaced_nobodys_weights(run: RunFolder) -> None:
    session = opened(run, *NO_ASHA, "search.keep=2")
    for score in (0.3, 0.2):
        finish(session, start(session), score)
    promising = [start(session), start(session)]
    for job in promising:
        assert go_on(session, job, 1, 0.9)
    finish(session, start(session), 0.1)  # its end is when losers are pruned
    for job in promising:
        session.on_end(job.number, "RuntimeError: died late")
    assert [record.trial for record in session.kept()] == [0, 1]
    assert all((run.trial(number).best / "model.safetensors").is_file() for number in (0, 1))
    assert run.best.resolve() == run.trial(0).best.resolve()


def test_best_is_a_running_trials_model_while_that_leads(run: RunFolder) -> None:
    session = opened(run, *NO_ASHA)
    finish(session, start(session), 0.3)
    job = start(session)
    go_on(session, job, 1, 0.9)
    assert run.best.resolve() == run.trial(job.number).best.resolve()


def test_where_no_trial_has_a_model_there_is_no_best(run: RunFolder) -> None:
    session = opened(run)
    job = start(session)
    go_on(session, job, 1, 0.9)
    session.on_end(job.number, "RuntimeError: died late")
    assert not run.best.is_symlink()
    assert not list(run.trial(job.number).path.glob(".best-*"))


def test_what_kills_left_in_trial_folders_goes_when_they_end(run: RunFolder) -> None:
    session = opened(run, *NO_ASHA, "search.keep=1")
    for score in (0.2, 0.3):
        job = start(session)
        for stale in (".best-00007-0123abcd", "..best-00001-0123abcd.xy.part", "last"):
            (job.folder / stale).mkdir()
        finish(session, job, score)
    left = [{path.name[:12] for path in run.trial(number).path.iterdir()} for number in (0, 1)]
    assert left == [{"config.yaml", "effective.ya"}, {"config.yaml", "effective.ya", "best", ".best-00002-"}]


def test_losers_of_a_driver_that_was_killed_before_it_pruned_are_pruned_by_the_next(run: RunFolder) -> None:
    session = opened(run, *NO_ASHA, "search.keep=1")
    for score in (0.2, 0.3):
        finish(session, start(session), score)
    keep_weights(session, 0)
    opened(run, *NO_ASHA, "search.keep=1")
    assert not run.trial(0).best.exists()
    assert run.trial(1).best.exists()


# --- kills ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class InterruptedSpace(Space):
    """A space in which Ctrl-C comes after so many values were drawn."""

    values_before: int = 0

    def draw(self, suggest: Suggest) -> Drawn:
        left = iter(range(self.values_before))

        def suggest_or_die(parameter: Parameter) -> Scalar:
            if next(left, None) is None:
                raise KeyboardInterrupt
            return suggest(parameter)

        return super().draw(suggest_or_die)


@pytest.mark.parametrize("values", [0, 2, None], ids=["before-any-value", "after-two-values", "after-all-values"])
def test_a_kill_before_a_trials_config_was_written_costs_nothing(run: RunFolder, values: int | None) -> None:
    few = ("search.trials=4", "search.random_trials=2", "training.epochs=2")
    whole = opened(RunFolder(run.path.parent / "whole"), *few)
    drive(whole)

    space = made_space(run.path.parent, overrides=few)
    drive(opened(run, *few), most=2)
    study = Study.open(run.study, space.search)
    if values is None:
        study.ask(space)
    else:
        with pytest.raises(KeyboardInterrupt):
            study.ask(InterruptedSpace(space.path, space.base_dir, space.search, space.root, values))
    drive(opened(run, *few))
    assert run.leaderboard.read_text() == whole.run.leaderboard.read_text()
    assert load_model(run.trial(2).config, TrialConfig).training.epochs == 2


@pytest.mark.parametrize("running", [1, 2], ids=["one-running", "two-running"])
def test_a_trial_that_tells_of_its_past_again_is_not_judged_again(run: RunFolder, running: int) -> None:
    dead = opened(run)
    jobs = [start(dead) for _ in range(2)][:running]
    for job in jobs:
        assert go_on(dead, job, 1, 0.2 + job.number / 100)  # passes its first rung, as there is nobody to compare with
    if running == 1:
        dead.on_end(1, "RuntimeError: gone")
    better = [start(dead) for _ in range(3)]
    for job in better:
        go_on(dead, job, 1, 0.9)

    session = opened(run)
    for job in jobs:
        again = start(session)
        assert again.number == job.number
        assert session.on_epoch(again.number, epoch_of(1, 0.2 + job.number / 100), facts_of(again), None)
        assert go_on(session, again, 2, 0.3)


def test_a_trial_that_was_to_be_stopped_when_the_driver_died_is_closed_as_stopped(run: RunFolder) -> None:
    dead = opened(run)
    for _ in range(2):
        assert go_on(dead, start(dead), 1, 0.9)
    assert not go_on(dead, start(dead), 1, 0.1)

    session = opened(run)
    record = session.records[2]
    assert (record.state, record.reason) == ("stopped", "ASHA: not among the best 1/3 at epoch 1")
    assert [start(session).number for _ in range(3)] == [0, 1, 3]


def test_a_trial_taken_up_finds_images_and_weights_where_they_lie_now(run: RunFolder) -> None:
    job = start(opened(run))
    moved = made_space(run.path.parent, overrides=("data.root=elsewhere",))
    study = Study.open(run.study, moved.search)
    files = dict.fromkeys(WEIGHTS, run.path / "moved.safetensors")
    again = SearchSession(moved, study, run, weights_files=files, data="d" * 64).propose()
    assert again is not None
    assert again.number == job.number
    written = load_model(run.trial(job.number).config, TrialConfig)
    assert written == again.config
    assert Path(written.data.root).name == "elsewhere"
    assert written.model.weights_file == str(run.path / "moved.safetensors")


def test_an_epoch_that_came_out_otherwise_after_its_checkpoint_was_lost_replaces_the_old_one(run: RunFolder) -> None:
    dead = opened(run)
    job = start(dead)
    go_on(dead, job, 1, 0.2)
    session = opened(run)
    start(session)
    assert go_on(session, job, 1, 0.25)
    assert [epoch.score for epoch in session.records[0].epochs] == [0.25]
    assert [epoch.score for epoch in opened(run).records[0].epochs] == [0.25]


# --- judgement --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resumed", [False, True], ids=["live", "resumed"])
def test_failed_trials_are_no_measure_for_others_whether_resumed_or_not(run: RunFolder, resumed: bool) -> None:
    session = opened(run)
    for number in range(3):
        job = start(session)
        go_on(session, job, 1, 0.9)
        session.on_end(job.number, f"DivergedError: {number}")
    if resumed:
        session = opened(run)
    # Two scores on the rung do not suffice to stop anybody; with those of the failed there would be five.
    assert go_on(session, start(session), 1, 0.2)
    assert go_on(session, start(session), 1, 0.1)


# --- time -------------------------------------------------------------------------------------------------------------


def test_the_time_of_earlier_drivers_counts(run: RunFolder) -> None:
    now = [0.0]
    first = opened(run, "search.hours=1", clock=lambda: now[0])
    go_on(first, start(first), 1, 0.5)
    now[0] = 3000.0
    go_on(first, start(first), 1, 0.5)  # and killed

    now[0] = 100_000.0  # the time between two drivers is nobody's
    second = opened(run, "search.hours=1", clock=lambda: now[0])
    assert second.budget.seconds_left == pytest.approx(600)
    assert second.propose() is not None
    now[0] += 601
    assert second.propose() is None
    assert second.spent == "the time budget of 1 hours is spent; write --hours N for more"
    assert opened(run, "search.hours=2", clock=lambda: now[0]).propose() is not None


# --- the store --------------------------------------------------------------------------------------------------------


def test_a_study_that_breaks_in_mid_search_is_an_error_of_the_store(run: RunFolder) -> None:
    session = opened(run)
    job = start(session)
    go_on(session, job, 1, 0.4)
    with sqlite3.connect(run.study) as db:
        db.execute("DROP TABLE trial_user_attributes")
    with pytest.raises(StoreError, match=r"study\.db: cannot be read or written: OperationalError: no such table"):
        session.on_end(job.number, None)


def test_epochs_that_come_in_a_rush_are_kept_together_with_what_comes_next(run: RunFolder) -> None:
    """Each write waits for the disk; what a killed driver had not written, its trial's checkpoint tells again."""
    now = [0.0]
    session = opened(run, clock=lambda: now[0])
    job = start(session)
    for epoch in (1, 2, 3):
        go_on(session, job, epoch, epoch / 10)
        now[0] += 0.01

    def kept() -> list[int]:
        (record,) = Study.read(run.study, SearchConfig()).records()
        return [epoch.epoch for epoch in record.epochs]

    assert kept() == [1]
    now[0] += 0.1
    go_on(session, job, 4, 0.4)
    assert kept() == [1, 2, 3, 4]
    go_on(session, job, 5, 0.5)
    session.on_end(job.number, None)
    assert kept() == [1, 2, 3, 4, 5]


def test_a_full_disk_ends_the_search_and_costs_no_more_than_the_epoch_that_found_it_full(run: RunFolder) -> None:
    seconds = itertools.count()
    session = opened(run, *NO_ASHA, clock=lambda: float(next(seconds)))  # no epoch comes in a rush
    finish(session, start(session), 0.3)
    job = start(session)
    go_on(session, job, 1, 0.4)
    with full_disk(), pytest.raises(StoreError, match=r"study\.db: cannot be read or written"):
        session.on_epoch(job.number, epoch_of(2, 0.5), facts_of(job), None)
    again = opened(run, *NO_ASHA)
    assert [(record.state, len(record.epochs)) for record in again.records.values()] == [
        ("complete", 2),
        ("running", 1),
    ]
    finish(again, start(again), 0.5)
    assert [record.trial for record in again.kept()] == [1, 0]


def test_a_copied_run_folder_goes_on_elsewhere(run: RunFolder) -> None:
    drive(opened(run), most=2)
    moved = RunFolder(run.path.parent / "moved")
    shutil.copytree(run.path, moved.path, symlinks=True)
    session = opened(moved)
    drive(session, most=1)
    assert len(session.records) == 3
