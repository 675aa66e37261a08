"""study.db: what is written together stands there together or not at all, and half of one is made anew."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage

from tests.full_disk import full_disk
from tests.search.driving import epoch_of, made_space
from tune_cnn.errors import RunFolderError, StoreError
from tune_cnn.search.study import NAME, Study
from tune_cnn.space.schema import Space


@pytest.fixture
def space(tmp_path: Path) -> Space:
    return made_space(tmp_path)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "study.db"


def commits(db: Path) -> int:
    """How many transactions have changed the file since it was made."""
    return int.from_bytes(db.read_bytes()[24:28], "big")


def in_file(db: Path, space: Space) -> list[tuple[str, int]]:
    return [(record.state, len(record.epochs)) for record in Study.read(db, space.search).records()]


class _GivenUpError(Exception):
    pass


def test_what_is_written_in_one_block_is_one_commit(db: Path, space: Space) -> None:
    study = Study.open(db, space.search)
    study.ask(space)
    before = commits(db)
    with study.at_once():
        study.note(0, seed=1, data="d")
        study.report(0, epoch_of(1, 0.5))
        study.note_seconds(3.0)
        study.finish(0, "complete", 0.5)
        assert commits(db) == before
    assert commits(db) == before + 1
    assert in_file(db, space) == [("complete", 1)]


def write_a_lot(study: Study, space: Space) -> None:
    study.report(0, epoch_of(2, 0.9))
    study.note_test(0, {"accuracy": 1.0})
    study.finish(0, "complete", 0.9)
    study.ask(space)


@pytest.mark.parametrize("error", [_GivenUpError, KeyboardInterrupt], ids=["an-error", "ctrl-c"])
def test_of_a_block_that_does_not_end_well_nothing_is_in_the_file_nor_in_memory(
    db: Path, space: Space, error: type[BaseException]
) -> None:
    study = Study.open(db, space.search)
    study.ask(space)
    study.report(0, epoch_of(1, 0.5))
    before = db.read_bytes()

    def give_up() -> None:
        with study.at_once():
            write_a_lot(study, space)
            raise error

    with pytest.raises(error):
        give_up()
    assert db.read_bytes() == before
    assert in_file(db, space) == [("running", 1)]
    assert [(record.state, len(record.epochs), record.test) for record in study.records()] == [("running", 1, {})]
    copy = Path(shutil.copy(db, db.with_name("copy.db")))
    assert study.ask(space) == Study.read(copy, space.search).ask(space)  # both know of one trial


def seed_and_epoch(study: Study) -> None:
    with study.at_once():
        study.note(0, seed=7)
        study.report(0, epoch_of(1, 0.5))


def test_on_a_full_disk_nothing_of_a_block_is_written_and_later_all_of_it(db: Path, space: Space) -> None:
    study = Study.open(db, space.search)
    study.ask(space)
    with full_disk(), pytest.raises(StoreError, match=r"study\.db: cannot be read or written"):
        seed_and_epoch(study)
    assert in_file(db, space) == [("running", 0)]
    seed_and_epoch(study)
    assert in_file(db, space) == [("running", 1)]


# --- a study that was never finished being made ----------------------------------------------------------------------


def empty_file(db: Path) -> None:
    db.touch()


def no_tables(db: Path) -> None:
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("PRAGMA user_version = 1")
        connection.commit()


def tables_alone(db: Path) -> None:
    RDBStorage(f"sqlite:///{db}").engine.dispose()


def some_tables(db: Path) -> None:
    tables_alone(db)
    with closing(sqlite3.connect(db)) as connection:
        for table in ("alembic_version", "trials", "trial_values"):
            connection.execute(f"DROP TABLE {table}")
        connection.commit()


def before_the_rename(db: Path) -> None:
    (db.parent / ".study.db.x1.part").touch()
    (db.parent / ".study.db.x1.part-journal").touch()


@pytest.mark.parametrize("left", [empty_file, no_tables, tables_alone, some_tables, before_the_rename])
def test_a_study_that_a_kill_left_half_made_is_made_anew(db: Path, space: Space, left: Callable[[Path], None]) -> None:
    left(db)
    study = Study.open(db, space.search)
    assert study.records() == []
    assert study.ask(space)[0] == 0
    assert in_file(db, space) == [("running", 0)]


def foreign_tables(db: Path) -> None:
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
        connection.commit()


def another_study(db: Path) -> None:
    optuna.create_study(storage=f"sqlite:///{db}", study_name="anothers")
    assert NAME != "anothers"


def text(db: Path) -> None:
    db.write_text("not a database, but long enough to be looked at as one" * 10)


@pytest.mark.parametrize("left", [foreign_tables, another_study, text])
def test_what_may_be_somebodys_work_is_left_alone(db: Path, space: Space, left: Callable[[Path], None]) -> None:
    left(db)
    before = db.read_bytes()
    with pytest.raises(RunFolderError, match=r"study\.db: not a study of tune-cnn, or a damaged one"):
        Study.open(db, space.search)
    assert before.startswith(b"SQLite") is (left is not text)
    if left is text:
        assert db.read_bytes() == before
