"""More trials for a run, of its own space or of a changed one."""

import itertools
import multiprocessing
import random
import shutil
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.search.driving import SPACE, drive, go_on, made_space, open_session, rising, start
from tune_cnn.errors import InputError
from tune_cnn.files import sweep
from tune_cnn.results.records import RunFolder
from tune_cnn.search.extension import extend_run, finish_extension, open_extended, prepare_extension
from tune_cnn.search.finalists import finalists
from tune_cnn.search.run_facts import RunFacts, read_facts, write_facts
from tune_cnn.search.session import SearchSession
from tune_cnn.search.study import Study
from tune_cnn.space.schema import Space, read_space
from tune_cnn.yaml_files import write_yaml

RATE = "training.optimizer.lr"
HIGHER = f"{RATE}={{range: [1e-3, 1.0], log: true}}"
"""Leaves out the trials with the lowest rates, and admits higher ones than there were."""
FEW = ("search.trials=6", "training.epochs=2")
ONE_BACKBONE = "model.backbone=resnet18"


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def begin_run(run: RunFolder, space: Space, *, trials: int | None = None) -> SearchSession:
    """Do what a search does: say what the folder is about, and run so many trials; None for all."""
    seconds = itertools.count()
    session = open_session(space, run, clock=lambda: float(next(seconds)))  # no epoch comes in a rush
    write_yaml(run.space, space.canonical())
    write_facts(run, RunFacts(command="", weights={}, space_digest=space.digest(), data="d" * 64, seed=3))
    drive(session, most=trials)
    session.write_tables()
    return session


def extended(run: RunFolder, *overrides: str, trials: int = 9) -> tuple[SearchSession, str]:
    space = made_space(run.path.parent, overrides=(*FEW, *overrides, f"search.trials={trials}"))
    told = extend_run(run, read_facts(run), space)
    return open_session(space, run), told


def within(rate: object) -> bool:
    assert isinstance(rate, float)
    return rate >= 1e-3


def test_trials_within_a_changed_space_count_for_it_and_the_others_stay_in_the_table(run: RunFolder) -> None:
    before = begin_run(run, made_space(run.path.parent, overrides=FEW)).records
    inside = [number for number, record in before.items() if within(record.values[RATE])]
    assert 0 < len(inside) < len(before)
    session, told = extended(run, HIGHER)
    assert told.startswith(
        f"{len(inside)} of 6 old trials lie within the new space and count for it; {6 - len(inside)} are kept in the "
        "table alone"
    )
    assert "(it differs in training.optimizer.lr: {" in told
    assert [number for number, record in session.records.items() if not record.outside] == inside
    for number, record in before.items():
        after = session.records[number]
        assert (after.state, after.epochs, after.values, after.reason) == (
            record.state, record.epochs, record.values, record.reason,
        )  # fmt: skip
    assert drive(session) == 3
    assert all(within(session.records[number].values[RATE]) for number in range(6, 9))
    rows = pd.read_csv(run.leaderboard).set_index("trial")
    assert len(rows) == 9
    assert rows.outside.eq(True).sum() == 6 - len(inside)


def test_the_old_space_is_kept_and_the_run_is_of_the_new_one(run: RunFolder) -> None:
    old = made_space(run.path.parent, overrides=FEW)
    begin_run(run, old, trials=3)
    first = run.space.read_text()
    session, told = extended(run, HIGHER)
    assert "space.1.yaml" in told
    assert run.earlier_space(1).read_text() == first
    assert read_facts(run).space_digest == session.space.digest() != old.digest()
    second = run.space.read_text()
    extended(run, HIGHER, ONE_BACKBONE)
    assert run.earlier_space(2).read_text() == second


def test_what_lies_outside_teaches_nobody_and_is_nobodys_measure(run: RunFolder) -> None:
    """The scores of the trials that lie outside, made the worst or the best of all, change nothing that comes after."""
    tables = []
    for bonus in (-5.0, 5.0):
        folder = RunFolder(run.path.with_name(f"run-{bonus:g}"))
        alone = ("search.sampler=random", "search.asha=null")  # so far no trial has changed another
        session = open_session(made_space(run.path.parent, overrides=(*FEW, *alone)), folder)
        write_yaml(folder.space, session.space.canonical())
        facts = RunFacts(command="", weights={}, space_digest=session.space.digest(), data="d" * 64, seed=3)
        write_facts(folder, facts)
        for number in range(6):
            job = start(session)
            outside = job.config.model.backbone_name != "resnet18"
            for epoch in (1, 2):
                go_on(session, job, epoch, rising(session.records[number].values, epoch) + bonus * outside)
            session.on_end(number, None)
        session, _ = extended(folder, ONE_BACKBONE, "search.random_trials=2")
        assert sum(record.outside for record in session.records.values()) == 5
        drive(session)
        tables.append([session.records[number].epochs for number in range(6, 9)])
        assert not [record for record in finalists(session.records.values(), 9) if record.outside]
    assert tables[0] == tables[1]


def test_a_trial_that_outgrew_one_space_is_taken_in_again_by_the_next(run: RunFolder) -> None:
    begin_run(run, made_space(run.path.parent, overrides=FEW))
    extended(run, ONE_BACKBONE)
    session, told = extended(run, trials=10)
    assert told.startswith("6 of 6 old trials lie within the new space and count for it; the space")
    assert {*Study.open(run.study, session.space.search).records()[1].values} >= {"model.backbone", RATE}
    assert not [record for record in session.records.values() if record.outside]


def test_running_trials_go_on_within_the_new_space_and_end_outside(run: RunFolder) -> None:
    dead = begin_run(run, made_space(run.path.parent, overrides=FEW), trials=0)
    jobs = [start(dead) for _ in range(6)]
    for job in jobs[:-1]:
        go_on(dead, job, 1, 0.5)
    session, _ = extended(run, HIGHER)
    states = {number: record.state for number, record in session.records.items()}
    assert states == {
        number: "running" if within(record.values[RATE]) else "failed" if number == 5 else "stopped"
        for number, record in dead.records.items()
    }
    assert {"running", "stopped"} <= {*states.values()}
    again = session.propose()
    assert again is not None
    assert again.config.training == jobs[again.number].config.training
    assert [epoch.score for epoch in session.running[again.number].epochs] == [0.5]
    gone = next(record for record in session.records.values() if record.state == "stopped")
    assert gone.reason == "the space was changed, and does not hold it"


def test_a_kill_leaves_the_old_run_or_the_new_one_whole(run: RunFolder) -> None:
    session = begin_run(run, made_space(run.path.parent, overrides=FEW), trials=3)
    space = made_space(run.path.parent, overrides=(*FEW, HIGHER, "search.trials=4"))
    prepare_extension(run, read_facts(run), space)
    (run.path / "study.db-journal").write_bytes(b"")  # as a driver that was killed within a commit leaves it
    names = sorted(file.name for file in run.extending.iterdir())
    assert names == ["run.json", "space.1.yaml", "space.yaml", "study.db"]
    for moved in range(5):
        killed = RunFolder(run.path.with_name(f"killed-after-{moved}"))
        shutil.copytree(run.path, killed.path, symlinks=True)
        for name in names[:moved]:
            (killed.extending / name).replace(killed.path / name)
        assert made_space_of(killed).digest() == space.digest()
        finish_extension(killed)
        finish_extension(killed)
        assert not killed.extending.exists()
        assert not (killed.path / "study.db-journal").exists() or moved == 4
        records = Study.read(killed.study, space.search).records()
        assert [record.epochs for record in records] == [one.epochs for one in session.records.values()]
        assert read_facts(killed).space_digest == made_space_of(killed).digest() == space.digest()
    assert drive(open_session(space, killed)) == 1


def made_space_of(run: RunFolder) -> Space:
    """The space that `resume` reads."""
    return open_extended(run, None, trials=99, overrides=["search.trials=4"], data_root=None).space


@pytest.mark.slow
def test_killed_at_any_moment_an_extension_has_happened_or_not(run: RunFolder) -> None:
    before = begin_run(run, made_space(run.path.parent, overrides=FEW), trials=4).records
    old, new = read_facts(run).space_digest, made_space(run.path.parent, overrides=(*FEW, HIGHER))
    ends = {old: 0, new.digest(): 0}
    for seed in range(30):
        folder = RunFolder(run.path.with_name(f"killed-{seed}"))
        shutil.copytree(run.path, folder.path, symlinks=True)
        process = multiprocessing.get_context("fork").Process(target=extend_run, args=(folder, read_facts(folder), new))
        process.start()
        time.sleep(random.Random(seed).uniform(0.0, 1.5))  # noqa: S311 - no secret
        process.kill()
        process.join()
        sweep(folder.path)
        finish_extension(folder)
        digest = read_facts(folder).space_digest
        ends[digest] += 1
        assert read_space(folder.space).digest() == digest, f"seed {seed}"
        records = Study.read(folder.study, new.search).records()
        assert [record.epochs for record in records] == [record.epochs for record in before.values()], f"seed {seed}"
        assert any(record.outside for record in records) is (digest != old), f"seed {seed}"
        assert not list(folder.path.glob(".*.part*")), f"seed {seed}"
    assert all(ends.values()), ends  # else the moments were badly chosen


def test_a_kill_before_all_was_written_aside_leaves_the_run_as_it_was(run: RunFolder) -> None:
    begin_run(run, made_space(run.path.parent, overrides=FEW), trials=3)
    whole = RunFolder(run.path.with_name("whole"))
    shutil.copytree(run.path, whole.path, symlinks=True)
    aside = run.path / ".extending.x1.part"
    aside.mkdir()
    shutil.copy(run.study, aside)
    sweep(run.path)
    finish_extension(run)
    for folder in (run, whole):
        drive(open_session(made_space(run.path.parent, overrides=FEW), folder))
    assert run.leaderboard.read_text() == whole.leaderboard.read_text()
    assert not aside.exists()


@pytest.mark.parametrize("trials", [3, 2], ids=["as-many", "fewer"])
def test_a_number_that_adds_nothing_is_refused(run: RunFolder, trials: int) -> None:
    begin_run(run, made_space(run.path.parent, overrides=(*FEW, "search.trials=3")))
    with pytest.raises(InputError, match=rf"--trials {trials}: .* asks for 3 trials already.*write --trials 4 or"):
        open_extended(run, None, trials=trials, overrides=[], data_root=None)
    before = {file: file.read_bytes() for file in run.path.iterdir() if file.is_file()}
    with pytest.raises(InputError, match=rf"--trials {trials}: .* has 3 trials already.*write --trials 4 or more"):
        extended(run, HIGHER, trials=trials)
    assert {file: file.read_bytes() for file in run.path.iterdir() if file.is_file()} == before


def test_the_space_of_a_run_is_extended_by_a_number_alone(run: RunFolder) -> None:
    begin_run(run, made_space(run.path.parent, overrides=(*FEW, "search.trials=1")))
    opened = open_extended(run, None, trials=3, overrides=[], data_root=None)
    assert opened.space.digest() == read_facts(run).space_digest
    assert drive(open_session(opened.space, run)) == 2


@pytest.mark.parametrize(
    ("written", "says"),
    [
        pytest.param("seed: 3", "search.seed: 3 in the run, 4 here", id="seed"),
        pytest.param("seed: 3", "search.metric: val_accuracy in the run, -val_loss here", id="metric"),
    ],
)
def test_what_would_make_scores_incomparable_is_refused(run: RunFolder, written: str, says: str) -> None:
    begin_run(run, made_space(run.path.parent, overrides=FEW), trials=1)
    other = run.path.parent / "other.yaml"
    other.write_text(SPACE.replace(written, "seed: 4" if "seed" in says else "seed: 3, metric: -val_loss"))
    with pytest.raises(InputError, match=says):
        open_extended(run, other, trials=20, overrides=[], data_root=None)


def test_a_new_space_without_a_seed_takes_the_runs(run: RunFolder) -> None:
    begin_run(run, made_space(run.path.parent, overrides=FEW), trials=1)
    other = run.path.parent / "other.yaml"
    other.write_text(SPACE.replace("seed: 3, ", ""))
    assert open_extended(run, other, trials=20, overrides=[], data_root=None).space.search.seed == 3


def test_a_run_without_a_trial_goes_over_to_another_space(run: RunFolder) -> None:
    begin_run(run, made_space(run.path.parent, overrides=FEW), trials=0)
    run.study.unlink()
    session, told = extended(run, HIGHER)
    assert told.startswith("0 of 0 old trials")
    assert drive(session, most=1) == 1
