"""The truth of a search: Optuna's study in a SQLite file, written by the driver alone.

Parameters, states and scores per epoch are Optuna's own fields; what the tables need besides is kept as user
attributes, JSON all of it, sealed: what is no longer as it was written is refused, not shown. Nothing is pickled.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial
from sqlalchemy.exc import SQLAlchemyError

from tune_cnn.errors import RunFolderError, StoreError
from tune_cnn.results.records import EpochRecord, RunFolder, State, TrialRecord
from tune_cnn.search.history import History
from tune_cnn.search.remedies import without_study
from tune_cnn.search.sampler import distributions, propose
from tune_cnn.search.sealed import BrokenSealError, opened, sealed
from tune_cnn.search.study_file import NAME, check_pages, is_half_made, make_study, root_of
from tune_cnn.search.study_rows import Domains, StudyRows
from tune_cnn.search.study_trials import DRAWN, EPOCH, STATES, STOP, attributes_of, record_of, replay
from tune_cnn.sections.search import SearchConfig
from tune_cnn.space.schema import Drawn, Space

_OPTUNAS = {ours: optunas for optunas, ours in STATES.items()}
_TEST, _SECONDS, _FINAL = "test", "seconds", "final"
_ESTIMATE = "estimate"
_RESERVED, _FINAL_EPOCH, _FINALS_BEGUN = "reserved_seconds", "final_epoch", "finals_begun"
_LOSSES, _FINAL_LOSSES = "losses", "final_losses"

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def _stored(
    method: "Callable[Concatenate[Study, Arguments], Answer]",
) -> "Callable[Concatenate[Study, Arguments], Answer]":
    """Turn what is raised when the disk fails, or the file is damaged, into errors of ours."""

    @wraps(method)
    def guarded(self: "Study", /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
        try:
            return method(self, *args, **kwargs)
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            raise StoreError(f"{self.path}: cannot be read or written: {root_of(error)}") from error
        except BrokenSealError as error:
            raise RunFolderError(
                f"{self.path}: damaged, or of another version of tune-cnn: {error} is not as it was written; "
                + without_study(RunFolder(self.path.parent))
            ) from error

    return guarded


class Study:
    """Asks for configurations and is told what became of them."""

    def __init__(self, storage: RDBStorage, search: SearchConfig) -> None:
        self._storage = storage
        self._search = search
        self._study_id = storage.get_study_id_from_name(NAME)
        self._history = History(search)
        self._is_read = False  # whether the history has heard of all trials in the file, and is told of what happens
        self._trial_ids: dict[int, int] = {}
        self._domains: Domains = {}
        self._rows: StudyRows | None = None
        """Where to write while a block is open."""
        self.path = Path(str(storage.engine.url.database))

    @classmethod
    def open(cls, db: Path, search: SearchConfig) -> "Study":
        """Open the study in `db`, or make it.

        Raises:
            RunFolderError: the file is not a study.
            StoreError: the disk is full or cannot be written; no study was begun.
        """
        if not db.exists() or is_half_made(db):
            make_study(db)
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
        check_pages(db)
        try:
            return cls(RDBStorage(f"sqlite:///{db}"), search)
        except (KeyError, RuntimeError, optuna.exceptions.OptunaError, SQLAlchemyError) as error:
            raise RunFolderError(
                f"{db}: not a study of tune-cnn, or a damaged one ({type(error).__name__}); "
                + without_study(RunFolder(db.parent))
            ) from error

    @contextmanager
    def at_once(self) -> Iterator[StudyRows]:
        """Commit all that is written within the block together: one wait for the disk in place of many.

        Whatever is raised within the block undoes all of it. What was learned of trials is then read again from the
        file before it is used.

        Raises:
            StoreError: the disk or the file failed; nothing of it was written.
        """
        sessions = self._storage.scoped_session
        sessions.remove()
        try:
            with self._storage.engine.begin() as connection:
                # What Optuna reads meanwhile it reads here, and ends by a commit: this mode keeps that from being one.
                sessions(bind=connection, join_transaction_mode="rollback_only")
                self._rows = rows = StudyRows(connection, self._study_id, self._domains)
                try:
                    yield rows
                finally:
                    self._rows = None
                    sessions.remove()
        except SQLAlchemyError as error:
            self._forget()
            raise StoreError(f"{self.path}: cannot be read or written: {root_of(error)}") from error
        except BaseException:
            self._forget()
            raise

    @property
    def storage(self) -> RDBStorage:
        """Optuna's own door to the file, for who copies it."""
        return self._storage

    def close(self) -> None:
        """Let go of the file."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    @_stored
    def ask(self, space: Space) -> tuple[int, Drawn]:
        """Give the next trial's number and its drawn values. They are kept in one write: all of them, or no trial."""
        if not self._is_read:
            self._trials()
        drawn = propose(space, self._search, self._history)
        domains = distributions([one for one in space.parameters if one.key in drawn.values])
        number = len(self._history)
        kept = {DRAWN: sealed(DRAWN, dict(drawn.values))}
        with self._writing() as rows:
            self._trial_ids[number] = rows.begin_trial(number, drawn.values, domains, kept)
        self._history.begin(number, drawn.values)
        return number, drawn

    @_stored
    def ask_again(self, number: int, space: Space) -> Drawn:
        """Give the values of a trial that was begun.

        Raises:
            SpaceFileError: they belong to another space.
        """
        return space.tree_of(attributes_of(self._storage.get_trial(self._trial_id(number)))[DRAWN])

    @_stored
    def note(self, number: int, /, **attributes: Any) -> None:
        """Keep what is known of a trial besides its scores: values, seed, data, facts, peak_memory_mb, losses."""
        with self._writing() as rows:
            rows.keep(self._trial_id(number), _sealed_all(attributes))

    @_stored
    def report(self, number: int, epoch: EpochRecord, *, stop: str = "") -> None:
        """Keep an epoch and, in the same write, why the trial is stopped after it; empty if it goes on.

        Telling an epoch again replaces it.
        """
        body = epoch.as_json() | ({STOP: stop} if stop else {})
        kept = _sealed_all({f"{EPOCH}:{epoch.epoch:05d}": body})
        with self._writing() as rows:
            rows.keep_step(self._trial_id(number), epoch.epoch, epoch.score, kept)
        if self._is_read:
            self._history.report(number, epoch.epoch, epoch.score)

    @_stored
    def finish(self, number: int, state: State, score: float | None, reason: str = "") -> None:
        """Close a trial: complete with its best score, stopped with its curve, failed with the reason and no score."""
        value = score if state == "complete" else None
        with self._writing() as rows:
            rows.end_trial(self._trial_id(number), _OPTUNAS[state], value, _sealed_all({"reason": reason}))
        if self._is_read:
            self._history.finish(number, state)

    @_stored
    def losses(self, number: int) -> list[Mapping[str, Any]]:
        """Give what `note` kept of what a running trial was interrupted by; empty before the first time."""
        kept = attributes_of(self._storage.get_trial(self._trial_id(number)))
        return list(kept.get(_LOSSES, []))

    @_stored
    def note_test(self, number: int, scores: Mapping[str, float]) -> None:
        """Keep a finished trial's scores on the test split. Optuna closes finished trials, so the study keeps them."""
        self._keep_of_search(f"{_TEST}:{number}", dict(scores))

    @_stored
    def note_seconds(self, seconds: float) -> None:
        """Keep how long all drivers of this search have been at it."""
        self._keep_of_search(_SECONDS, round(seconds, 3))

    @_stored
    def seconds(self) -> float:
        """Give what `note_seconds` kept; 0 before the first time."""
        return float(self._user_attributes().get(_SECONDS, 0.0))

    @_stored
    def note_estimate(self, estimate: Mapping[str, Any]) -> None:
        """Keep what the search was first estimated to take."""
        self._keep_of_search(_ESTIMATE, dict(estimate))

    @_stored
    def estimate(self) -> Mapping[str, Any] | None:
        """Give what `note_estimate` kept; None before the first time."""
        kept: Mapping[str, Any] | None = self._user_attributes().get(_ESTIMATE)
        return kept

    @_stored
    def note_reserved(self, seconds: float) -> None:
        """Keep how much time is left to the finals."""
        self._keep_of_search(_RESERVED, round(seconds, 3))

    @_stored
    def reserved(self) -> float:
        """Give what `note_reserved` kept; 0 before the first time."""
        return float(self._user_attributes().get(_RESERVED, 0.0))

    @_stored
    def note_finals_begun(self, trials: int, hours: float | None) -> None:
        """Keep with which budget the search was over when its finals began."""
        self._keep_of_search(_FINALS_BEGUN, {"trials": trials, "hours": hours})

    @_stored
    def finals_begun(self) -> tuple[int, float | None] | None:
        """Give the budget that `note_finals_begun` kept, trials and hours; None before the first time."""
        kept = self._user_attributes().get(_FINALS_BEGUN)
        return (int(kept["trials"]), kept["hours"]) if kept else None

    @_stored
    def note_final_epoch(self, key: str, epoch: EpochRecord) -> None:
        """Keep an epoch of one training of the finals, under its key."""
        self._keep_of_search(f"{_FINAL_EPOCH}:{key}:{epoch.epoch:05d}", epoch.as_json())

    @_stored
    def final_epochs(self, key: str) -> list[EpochRecord]:
        """Give what `note_final_epoch` kept under a key, in the order of the epochs; empty before the first."""
        prefix, kept = f"{_FINAL_EPOCH}:{key}:", self._user_attributes()
        return [EpochRecord.from_json(kept[name]) for name in sorted(kept) if name.startswith(prefix)]

    @_stored
    def note_final_losses(self, key: str, losses: Sequence[Mapping[str, Any]]) -> None:
        """Keep what one training of the finals was interrupted by, under its key."""
        self._keep_of_search(f"{_FINAL_LOSSES}:{key}", list(losses))

    @_stored
    def final_losses(self, key: str) -> list[Mapping[str, Any]]:
        """Give what `note_final_losses` kept under a key; empty before the first time."""
        return list(self._user_attributes().get(f"{_FINAL_LOSSES}:{key}", []))

    @_stored
    def note_final(self, key: str, outcome: Mapping[str, Any]) -> None:
        """Keep what became of one training of the finals, under its key."""
        self._keep_of_search(f"{_FINAL}:{key}", dict(outcome))

    @_stored
    def finals(self) -> dict[str, Mapping[str, Any]]:
        """Give what `note_final` kept, by its keys."""
        prefix = f"{_FINAL}:"
        kept = self._user_attributes()
        return {name.removeprefix(prefix): kept[name] for name in kept if name.startswith(prefix)}

    @_stored
    def records(self) -> list[TrialRecord]:
        """Give every trial that was ever begun, in the order of their numbers."""
        tests = self._user_attributes()
        return [
            record_of(trial, attributes, tests.get(f"{_TEST}:{trial.number}", {}))
            for trial, attributes in self._trials()
        ]

    def _trials(self) -> list[tuple[FrozenTrial, dict[str, Any]]]:
        """Read every trial that was ever begun, with what was kept of it, in the order of their numbers.

        For many trials that takes seconds, so the history, which is what the sampler learns from, hears of them too.
        """
        try:
            trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
        except (LookupError, ValueError, TypeError) as error:  # a state that is none, JSON that is none
            raise BrokenSealError(f"a trial ({type(error).__name__})") from error
        if [trial.number for trial in trials] != [*range(len(trials))]:
            raise BrokenSealError("the count of trials")
        known = [(trial, attributes_of(trial)) for trial in trials]
        if not self._is_read:
            for trial, attributes in known:
                replay(trial, attributes, self._history)
            self._is_read = True
        return known

    @contextmanager
    def _writing(self) -> Iterator[StudyRows]:
        """Give where to write: within the block that is open, else in a write of its own."""
        if self._rows is not None:
            yield self._rows
            return
        with self.at_once() as rows:
            yield rows

    def _keep_of_search(self, name: str, value: Any) -> None:
        """Keep something of the search as a whole."""
        with self._writing() as rows:
            rows.keep_of_study(_sealed_all({name: value}))

    def _forget(self) -> None:
        """Take nothing in memory for what stands in the file."""
        self._history, self._is_read = History(self._search), False
        self._trial_ids.clear()
        self._domains.clear()

    def _user_attributes(self) -> dict[str, Any]:
        """Read what was kept of the search as a whole."""
        try:
            kept = self._storage.get_study_user_attrs(self._study_id)
        except ValueError as error:  # JSON that is none
            raise BrokenSealError(f"what was kept of the search ({type(error).__name__})") from error
        return {name: opened(name, value) for name, value in kept.items()}

    def _trial_id(self, number: int) -> int:
        if number not in self._trial_ids:
            found = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
            self._trial_ids[number] = found
        return self._trial_ids[number]


def _sealed_all(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: sealed(name, value) for name, value in attributes.items()}
