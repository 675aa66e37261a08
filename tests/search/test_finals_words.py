"""What is said of the finals: while they run, and of who won."""

from pathlib import Path

from tests.results.test_finals import accuracy, finalist
from tests.search.driving import epoch_of, facts_of
from tests.search.test_finals import made_finals, proposed, read_back, searched_in
from tune_cnn.results.finals import judge
from tune_cnn.search.final_scores import Judged, verdict


def test_finals_say_what_they_are_about_and_now_and_then_how_far_they_are(tmp_path: Path) -> None:
    now, told = [0.0], list[str]()
    finals = made_finals(searched_in(tmp_path, clock=lambda: now[0]), told)
    whose = "the best 2 configurations trained anew with other seeds, to the last epoch"
    assert finals.what == f"finals: {whose}; 4 of 4 are left"
    job = proposed(finals)
    read_back(job, "train", facts_of(job).frozen_units)
    for number, seconds in enumerate((10, 20, 31, 50, 62), start=1):
        now[0] = seconds
        finals.on_epoch(job.number, epoch_of(number, 0.5), facts_of(job), None)
    which = f"final of trial {finals.heats[0].trial}, repeat 1,"
    assert told == [f"{which} {text}  [0/4]" for text in ("begins", "epoch 3 of 9", "epoch 5 of 9")]


def test_whoever_is_better_is_said_to_be_so_on_what_basis() -> None:
    finals = judge(
        [finalist(number, val) for number, val in enumerate([(180, 184), (100, 104), (120, 124)])], accuracy, seed=0
    )
    nearest = next(each.val.to_best for each in finals if each.finalist.trial.trial == 2)
    assert verdict(Judged(finals, "accuracy")) == (
        "trial 0 is better than the others by more than chance: it is ahead of trial 2, the nearest, by "
        f"{-nearest.high:.4f} to {-nearest.low:.4f} (95 % interval of the paired difference over the validation images "
        "and the repeats)"
    )
    assert -nearest.high > 0


def test_of_two_the_other_need_not_be_called_the_nearest() -> None:
    finals = judge([finalist(number, val) for number, val in enumerate([(180, 184), (100, 104)])], accuracy, seed=0)
    assert ": it is ahead of trial 1, by 0." in verdict(Judged(finals, "accuracy"))
