"""The finals without Ray: every repeat is a real training of a tiny network, in a plain loop."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from tests.results.made import epoch, trial
from tests.results.test_finals import accuracy, finalist
from tests.search.driving import drive, epoch_of, facts_of, made_space, open_session
from tune_cnn.config import TrialConfig
from tune_cnn.data.cache import Cache
from tune_cnn.files import point_to
from tune_cnn.results.effective import write_effective
from tune_cnn.results.failures import Failure
from tune_cnn.results.finals import judge
from tune_cnn.results.records import RunFolder, TrialFolder
from tune_cnn.search.bridge import Session
from tune_cnn.search.final_scores import Judged, score_finals, verdict
from tune_cnn.search.finalists import finalists, finals_seconds, repeats_of
from tune_cnn.search.finals import FinalsSession
from tune_cnn.search.jobs import Job
from tune_cnn.search.retries import LOST, Loss
from tune_cnn.search.session import SearchSession
from tune_cnn.search.study import Study
from tune_cnn.sections.search import FinalsConfig
from tune_cnn.space.schema import Space
from tune_cnn.trial import run_trial

SPACE = """\
name: tiny
data: {{kind: folders, root: {root}, splits: {{train: train, val: valid, test: test}}}}
image: {{px: 32}}
model:
  backbone: {{kind: custom, layers: [{{conv: 8, pool: 4}}, {{conv: 8, pool: 4}}]}}
  head: {{hidden: {{choice: [[], [8]]}}}}
training: {{epochs: 3, batch_size: 8, optimizer: {{kind: adam, lr: {{range: [1e-3, 3e-2], log: true}}}}}}
search: {{trials: 4, seed: 1, asha: null, finals: {{top: 2, repeats: 2}}}}
"""


def run_jobs(session: Session, cache: Cache, most: int = 100) -> None:
    """Do what a runner does, one job after the other."""
    for _ in range(most):
        if (job := session.propose()) is None:
            return
        number = job.number

        def tell(*heard: object, number: int = number) -> None:
            session.on_epoch(number, *heard)  # type: ignore[arg-type]

        folder = TrialFolder(job.folder)
        run_trial(job.config, folder, metric="val_accuracy", cache=cache, on_epoch=tell)
        session.on_end(number, None)


@pytest.fixture
def made_config(tmp_path: Path) -> TrialConfig:
    """A config of nine epochs."""
    space = made_space(tmp_path)
    return space.config(space.tree_of(space.defaults()).tree, seed=0, cpu_threads=1, weights_file=None)


@pytest.fixture(scope="module")
def space(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Space:
    return made_space(tmp_path_factory.mktemp("space"), SPACE.format(root=shapes))


@pytest.fixture(scope="module")
def searched(space: Space, cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> SearchSession:
    run = RunFolder(tmp_path_factory.mktemp("run"))
    session = open_session(space, run, weights_files={("custom", "none"): None})
    run_jobs(session, cache)
    return session


@pytest.fixture(scope="module")
def reopened(searched: SearchSession, space: Space) -> Callable[[], FinalsSession]:
    """The finals as each driver opens them."""

    def opened() -> FinalsSession:
        config = space.search.finals
        assert config is not None
        study = Study.read(searched.run.study, space.search)
        return FinalsSession(
            config, searched.records.values(), searched.jobs, study, searched.run, budget=searched.budget
        )

    return opened


@pytest.fixture(scope="module")
def table(reopened: Callable[[], FinalsSession], cache: Cache) -> pd.DataFrame:
    run_jobs(reopened(), cache, most=1)  # a driver that died after the first
    finals = reopened()
    run_jobs(finals, cache)
    judged = score_finals(finals, task="classification", metric="val_accuracy", data_root=None, cache=cache, seed=0)
    assert verdict(judged)
    return pd.read_csv(finals.run.finals)


def test_each_finalist_is_trained_anew_with_seeds_the_search_never_saw(
    table: pd.DataFrame, searched: SearchSession
) -> None:
    best = [record.trial for record in finalists(searched.records.values(), 2)]
    assert sorted(table.trial) == sorted(best)
    assert set(table.seeds) == {"2 3"}
    assert (table.repeats == 2).all()


def test_an_interrupted_final_is_not_trained_twice(table: pd.DataFrame, reopened: Callable[[], FinalsSession]) -> None:
    assert len(table) == 2
    assert reopened().over
    assert reopened().propose() is None


def test_mean_and_spread_are_those_of_the_single_values(table: pd.DataFrame) -> None:
    for split in ("val", "test"):
        values = table[[f"{split}_accuracy_1", f"{split}_accuracy_2"]]
        assert table[f"{split}_accuracy_mean"].tolist() == pytest.approx(values.mean(axis=1).tolist())
        assert table[f"{split}_accuracy_std"].tolist() == pytest.approx(values.std(axis=1).tolist())
        assert (table[f"{split}_accuracy_low"] <= table[f"{split}_accuracy_mean"]).all()


def test_best_names_a_repeat_of_the_winner(table: pd.DataFrame, searched: SearchSession) -> None:
    winner = int(table.trial[0])
    assert searched.run.best.resolve().parent.name.startswith(f"{winner:04d}-")
    assert searched.run.best.resolve().parent.parent == searched.run.path / "finals"


def test_a_repeat_that_fails_is_left_out_and_told(
    space: Space, cache: Cache, searched: SearchSession, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path)
    session = open_session(space, run, weights_files={("custom", "none"): None})
    run_jobs(session, cache, most=1)
    told: list[str] = []
    study = Study.read(run.study, space.search)
    config = FinalsConfig(top=1, repeats=2)
    finals = FinalsSession(
        config, session.records.values(), session.jobs, study, run, budget=session.budget, on_event=told.append
    )
    job = finals.propose()
    assert job is not None
    finals.on_end(job.number, "DivergedError: epoch 1")
    assert told[-1] == "final of trial 0, repeat 1, failed: DivergedError: epoch 1  [1/2]"
    run_jobs(finals, cache)
    score_finals(finals, task="classification", metric="-val_loss", data_root=None, cache=cache, seed=0)
    rows = pd.read_csv(run.finals)
    assert (rows.repeats.tolist(), rows.failed.tolist()) == ([1], [1])
    (scored,) = run.path.glob("finals/*/outcomes.npz")
    notes: list[str] = []
    given = {"task": "classification", "metric": "-val_loss", "data_root": None, "cache": cache, "seed": 0}
    (scored.parent / "best" / "model.safetensors").unlink()
    assert score_finals(finals, **given, note=notes.append).finals, "what was looked at once is kept"  # type: ignore[arg-type]
    scored.unlink()
    assert not score_finals(finals, **given, note=notes.append).finals  # type: ignore[arg-type]
    what, line = notes
    assert what == "scoring the finals' models on the images held back from training, 1 of them …"
    assert line.startswith("final of trial 0, repeat 2, could not be scored: ")


def test_of_trials_with_equal_values_only_one_comes_into_the_finals() -> None:
    values = {"lr": 0.1}
    records = [trial(number, epochs=(epoch(1, score),), values=values) for number, score in ((0, 0.5), (1, 0.6))]
    other = trial(2, epochs=(epoch(1, 0.4),), values={"lr": 0.2})
    failed = trial(3, state="failed", epochs=(epoch(1, 0.9),), values={"lr": 0.3})
    assert [record.trial for record in finalists([*records, other, failed], 3)] == [1, 2]


@pytest.mark.parametrize(
    ("config", "at_once", "seconds"),
    [
        pytest.param(None, 1, 0.0, id="no-finals"),
        pytest.param(FinalsConfig(top=2, repeats=3), 1, 6 * 9 * 1.1, id="one-by-one"),
        pytest.param(FinalsConfig(top=2, repeats=3), 4, 2 * 9 * 1.1, id="four-at-a-time"),
    ],
)
def test_the_time_of_the_finals_is_estimated_from_the_trials(
    config: FinalsConfig | None, at_once: int, seconds: float, made_config: TrialConfig
) -> None:
    records = [trial(0, epochs=(epoch(1, 0.5), epoch(2, 0.6)))]  # a second per epoch
    assert finals_seconds(config, records, lambda _trial: made_config, at_once) == pytest.approx(seconds)
    assert finals_seconds(config, [], lambda _trial: made_config, at_once) == 0.0


def test_a_final_takes_no_folds_and_a_fitted_head_no_epochs(made_config: TrialConfig) -> None:
    folded = made_config.model_copy(update={"folds": 5})
    config = FinalsConfig(top=1, repeats=1)
    trained = trial(0, epochs=(epoch(1, 0.5),))
    fitted = trial(0, epochs=(replace(epoch(1, 0.5), phase="fit"),))
    assert finals_seconds(config, [trained], lambda _trial: folded, 1) == pytest.approx(9 / 5 * 1.1)
    assert finals_seconds(config, [fitted], lambda _trial: made_config, 1) == pytest.approx(1.1)


def test_what_is_fitted_at_once_is_repeated_once() -> None:
    config = FinalsConfig(repeats=3)
    assert repeats_of(trial(0, epochs=(replace(epoch(1, 0.5), phase="fit"),)), config) == 1
    assert repeats_of(trial(0, epochs=(epoch(1, 0.5),)), config) == 3


def test_the_time_of_the_finals_is_taken_from_the_budget_beforehand(tmp_path: Path) -> None:
    now = [0.0]
    overrides = ("search.hours=0.01", "search.finals={top: 1, repeats: 2}", "search.asha=null")
    session = open_session(made_space(tmp_path, overrides=overrides), RunFolder(tmp_path / "run"), clock=lambda: now[0])
    assert session.budget.seconds_left == pytest.approx(36)
    session.budget.reserve(10)
    assert session.budget.seconds_left == pytest.approx(26)
    session.budget.reserve(1000)
    assert session.budget.seconds_left == pytest.approx(18), "never more than half"


def made_finals(session: SearchSession, told: list[str] | None = None) -> FinalsSession:
    """The finals of a search with made-up trials."""
    config, study = session.space.search.finals, Study.read(session.run.study, session.space.search)
    assert config is not None
    study.note_finals_begun(session.space.search.trials, session.space.search.hours)
    records, on_event = session.records.values(), (told if told is not None else []).append
    return FinalsSession(config, records, session.jobs, study, session.run, budget=session.budget, on_event=on_event)


def proposed(session: SearchSession | FinalsSession) -> Job:
    job = session.propose()
    assert job is not None
    return job


def read_back(job: Job, phase: str, frozen_units: int) -> None:
    """Write what a worker of the finals reads back when a phase begins."""
    observed = {"phase": phase, "frozen_units": frozen_units}
    write_effective(TrialFolder(job.folder).effective, job.config, live={}, observed=observed)


def searched_in(folder: Path, *overrides: str, clock: Callable[[], float] = lambda: 0.0) -> SearchSession:
    """A search of two made-up trials with finals, done unless its time is up."""
    given = ("search.trials=2", "search.finals={top: 2, repeats: 2}", "search.asha=null", *overrides)
    session = open_session(made_space(folder, overrides=given), RunFolder(folder / "run"), clock=clock)
    drive(session)
    return session


def test_a_final_killed_after_its_warm_up_goes_on(tmp_path: Path) -> None:
    session = searched_in(tmp_path, "training.warm_up={epochs: 2}")
    killed = made_finals(session)
    job = proposed(killed)
    facts = facts_of(job)
    read_back(job, "warm_up", facts.units)
    assert killed.on_epoch(job.number, epoch_of(1, 0.1, "warm_up"), facts, None)
    assert killed.on_epoch(job.number, epoch_of(2, 0.2, "warm_up"), facts, None)
    read_back(job, "train", facts.frozen_units)
    assert killed.on_epoch(job.number, epoch_of(3, 0.3), facts, None)

    again = made_finals(session)
    job = proposed(again)
    for number, phase in ((1, "warm_up"), (2, "warm_up"), (3, "train"), (4, "train")):
        assert again.on_epoch(job.number, epoch_of(number, number / 10, phase), facts, None)
    again.on_end(job.number, None)
    (outcome,) = again.outcomes().values()
    assert (outcome["failure"], outcome["score"], outcome["seconds"]) == ("", 0.4, 4 * 0.5)


def test_a_fault_that_a_kill_made_forget_is_found_again(tmp_path: Path) -> None:
    session = searched_in(tmp_path)
    for _driver in range(2):
        finals = made_finals(session)
        job = proposed(finals)
        facts = facts_of(job)
        read_back(job, "train", facts.units + 1)
        assert not finals.on_epoch(job.number, epoch_of(1, 0.1), facts, None)


def test_a_repeat_whose_worker_died_is_tried_again_by_the_next_driver(tmp_path: Path) -> None:
    session = searched_in(tmp_path)
    finals = made_finals(session)
    job = proposed(finals)
    losses = (Loss(Failure("killed", "worker"), 1), Loss(Failure("no progress for 61 s", "hang"), 2))
    finals.on_retry(job.number, "lost its worker", losses)
    finals = made_finals(session)  # the one before was killed, and did not give up
    again = proposed(finals)
    assert (again.folder, again.losses, job.losses) == (job.folder, losses, ())
    finals.on_end(job.number, f"{LOST} 4 times, in epochs 1, 2 (killed)")
    assert proposed(finals).folder != job.folder
    again = proposed(made_finals(session))
    assert (again.folder, again.losses) == (job.folder, ())


def test_the_first_repeat_of_each_configuration_goes_before_the_second_of_any(tmp_path: Path) -> None:
    finals = made_finals(searched_in(tmp_path))
    assert [heat.repeat for heat in finals.heats] == [1, 1, 2, 2]


def test_the_finals_end_with_the_time_budget(tmp_path: Path) -> None:
    now, told = [0.0], list[str]()
    session = searched_in(tmp_path, "search.hours=1", clock=lambda: now[0])
    finals = made_finals(session, told)
    job = proposed(finals)
    now[0] = 3601
    finals.on_end(job.number, None)
    assert finals.propose() is None
    assert finals.over
    assert told[-1].startswith("the time budget is spent: 3 of 4 repeats of the finals are left out")
    assert Study.read(session.run.study, session.space.search).seconds() == 3601


@pytest.mark.parametrize(
    ("overrides", "over"),
    [
        pytest.param(("search.trials=9", "search.hours=1"), True, id="same-budget"),
        pytest.param(("search.trials=9", "search.hours=2"), False, id="more-hours"),
        pytest.param(("search.trials=10", "search.hours=1"), False, id="more-trials"),
        pytest.param(("search.trials=9", "search.hours=1", "search.finals=null"), False, id="no-finals-any-more"),
    ],
)
def test_once_the_finals_have_begun_only_a_raised_budget_brings_new_trials(
    overrides: tuple[str, ...], over: bool, tmp_path: Path
) -> None:
    finals = ("search.finals={top: 2, repeats: 2}", "search.asha=null")
    space = made_space(tmp_path, overrides=(*finals, "search.trials=9", "search.hours=1"))
    drive(open_session(space, RunFolder(tmp_path / "run")), most=1)
    Study.read(tmp_path / "run" / "study.db", space.search).note_finals_begun(9, 1.0)
    again = open_session(made_space(tmp_path, overrides=(*finals, *overrides)), RunFolder(tmp_path / "run"))
    assert again.over is over


def test_what_is_kept_for_the_finals_outlives_the_driver(tmp_path: Path) -> None:
    overrides = ("search.hours=1", "search.finals={top: 1, repeats: 2}", "search.asha=null")
    session = open_session(made_space(tmp_path, overrides=overrides), RunFolder(tmp_path / "run"), clock=lambda: 0.0)
    drive(session, most=1)
    kept = session.budget.reserved_seconds
    again = open_session(made_space(tmp_path, overrides=overrides), RunFolder(tmp_path / "run"), clock=lambda: 0.0)
    assert kept > 0
    assert again.budget.reserved_seconds == pytest.approx(kept, abs=1e-3)


def test_finals_train_on_the_whole_training_split_without_folds(tmp_path: Path) -> None:
    session = searched_in(tmp_path, "folds=3")
    assert proposed(made_finals(session)).config.folds is None


def test_best_stays_the_winner_of_the_finals_while_it_would_be_in_them_again(tmp_path: Path) -> None:
    session = searched_in(tmp_path)
    run, space = session.run, session.space
    for number in (0, 5):
        run.final(number, 1).best.mkdir(parents=True)
    point_to(run.best, run.final(0, 1).best)
    open_session(space, run)
    assert run.best.resolve() == run.final(0, 1).best.resolve()
    point_to(run.best, run.final(5, 1).best)
    open_session(space, run)
    assert run.best.resolve().is_relative_to(run.path / "trials"), "no trial of this search is number 5"


def test_a_checkpoint_that_a_kill_left_of_an_ended_repeat_is_deleted(tmp_path: Path) -> None:
    session = searched_in(tmp_path)
    finals = made_finals(session)
    job = proposed(finals)
    finals.on_end(job.number, "DivergedError: epoch 1")
    TrialFolder(job.folder).last.mkdir()
    made_finals(session)
    assert not TrialFolder(job.folder).last.exists()


@pytest.mark.parametrize(
    ("right", "says"),
    [
        pytest.param(((180, 184), (100, 104)), "trial 0 is better than the others by more than chance", id="sure"),
        pytest.param(((180,), (100,)), "one repeat tells nothing of the luck of its seed", id="one-repeat"),
        pytest.param(((180, 184), (181, 183)), "trials 0 and 1 cannot be told apart", id="tie"),
        pytest.param(((180, 184),), "the finals compared nothing", id="alone"),
    ],
)
def test_the_verdict_claims_no_more_than_was_compared(right: tuple[tuple[int, ...], ...], says: str) -> None:
    finals = judge([finalist(number, val) for number, val in enumerate(right)], accuracy, seed=0)
    assert says in verdict(Judged(finals, "accuracy"))
