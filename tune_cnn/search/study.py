"""The truth of a search: Optuna's study in a SQLite file, written by the driver alone. The only importer of Optuna.

Parameters, states and scores per epoch are Optuna's own fields; what the tables need besides is kept as user
attributes, JSON all of it. Nothing is pickled.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from tune_cnn.errors import RunFolderError, StoreError
from tune_cnn.files import replaced
from tune_cnn.results.records import EpochRecord, Scalar, State, TrialFacts, TrialRecord
from tune_cnn.sections.search import SearchConfig
from tune_cnn.space.schema import Choice, Drawn, FloatRange, IntRange, Parameter, Space

optuna.logging.set_verbosity(optuna.logging.ERROR)

_STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "stopped",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}
_NAME, _EPOCH, _TEST, _SECONDS, _STOP, _FINAL = "search", "epoch", "test", "seconds", "stop", "final"
_ESTIMATE = "estimate"
_RESERVED, _FINAL_EPOCH, _FINALS_BEGUN = "reserved_seconds", "final_epoch", "finals_begun"

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def _stored(
    method: "Callable[Concatenate[Study, Arguments], Answer]",
) -> "Callable[Concatenate[Study, Arguments], Answer]":
    """Turn what Optuna and SQLAlchemy raise when the disk or the file fails into an error of ours."""

    @wraps(method)
    def guarded(self: "Study", /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
        try:
            return method(self, *args, **kwargs)
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            raise StoreError(f"{self.path}: cannot be read or written: {_root_of(error)}") from error

    return guarded


class Study:
    """Asks for configurations and is told what became of them."""

    def __init__(self, storage: RDBStorage, search: SearchConfig) -> None:
        self._storage = storage
        self._search = search
        with _silenced():
            self._study = optuna.load_study(study_name=_NAME, storage=storage)
        self._study_id = storage.get_study_id_from_name(_NAME)
        self.path = Path(str(storage.engine.url.database))

    @classmethod
    def open(cls, db: Path, search: SearchConfig, *, defaults: Mapping[str, Scalar]) -> "Study":
        """Open the study in `db`, or make it with the space's defaults as its first trial.

        Raises:
            RunFolderError: the file is not a study.
            StoreError: the disk is full or cannot be written; no study was begun.
        """
        if not db.exists():
            _make(db, defaults)
        return cls.read(db, search)

    @classmethod
    def read(cls, db: Path, search: SearchConfig) -> "Study":
        """Open a study that must be there.

        Raises:
            RunFolderError: there is none, or the file is not a study.
        """
        if not db.is_file():
            raise RunFolderError(
                f"{db}: no such file; give a run folder that `tune-cnn search` wrote, it holds study.db"
            )
        try:
            return cls(RDBStorage(f"sqlite:///{db}"), search)
        except (KeyError, RuntimeError, optuna.exceptions.OptunaError, SQLAlchemyError) as error:
            raise RunFolderError(f"{db}: not a study of tune-cnn, or a damaged one ({type(error).__name__})") from error

    @_stored
    def ask(self, space: Space) -> tuple[int, Drawn]:
        """Give the next trial's number and its drawn values.

        The sampler is made anew for each trial from seed and number: a search that was interrupted goes on with the
        draws it would have made, and never repeats those it made.
        """
        self._study.sampler = _sampler(self._search, self._asked())
        trial = self._study.ask()
        return trial.number, space.draw(lambda parameter: _suggest(trial, parameter))

    @_stored
    def ask_again(self, number: int, space: Space) -> Drawn:
        """Give the values of a running trial; those that an interrupted `ask` had not come to are drawn now."""
        self._study.sampler = _sampler(self._search, number)
        trial = optuna.Trial(self._study, self._trial_id(number))
        return space.draw(lambda parameter: _suggest(trial, parameter))

    @_stored
    def note(self, number: int, /, **attributes: Any) -> None:
        """Keep what the tables say of a running trial besides its scores: values, seed, data, facts, peak_memory_mb."""
        for name, value in attributes.items():
            self._storage.set_trial_user_attr(self._trial_id(number), name, value)

    @_stored
    def report(self, number: int, epoch: EpochRecord, *, stop: str = "") -> None:
        """Keep an epoch and, in the same write, why the trial is stopped after it; empty if it goes on.

        Telling an epoch again replaces it.
        """
        trial_id = self._trial_id(number)
        body = epoch.as_json() | ({_STOP: stop} if stop else {})
        self._storage.set_trial_user_attr(trial_id, f"{_EPOCH}:{epoch.epoch:05d}", body)
        self._storage.set_trial_intermediate_value(trial_id, epoch.epoch, epoch.score)

    @_stored
    def finish(self, number: int, state: State, score: float | None, reason: str = "") -> None:
        """Close a trial: complete with its best score, stopped with its curve, failed with the reason and no score."""
        self.note(number, reason=reason)
        match state:
            case "complete":
                self._study.tell(number, score)
            case "stopped":
                self._study.tell(number, state=TrialState.PRUNED)
            case _:
                self._study.tell(number, state=TrialState.FAIL)

    @_stored
    def note_test(self, number: int, scores: Mapping[str, float]) -> None:
        """Keep a finished trial's scores on the test split. Optuna closes finished trials, so the study keeps them."""
        self._study.set_user_attr(f"{_TEST}:{number}", dict(scores))

    @_stored
    def note_seconds(self, seconds: float) -> None:
        """Keep how long all drivers of this search have been at it."""
        self._study.set_user_attr(_SECONDS, round(seconds, 3))

    @_stored
    def seconds(self) -> float:
        """Give what `note_seconds` kept; 0 before the first time."""
        return float(self._study.user_attrs.get(_SECONDS, 0.0))

    @_stored
    def note_estimate(self, estimate: Mapping[str, Any]) -> None:
        """Keep what the search was first estimated to take."""
        self._study.set_user_attr(_ESTIMATE, dict(estimate))

    @_stored
    def estimate(self) -> Mapping[str, Any] | None:
        """Give what `note_estimate` kept; None before the first time."""
        kept: Mapping[str, Any] | None = self._study.user_attrs.get(_ESTIMATE)
        return kept

    @_stored
    def note_reserved(self, seconds: float) -> None:
        """Keep how much time is left to the finals."""
        self._study.set_user_attr(_RESERVED, round(seconds, 3))

    @_stored
    def reserved(self) -> float:
        """Give what `note_reserved` kept; 0 before the first time."""
        return float(self._study.user_attrs.get(_RESERVED, 0.0))

    @_stored
    def note_finals_begun(self, trials: int, hours: float | None) -> None:
        """Keep with which budget the search was over when its finals began."""
        self._study.set_user_attr(_FINALS_BEGUN, {"trials": trials, "hours": hours})

    @_stored
    def finals_begun(self) -> tuple[int, float | None] | None:
        """Give the budget that `note_finals_begun` kept, trials and hours; None before the first time."""
        kept = self._study.user_attrs.get(_FINALS_BEGUN)
        return (int(kept["trials"]), kept["hours"]) if kept else None

    @_stored
    def note_final_epoch(self, key: str, epoch: EpochRecord) -> None:
        """Keep an epoch of one training of the finals, under its key."""
        self._study.set_user_attr(f"{_FINAL_EPOCH}:{key}:{epoch.epoch:05d}", epoch.as_json())

    @_stored
    def final_epochs(self, key: str) -> list[EpochRecord]:
        """Give what `note_final_epoch` kept under a key, in the order of the epochs; empty before the first."""
        prefix, kept = f"{_FINAL_EPOCH}:{key}:", self._study.user_attrs
        return [EpochRecord.from_json(kept[name]) for name in sorted(kept) if name.startswith(prefix)]

    @_stored
    def note_final(self, key: str, outcome: Mapping[str, Any]) -> None:
        """Keep what became of one training of the finals, under its key."""
        self._study.set_user_attr(f"{_FINAL}:{key}", dict(outcome))

    @_stored
    def finals(self) -> dict[str, Mapping[str, Any]]:
        """Give what `note_final` kept, by its keys."""
        prefix = f"{_FINAL}:"
        kept = self._study.user_attrs
        return {name.removeprefix(prefix): kept[name] for name in kept if name.startswith(prefix)}

    @_stored
    def records(self) -> list[TrialRecord]:
        """Give every trial that was ever begun, in the order of their numbers."""
        tests = self._study.user_attrs
        trials = self._study.get_trials(deepcopy=False, states=tuple(_STATES))
        return [_record(trial, tests.get(f"{_TEST}:{trial.number}", {})) for trial in trials]

    def _asked(self) -> int:
        """How many trials were ever begun."""
        return len(self._study.get_trials(deepcopy=False, states=tuple(_STATES)))

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)


def _make(db: Path, defaults: Mapping[str, Scalar]) -> None:
    """Make a study with its first trial waiting. It appears whole: a kill meanwhile leaves none."""
    with replaced(db) as part:
        try:
            storage = RDBStorage(f"sqlite:///{part}")
            try:
                study = optuna.create_study(storage=storage, study_name=_NAME, direction="maximize")
                study.enqueue_trial(dict(defaults))
            finally:
                storage.remove_session()
                storage.engine.dispose()
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            raise StoreError(f"{db}: cannot be made: {_root_of(error)}") from error


def _root_of(error: BaseException) -> str:
    """Give the database's own words, without the statement and the parameters around them."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _record(trial: FrozenTrial, test: Mapping[str, float]) -> TrialRecord:
    attributes = trial.user_attrs
    epochs = [dict(attributes[name]) for name in sorted(attributes) if name.startswith(f"{_EPOCH}:")]
    stops = [epoch.pop(_STOP, "") for epoch in epochs]
    # The reason is noted before Optuna closes a trial, and so may stand there of one that goes on after a kill; what
    # was decided with its last epoch holds.
    running = trial.state == TrialState.RUNNING
    reason = (stops[-1] if stops else "") if running else attributes.get("reason", "")
    return TrialRecord(
        trial=trial.number,
        state=_STATES[trial.state],
        seed=attributes.get("seed", 0),
        values=attributes.get("values", {}),
        epochs=tuple(EpochRecord.from_json(epoch) for epoch in epochs),
        facts=TrialFacts(**attributes["facts"]) if "facts" in attributes else None,
        peak_memory_mb=attributes.get("peak_memory_mb"),
        reason=reason,
        data=attributes.get("data", ""),
        test=test,
    )


def _sampler(search: SearchConfig, number: int) -> optuna.samplers.BaseSampler:
    seed = (
        search.seed * 1_000_003 + number
    )  # far apart for neighbouring seeds: trial 1 of seed 0 is not trial 0 of seed 1
    if search.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    with _silenced():
        return optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=search.random_trials, multivariate=True, group=True, constant_liar=True
        )


def _suggest(trial: optuna.Trial, parameter: Parameter) -> Scalar:
    """Let the sampler choose a value within the parameter's domain."""
    match parameter.domain:
        case Choice(labels):
            value: Scalar = trial.suggest_categorical(parameter.key, labels)
            return value
        case IntRange(low, high, log, step):
            return trial.suggest_int(parameter.key, low, high, log=log, step=step or 1)
        case FloatRange(low, high, log, step):
            return trial.suggest_float(parameter.key, low, high, log=log, step=step)


@contextmanager
def _silenced() -> Iterator[None]:
    """Silence Optuna's notes that `group` and `multivariate` may change: the version is pinned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
