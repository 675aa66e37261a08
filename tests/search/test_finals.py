"""The finals without Ray: every repeat is a real training of a tiny network, in a plain loop."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.results.made import epoch, trial
from tests.search.driving import made_space, open_session
from tune_cnn.results.records import RunFolder, TrialFolder
from tune_cnn.search.bridge import Session
from tune_cnn.search.final_scores import score_finals, verdict
from tune_cnn.search.finalists import finalists, finals_seconds
from tune_cnn.search.finals import FinalsSession
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


def run_jobs(session: Session, cache_dir: Path, most: int = 100) -> None:
    """Do what a runner does, one job after the other."""
    for _ in range(most):
        if (job := session.propose()) is None:
            return
        number = job.number

        def tell(*heard: object, number: int = number) -> None:
            session.on_epoch(number, *heard)  # type: ignore[arg-type]

        folder = TrialFolder(job.folder)
        run_trial(job.config, folder, metric="val_accuracy", cache_dir=cache_dir, on_epoch=tell)
        session.on_end(number, None)


@pytest.fixture(scope="module")
def space(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Space:
    return made_space(tmp_path_factory.mktemp("space"), SPACE.format(root=shapes))


@pytest.fixture(scope="module")
def searched(space: Space, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> SearchSession:
    run = RunFolder(tmp_path_factory.mktemp("run"))
    session = open_session(space, run, weights_files={("custom", "none"): None})
    run_jobs(session, cache_dir)
    return session


@pytest.fixture(scope="module")
def reopened(searched: SearchSession, space: Space) -> Callable[[], FinalsSession]:
    """The finals as each driver opens them."""

    def opened() -> FinalsSession:
        config = space.search.finals
        assert config is not None
        study = Study.read(searched.run.study, space.search)
        return FinalsSession(config, searched.records.values(), searched.jobs, study, searched.run)

    return opened


@pytest.fixture(scope="module")
def table(reopened: Callable[[], FinalsSession], cache_dir: Path) -> pd.DataFrame:
    run_jobs(reopened(), cache_dir, most=1)  # a driver that died after the first
    finals = reopened()
    run_jobs(finals, cache_dir)
    judged = score_finals(
        finals, task="classification", metric="val_accuracy", data_root=None, cache_dir=cache_dir, seed=0
    )
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
    space: Space, cache_dir: Path, searched: SearchSession, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path)
    session = open_session(space, run, weights_files={("custom", "none"): None})
    run_jobs(session, cache_dir, most=1)
    told: list[str] = []
    study = Study.read(run.study, space.search)
    config = FinalsConfig(top=1, repeats=2)
    finals = FinalsSession(config, session.records.values(), session.jobs, study, run, on_event=told.append)
    job = finals.propose()
    assert job is not None
    finals.on_end(job.number, "DivergedError: epoch 1")
    assert told[-1] == "final of trial 0, repeat 1, failed: DivergedError: epoch 1"
    run_jobs(finals, cache_dir)
    score_finals(finals, task="classification", metric="-val_loss", data_root=None, cache_dir=cache_dir, seed=0)
    assert pd.read_csv(run.finals).repeats.tolist() == [1]


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
        pytest.param(FinalsConfig(top=2, repeats=3), 1, 6 * 10 * 1.1, id="one-by-one"),
        pytest.param(FinalsConfig(top=2, repeats=3), 4, 2 * 10 * 1.1, id="four-at-a-time"),
    ],
)
def test_the_time_of_the_finals_is_estimated_from_the_trials(
    config: FinalsConfig | None, at_once: int, seconds: float
) -> None:
    records = [trial(0, epochs=(epoch(1, 0.5), epoch(2, 0.6)))]  # a second per epoch
    assert finals_seconds(config, records, epochs=10, at_once=at_once) == pytest.approx(seconds)
    assert finals_seconds(config, [], epochs=10, at_once=at_once) == 0.0


def test_the_time_of_the_finals_is_taken_from_the_budget_beforehand(tmp_path: Path) -> None:
    now = [0.0]
    overrides = ("search.hours=0.01", "search.finals={top: 1, repeats: 2}", "search.asha=null")
    session = open_session(made_space(tmp_path, overrides=overrides), RunFolder(tmp_path / "run"), clock=lambda: now[0])
    assert session.budget.seconds_left == pytest.approx(36)
    session.budget.reserve(10)
    assert session.budget.seconds_left == pytest.approx(26)
    session.budget.reserve(1000)
    assert session.budget.seconds_left == pytest.approx(18), "never more than half"
