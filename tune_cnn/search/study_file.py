"""study.db as a file of SQLite: made whole, and looked through before it is believed."""

import sqlite3
from contextlib import closing
from pathlib import Path

import optuna
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from sqlalchemy.exc import SQLAlchemyError

from tune_cnn.errors import RunFolderError, StoreError
from tune_cnn.files import replaced
from tune_cnn.results.records import RunFolder
from tune_cnn.search.remedies import without_study

NAME = "search"
"""Of the one study in the file."""
_TABLES = {*models.BaseModel.metadata.tables, "alembic_version"}


def make_study(db: Path) -> None:
    """Make an empty study. It appears whole: a kill meanwhile leaves none."""
    with replaced(db) as part:
        try:
            storage = RDBStorage(f"sqlite:///{part}")
            try:
                storage.create_new_study([StudyDirection.MAXIMIZE], NAME)
            finally:
                storage.remove_session()
                storage.engine.dispose()
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            raise StoreError(f"{db}: cannot be made: {root_of(error)}") from error


def is_half_made(db: Path) -> bool:
    """Whether a file holds what a kill left of making a study, when that was not yet done aside: no trial is lost."""
    try:
        with closing(sqlite3.connect(f"{db.resolve().as_uri()}?mode=rw", uri=True)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not tables <= _TABLES:
                return False
            for table, looked_for in (("studies", "SELECT 1 FROM studies"), ("trials", "SELECT 1 FROM trials")):
                if table in tables and connection.execute(looked_for).fetchone():
                    return False
            return True
    except sqlite3.Error:
        return False  # damaged otherwise, or not ours: to be looked at by a person


def check_pages(db: Path) -> None:
    """Let SQLite look through the whole file: it has no digests, but its tables and indices say much twice.

    Raises:
        RunFolderError: they do not agree, or it is no database.
    """
    try:
        with closing(sqlite3.connect(f"{db.resolve().as_uri()}?mode=rw", uri=True)) as connection:
            (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            stray = connection.execute("PRAGMA foreign_key_check").fetchone()
    except sqlite3.DatabaseError as error:
        raise RunFolderError(
            f"{db}: not a study of tune-cnn, or a damaged one ({error}); {without_study(RunFolder(db.parent))}"
        ) from error
    if found != "ok" or stray is not None:
        why = " ".join(str(found).split()) if stray is None else f"a row of {stray[0]} belongs to nothing"
        raise RunFolderError(f"{db}: damaged ({why}); {without_study(RunFolder(db.parent))}")


def root_of(error: BaseException) -> str:
    """Give the database's own words, without the statement and the parameters around them."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}".splitlines()[0]
