"""study.db as we write it, held against Optuna's own storage: row for row the same, and with the same refusals."""

import math
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial

from tune_cnn.search.study_file import NAME, make_study
from tune_cnn.search.study_rows import StudyRows

DOMAINS: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-5, 0.1, log=True),
    "depth": FloatDistribution(0.0, 1.0, step=0.25),
    "width": IntDistribution(1, 64, log=True),
    "head": CategoricalDistribution(["dense", 3, None, True, 0.5]),
}
TRIALS: Sequence[dict[str, Any]] = (
    {"lr": 1e-3, "depth": 0.75, "width": 8, "head": 3},
    {"lr": 0.02, "head": None},
    {"width": 64, "head": 0.5},
    {},
)
STEPS = ((1, 0.5), (2, 1e300), (3, math.inf), (4, -math.inf), (5, math.nan), (2, 0.25))
ATTRIBUTES = {"values": {"a": [1, None, "ü"]}, "reason": "", "lr": 1e-5}
ENDS = ((TrialState.COMPLETE, 0.5), (TrialState.PRUNED, None), (TrialState.FAIL, None))


class ByOptuna:
    """A writer as `StudyRows`, through Optuna's own storage."""

    def __init__(self, storage: RDBStorage, study_id: int) -> None:
        self._storage, self._study_id = storage, study_id

    def begin_trial(self, _number: int, values: Any, domains: Any, attributes: Any) -> int:
        domains = {key: domains[key] for key in values}
        given = {"params": dict(values), "distributions": domains, "user_attrs": dict(attributes)}
        begun = create_trial(state=TrialState.RUNNING, **given)
        return self._storage.create_new_trial(self._study_id, template_trial=begun)

    def keep(self, trial_id: int, attributes: Any) -> None:
        for key, value in attributes.items():
            self._storage.set_trial_user_attr(trial_id, key, value)

    def keep_step(self, trial_id: int, step: int, value: float, attributes: Any) -> None:
        self.keep(trial_id, attributes)
        self._storage.set_trial_intermediate_value(trial_id, step, value)

    def end_trial(self, trial_id: int, state: TrialState, value: float | None, attributes: Any) -> None:
        self.keep(trial_id, attributes)
        self._storage.set_trial_state_values(trial_id, state, None if value is None else [value])

    def keep_of_study(self, attributes: Any) -> None:
        for key, value in attributes.items():
            self._storage.set_study_user_attr(self._study_id, key, value)


Writer = ByOptuna | StudyRows
Act = Callable[[Writer], Any]


def written(db: Path, act: Act, *, by_optuna: bool) -> Any:
    """Let one of the two writers act on a study, new or not."""
    if not db.exists():
        make_study(db)
    storage = RDBStorage(f"sqlite:///{db}")
    study_id = storage.get_study_id_from_name(NAME)
    try:
        if by_optuna:
            return act(ByOptuna(storage, study_id))
        with storage.engine.begin() as connection:
            return act(StudyRows(connection, study_id, {}))
    finally:
        storage.remove_session()
        storage.engine.dispose()


def tables(db: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table of a study; of the times, whether there is one."""
    with closing(sqlite3.connect(db)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in names}  # noqa: S608
    return {name: sorted(map(_without_times, found), key=repr) for name, found in rows.items()}


def _without_times(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple("a time" if isinstance(cell, str) and cell.startswith("20") else cell for cell in row)


def a_whole_search(writer: Writer) -> None:
    for number, values in enumerate(TRIALS):
        trial_id = writer.begin_trial(number, values, DOMAINS, {"drawn": values})
        writer.keep(trial_id, ATTRIBUTES)
        for step, value in STEPS:
            writer.keep_step(trial_id, step, value, {f"epoch:{step:05d}": {"seconds": number + 0.1}})
        writer.keep(trial_id, {"lr": 2, "peak": None})
        if number < len(ENDS):
            state, best = ENDS[number]
            writer.end_trial(trial_id, state, best, {"reason": "why: ü"})
    writer.keep_of_study({"seconds": 1.5, "final:1": {"failure": ""}})
    writer.keep_of_study({"seconds": 2.5})


def test_a_search_leaves_the_very_rows_that_optuna_would_have_written(tmp_path: Path) -> None:
    for by_optuna in (True, False):
        written(tmp_path / f"{by_optuna}.db", a_whole_search, by_optuna=by_optuna)
    ours, optunas = (tables(tmp_path / f"{by_optuna}.db") for by_optuna in (False, True))
    assert ours == optunas
    assert len(ours["trials"]) == len(TRIALS)
    assert len(ours["trial_intermediate_values"]) == 5 * len(TRIALS)


@pytest.fixture
def far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "XXX-9")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_from_greenwich")
def test_optuna_reads_when_a_trial_began_and_ended(tmp_path: Path) -> None:
    written(tmp_path / "study.db", a_whole_search, by_optuna=False)
    storage = RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
    trials = storage.get_all_trials(storage.get_study_id_from_name(NAME))
    storage.engine.dispose()
    for trial in trials[:-1]:
        assert trial.datetime_start is not None
        assert trial.datetime_complete is not None
        assert trial.datetime_start <= trial.datetime_complete
        assert abs((datetime.now() - trial.datetime_complete).total_seconds()) < 1800
    assert trials[-1].datetime_complete is None


def test_a_trial_that_goes_on_under_another_writer_is_the_same_trial(tmp_path: Path) -> None:
    """An interrupted search may have been begun by a version that wrote through Optuna."""
    db = tmp_path / "study.db"
    trial_id = written(db, lambda writer: writer.begin_trial(0, TRIALS[0], DOMAINS, ATTRIBUTES), by_optuna=True)
    written(db, lambda writer: writer.keep_step(trial_id, 1, 0.5, ATTRIBUTES), by_optuna=False)
    written(db, lambda writer: writer.keep_step(trial_id, 1, 0.7, ATTRIBUTES), by_optuna=True)
    written(db, lambda writer: writer.end_trial(trial_id, TrialState.COMPLETE, 0.7, {}), by_optuna=False)
    rows = tables(db)
    assert [row[3] for row in rows["trial_intermediate_values"]] == [0.7]
    assert len(rows["trial_user_attributes"]) == len(ATTRIBUTES)


REFUSED = {
    "an-attribute-of-an-ended-trial": lambda writer: writer.keep(1, {"seed": 1}),
    "a-step-of-an-ended-trial": lambda writer: writer.keep_step(1, 1, 0.9, {}),
    "a-second-end": lambda writer: writer.end_trial(1, TrialState.COMPLETE, 0.9, {}),
    "an-attribute-of-no-trial": lambda writer: writer.keep(99, {"seed": 1}),
    "another-kind-of-domain": lambda writer: writer.begin_trial(4, {"lr": 3}, {"lr": IntDistribution(1, 4)}, {}),
    "other-choices": lambda writer: writer.begin_trial(4, {"head": 3}, {"head": CategoricalDistribution([3, 4])}, {}),
}


@pytest.mark.parametrize("by_optuna", [True, False], ids=["by-optuna", "by-us"])
@pytest.mark.parametrize("act", REFUSED.values(), ids=REFUSED)
def test_what_optuna_refuses_is_refused_and_nothing_of_it_is_written(tmp_path: Path, act: Act, by_optuna: bool) -> None:
    db = tmp_path / "study.db"
    written(db, a_whole_search, by_optuna=False)
    before = tables(db)
    with pytest.raises((KeyError, RuntimeError, ValueError)):
        written(db, act, by_optuna=by_optuna)
    assert tables(db) == before
