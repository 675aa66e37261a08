"""The shelf of models, held against looking through all trials each time."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from tests.search.driving import epoch_of
from tune_cnn.results.leaderboard import ranked
from tune_cnn.results.records import RunFolder, TrialRecord
from tune_cnn.results.trial_files import new_best
from tune_cnn.search.shelf import Shelf


def write_model(run: RunFolder, number: int) -> None:
    """What a worker leaves of a best epoch."""
    with new_best(run.trial(number), 1) as part:
        (part / "model.safetensors").write_bytes(b"weights")


def expected_weights(records: dict[int, TrialRecord], keep: int) -> set[int]:
    """Whose weights must stand: of all that run and have a score, and of the best that have ended."""
    ended = [record for record in ranked(records.values()) if record.state != "running" and record.best]
    running = {number for number, record in records.items() if record.state == "running" and record.best}
    return running | {record.trial for record in ended[:keep]}


def expected_best(records: dict[int, TrialRecord]) -> int | None:
    return next((record.trial for record in ranked(records.values()) if record.best), None)


def step(run: RunFolder, shelf: Shelf, records: dict[int, TrialRecord], draw: random.Random) -> None:
    """Let one thing happen: a trial begins, has an epoch, or ends."""
    running = [number for number, record in records.items() if record.state == "running"]
    if not running or (len(running) < 3 and draw.random() < 0.3):
        number = len(records)
        records[number] = TrialRecord(number, "running", 0, {})
        return
    number = draw.choice(running)
    record = records[number]
    if record.epochs and draw.random() < 0.4:
        records[number] = replace(record, state=draw.choice(["complete", "stopped", "failed"]))
        shelf.on_end(records[number], records)
        return
    score = draw.choice([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])  # few values: ties are frequent
    if record.best is None or score > record.best.score:
        write_model(run, number)
    records[number] = replace(record, epochs=(*record.epochs, epoch_of(len(record.epochs) + 1, score)))
    shelf.on_score(records[number], records)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("keep", [1, 3])
def test_the_best_trials_weights_stand_and_best_names_the_best_of_all_at_any_moment(
    tmp_path: Path, seed: int, keep: int
) -> None:
    run, draw = RunFolder(tmp_path), random.Random(seed)  # noqa: S311 - no secret
    shelf, records = Shelf(run, keep), dict[int, TrialRecord]()
    for moment in range(50):
        if draw.random() < 0.1:  # killed, and taken up by the next driver
            shelf = Shelf(run, keep)
            shelf.take_up(records)
        step(run, shelf, records, draw)
        at = f"seed {seed}, moment {moment}"
        standing = {number for number in records if run.trial(number).best.exists()}
        assert standing == expected_weights(records, keep), at
        best = expected_best(records)
        assert run.best.is_symlink() is (best is not None), at
        if best is not None:
            assert run.best.resolve() == run.trial(best).best.resolve(), at
        assert set(shelf.kept) == standing - {number for number in records if records[number].state == "running"}, at


@pytest.mark.parametrize("after", ["a-rename", "no-event"])
def test_a_driver_that_died_before_it_pruned_is_made_good_for(tmp_path: Path, after: str) -> None:
    run = RunFolder(tmp_path)
    records = {
        number: TrialRecord(number, "complete", 0, {}, epochs=(epoch_of(1, number / 10),)) for number in range(6)
    }
    for number in records:
        write_model(run, number)
    if after == "a-rename":
        run.best.symlink_to("trials/0001/best")
    Shelf(run, 2).take_up(records)
    assert {number for number in records if run.trial(number).best.exists()} == {4, 5}
    assert run.best.resolve() == run.trial(5).best.resolve()


@pytest.mark.parametrize("finals_top", [0, 2], ids=["without-finals", "with-finals"])
def test_best_names_a_trial_whose_model_has_come_here_with_its_end_alone(tmp_path: Path, finals_top: int) -> None:
    run = RunFolder(tmp_path)
    shelf, records = Shelf(run, 2, finals_top=finals_top), dict[int, TrialRecord]()
    for number, is_here in enumerate([True, False]):
        records[number] = TrialRecord(number, "running", 0, {}, epochs=(epoch_of(1, number / 10),))
        if is_here:
            write_model(run, number)
        shelf.on_score(records[number], records)
    write_model(run, 1)  # from another machine
    for number in records:
        records[number] = replace(records[number], state="complete")
    shelf.on_end(records[1], records)
    assert run.best.resolve() == run.trial(1).best.resolve()
