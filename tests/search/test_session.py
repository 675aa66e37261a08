import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.search.driving import (
    begin,
    drive,
    epoch_of,
    facts_of,
    go_on,
    made_space,
    open_session,
    rising,
    start,
    tell_read_back,
)
from tests.space.made import space_of
from tune_cnn.results.records import RunFolder, Scalar
from tune_cnn.search.session import SearchSession
from tune_cnn.search.study import Study


@pytest.fixture
def session(tmp_path: Path) -> SearchSession:
    return open_session(made_space(tmp_path), RunFolder(tmp_path / "run"))


def table(session: SearchSession) -> pd.DataFrame:
    return pd.read_csv(session.run.leaderboard)


def test_the_budget_of_trials_is_reached_and_not_passed(session: SearchSession) -> None:
    assert drive(session) == 12
    assert session.propose() is None
    assert len(table(session)) == 12


def test_the_first_trial_is_the_defaults(session: SearchSession) -> None:
    job = session.propose()
    assert job is not None
    defaults = session.space.draw(lambda parameter: parameter.default).named
    assert list(session.records[0].values.values()) == list(defaults.values())
    assert session.records[0].values["training.schedule.kind"] == "plateau"


def test_stopped_trials_keep_their_curve_and_their_best_score(session: SearchSession) -> None:
    drive(session)
    rows = table(session)
    stopped = rows[rows.state == "stopped"]
    assert len(stopped) > 0
    assert stopped.score.notna().all()
    assert (stopped.epochs < 9).all()
    assert stopped.reason.str.contains("ASHA").all()
    assert (rows[rows.state == "complete"].epochs == 9).all()


def test_the_leaderboard_is_ranked_by_the_best_epoch(session: SearchSession) -> None:
    drive(session, lambda values, epoch: rising(values, -abs(epoch - 1)))
    rows = table(session)
    assert list(rows["rank"]) == list(range(1, 13))
    assert rows.score.is_monotonic_decreasing
    epochs = pd.read_csv(session.run.epochs)
    best = epochs.groupby("trial").val_accuracy.max()
    assert all(row.score == pytest.approx(best.to_dict()[row.trial]) for row in rows.itertuples())


def test_the_same_seed_gives_the_same_leaderboard(tmp_path: Path) -> None:
    tables = []
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        session = open_session(made_space(folder), RunFolder(folder / "run"))
        drive(session)
        tables.append(session.run.leaderboard.read_text())
    assert tables[0] == tables[1]


@pytest.mark.parametrize("sampler", ["random", "tpe", "bohb"])
def test_an_interrupted_search_goes_on_as_if_nothing_had_happened(tmp_path: Path, sampler: str) -> None:
    space = made_space(tmp_path, overrides=[f"search.sampler={sampler}"])
    whole = open_session(space, RunFolder(tmp_path / "whole"))
    drive(whole)
    for most in (1, 4, 3, None):
        parts = open_session(space, RunFolder(tmp_path / "parts"))
        drive(parts, most=most)
    assert parts.run.leaderboard.read_text() == whole.run.leaderboard.read_text()


def test_a_trial_left_running_is_taken_up_again_with_its_epochs(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    dead = open_session(made_space(tmp_path), run)
    job = dead.propose()
    assert job is not None
    begin(dead, job)
    dead.on_epoch(job.number, epoch_of(1, 0.4), facts_of(job), None)

    session = open_session(made_space(tmp_path), run)
    again = session.propose()
    assert again is not None
    assert (again.number, again.config) == (job.number, job.config)
    assert [epoch.epoch for epoch in session.running[0].epochs] == [1]
    session.on_epoch(0, epoch_of(1, 0.4), facts_of(again), None)  # a worker tells again what its checkpoint holds
    session.on_epoch(0, epoch_of(2, 0.5), facts_of(again), None)
    session.on_end(0, None)
    assert [epoch.epoch for epoch in session.records[0].epochs] == [1, 2]


def test_one_failed_trial_does_not_end_the_search(session: SearchSession) -> None:
    job = session.propose()
    assert job is not None
    session.on_end(job.number, "ValueError: made to fail")
    assert drive(session) == 11
    failed = table(session).iloc[-1]
    assert (failed.state, failed.reason) == ("failed", "ValueError: made to fail")
    assert math.isnan(failed.score)
    assert math.isnan(failed["rank"])


@pytest.mark.parametrize(
    ("causes", "gives_up"),
    [
        pytest.param(["same"] * 5, True, id="five-alike"),
        pytest.param(["same"] * 4, False, id="four-alike"),
        pytest.param(["one", "other"] * 4, False, id="different-causes"),
        pytest.param([f"OSError: trials/{number}: full" for number in range(5)], True, id="alike-but-for-a-number"),
        pytest.param(
            [f"lost its worker 4 times, in epochs 1, {'2, ' * number}9 (killed)" for number in range(5)],
            True,
            id="lost-their-workers-in-other-epochs",
        ),
        pytest.param(
            [f"DivergedError: at rate {number}" for number in range(5)], False, id="diverged-at-different-rates"
        ),
    ],
)
def test_five_equal_failures_in_a_row_end_the_search_with_their_cause(
    session: SearchSession, causes: list[str], gives_up: bool
) -> None:
    for cause in causes:
        job = session.propose()
        assert job is not None
        session.on_end(job.number, cause)
    assert session.gave_up == (causes[-1] if gives_up else "")
    assert (session.propose() is None) is gives_up


def test_a_trial_whose_live_objects_differ_from_its_config_fails(session: SearchSession) -> None:
    job = session.propose()
    assert job is not None
    live = {"training.optimizer.lr": 0.5, "training.batch_size": job.config.training.batch_size}
    tell_read_back(session, job, live=live)
    assert not session.on_epoch(job.number, epoch_of(1, 0.9), facts_of(job), None)
    session.on_end(job.number, None)
    record = session.records[job.number]
    assert record.state == "failed"
    assert "training.optimizer.lr is" in record.reason
    assert "the live objects hold 0.5" in record.reason
    assert "batch_size" not in record.reason


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        pytest.param({"frozen_units": 3}, "units were to be frozen, but 3 stand still", id="live-modules"),
        pytest.param({"phase": "warm_up"}, "the phase train was to begin", id="another-phase"),
    ],
)
def test_a_trial_whose_live_modules_are_not_frozen_as_asked_fails(
    session: SearchSession, seen: dict[str, Any], says: str
) -> None:
    job = start(session)
    tell_read_back(session, job, **seen)
    assert not go_on(session, job, 1, 0.9)
    session.on_end(job.number, None)
    assert session.records[job.number].state == "failed"
    assert says in session.records[job.number].reason


def test_after_a_warm_up_the_live_modules_are_compared_again(tmp_path: Path) -> None:
    space = made_space(tmp_path, overrides=("training.warm_up={epochs: 2}", "search.asha=null"))
    session = open_session(space, RunFolder(tmp_path / "run"))
    job = start(session)
    units = facts_of(job).units
    tell_read_back(session, job, phase="warm_up", frozen_units=units)
    assert go_on(session, job, 1, 0.1, "warm_up")
    assert go_on(session, job, 2, 0.2, "warm_up")
    tell_read_back(session, job, phase="train", frozen_units=units)  # nothing thawed
    assert not go_on(session, job, 3, 0.3)
    assert f"{units} stand still" in session.running[job.number].stop_reason


def test_only_the_best_keep_their_weights_and_everyone_keeps_the_rest(session: SearchSession) -> None:
    drive(session)
    kept = {record.trial for record in session.kept()}
    assert len(kept) == 2
    for number in range(12):
        folder = session.run.trial(number)
        assert folder.best.exists() is (number in kept)
        assert folder.config.exists()
        assert folder.effective.exists()
    assert session.run.best.resolve() == session.run.trial(session.kept()[0].trial).best.resolve()


def test_best_can_be_read_from_the_first_epoch_on(session: SearchSession) -> None:
    job = session.propose()
    assert job is not None
    begin(session, job)
    go_on(session, job, 1, 0.5)
    assert (session.run.best / "model.safetensors").read_bytes() == b"weights"


def test_the_time_budget_stops_what_runs_and_proposes_nothing_more(tmp_path: Path) -> None:
    now = [0.0]
    space = made_space(tmp_path, overrides=("search.hours=1",))
    session = open_session(space, RunFolder(tmp_path / "run"), clock=lambda: now[0])
    job = session.propose()
    assert job is not None
    begin(session, job)
    assert session.on_epoch(job.number, epoch_of(1, 0.5), facts_of(job), None)
    now[0] = 3601
    assert not session.on_epoch(job.number, epoch_of(2, 0.6), facts_of(job), None)
    session.on_end(job.number, None)
    assert session.records[0].reason == "the time budget is spent"
    assert session.propose() is None


def test_a_trial_at_its_last_epoch_is_complete_however_it_stands(session: SearchSession) -> None:
    def score(values: Mapping[str, Scalar], epoch: int) -> float:
        return 1.0 - epoch * 1e-6

    drive(session, score)
    assert {record.state for record in session.records.values()} == {"complete"}


def test_each_parameter_stands_in_the_table_as_it_stands_in_the_trials_files(session: SearchSession) -> None:
    drive(session)
    rows = table(session).set_index("trial")
    for number, record in session.records.items():
        for name, value in record.values.items():
            assert rows.loc[number, name] == value


def test_a_section_stands_under_the_name_that_its_option_has(tmp_path: Path) -> None:
    schedules = {"choice": {"soon": {"kind": "plateau", "patience_epochs": 1}, "never": {"kind": "constant"}}}
    layers = {"choice": {"one": [{"conv": 8}], "two": [{"conv": 8, "repeat": 2}]}}
    backbone = {"kind": "custom", "layers": layers}
    space = space_of(tmp_path, model__backbone=backbone, training__schedule=schedules)
    study = Study.open(tmp_path / "study.db", space.search)
    weights = {("custom", "none"): None}
    session = SearchSession(space, study, RunFolder(tmp_path / "run"), weights_files=weights, data="d" * 64)
    job = session.propose()
    assert job is not None
    assert session.records[0].values == {"model.backbone.layers": "one", "training.schedule": "soon"}
    assert job.config.model.backbone_name == "custom"
