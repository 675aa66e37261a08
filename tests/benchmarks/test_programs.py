"""What is read of the two programs, and what they are given."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks.material import write_images
from benchmarks.overhead import gaps_of_records, gaps_of_run, median_gap
from benchmarks.programs import ProgramError, read_records, timed
from benchmarks.table import Row, markdown
from benchmarks.workloads import WORKLOADS
from tune_cnn.results.records import RunFolder
from tune_cnn.sample import write_sample
from tune_cnn.search.open_space import open_space

VALUES = {"backbone": "resnet18", "frozen_units": 3, "lr": 0.01, "dropout": 0.1, "px": 32}


def record(*epochs: tuple[float, float]) -> dict[str, object]:
    """A trial as the plain program records it, from when its epochs began and ended."""
    each = [
        {"epoch": place, "val_accuracy": 0.25 * place, "began": began, "ended": ended}
        for place, (began, ended) in enumerate(epochs, start=1)
    ]
    return {"config": VALUES, "epochs": each}


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_the_spaces_of_the_workloads_can_be_read_and_stop_nobody_early(workload: object) -> None:
    space = open_space(workload.space).space  # type: ignore[attr-defined]
    assert space.search.asha is None
    assert space.search.sampler == "random"
    assert space.search.trials == workload.trials  # type: ignore[attr-defined]


def test_the_images_of_both_programs_have_the_proportions_of_the_whole(tmp_path: Path) -> None:
    write_sample("boxes", tmp_path / "boxes", images_per_class={"train": 4, "valid": 2, "test": 1})
    images = write_images(tmp_path / "images", train=10, val=5, real=tmp_path / "boxes")
    counts = {place.name: len(list(place.iterdir())) for place in (images.folder / "train").iterdir()}
    assert set(counts.values()) == {2}
    assert (len(counts), images.train, images.val) == (5, 10, 5)


def test_a_stand_in_takes_the_place_of_the_aquarium(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", train=5, val=5, real=None)
    assert (images.train, images.val) == (5, 5)


def test_the_records_of_the_plain_program_are_read_in_their_order(tmp_path: Path) -> None:
    file = tmp_path / "records.json"
    file.write_text(json.dumps([record((0, 2), (3, 4)), record((1, 2))]))
    first, second = read_records(file)
    assert first.epoch_seconds == (2, 1)
    assert first.best == 0.5
    assert second.scores == (0.25,)
    assert first.as_point() == {name: value for name, value in VALUES.items() if name != "px"}


def test_a_plain_trial_without_an_epoch_is_no_measurement(tmp_path: Path) -> None:
    file = tmp_path / "records.json"
    file.write_text(json.dumps([record()]))
    with pytest.raises(ProgramError, match="has failed"):
        read_records(file)


def test_variables_of_ray_do_not_reach_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    output = tmp_path / "output.txt"
    timed([sys.executable, "-S", "-c", "import os; print([*os.environ])"], output)
    assert "PYTHONPATH" in output.read_text()
    assert "TUNE_" not in output.read_text()


def test_a_program_that_fails_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match=r"ended with 3(.|\n)*no luck"):
        timed([sys.executable, "-S", "-c", "print('no luck'); raise SystemExit(3)"], tmp_path / "output.txt")


def test_the_gaps_of_the_plain_program_are_between_trials_in_time(tmp_path: Path) -> None:
    file = tmp_path / "records.json"
    file.write_text(json.dumps([record((0, 2), (2, 3)), record((20, 21)), record((10, 11))]))
    assert gaps_of_records(file) == [7, 9]
    assert median_gap([7, 9]) == 9


def test_the_gaps_of_a_run_end_where_the_next_epoch_began(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for number, logged in enumerate(("12:00:01,000", "12:00:03,500")):
        run.trial(number).path.mkdir(parents=True)
        lines = f"2026-01-02 12:00:00,000 INFO net, 1 of 2 units\n2026-01-02 {logged} INFO epoch 1, lr 0.1: val\n"
        run.trial(number).log.write_text(lines)
    run.epochs.write_text("trial,epoch,seconds\n0,1,0.5\n1,1,2.0\n")
    assert gaps_of_run(run, 2) == [pytest.approx(0.5)]


def test_a_target_is_met_from_its_own_side_and_is_printed_with_it() -> None:
    ratio = Row("head", "warm epoch", "1 s", "60 s", 60.0, "x", "≥", 50)
    gap = Row("gap", "median", "0.4 s", "6 s", 0.4, "s", "≤", 0.3)
    assert (ratio.met, gap.met) == (True, False)
    text = markdown(("a",) * 7, [ratio.cells(), gap.cells()])
    assert "| 60 x  | ≥ 50 x  | yes |" in text
    assert "NO" in text
