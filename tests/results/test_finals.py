import numpy as np
import pytest

from tests.results.made import epoch, trial
from tune_cnn.results.finals import Finalist, Repeat, finals_rows, judge
from tune_cnn.results.intervals import ImageAnswers
from tune_cnn.results.records import TrialFacts
from tune_cnn.results.scores import Counts

IMAGES = 200


def accuracy(counts: Counts) -> float:
    return float(np.trace(counts) / counts.sum())


def answers(right: int) -> ImageAnswers:
    return ImageAnswers(np.zeros(IMAGES, np.int64), (np.arange(IMAGES) >= right).astype(np.int64), classes=2)


def finalist(number: int, val: tuple[int, ...], test: tuple[int, ...] = (), parameters: int = 100) -> Finalist:
    facts = TrialFacts(parameters, parameters, 1.0, 0, 1, "cpu")
    record = trial(number, epochs=(epoch(1, 0.5),), values={"model.backbone": f"net{number}"})
    repeats = [Repeat(seed, answers(right), answers(test[seed]) if test else None) for seed, right in enumerate(val)]
    return Finalist(type(record)(**{**vars(record), "facts": facts}), tuple(repeats))


def order(*finalists: Finalist) -> list[int]:
    return [final.finalist.trial.trial for final in judge(finalists, accuracy, seed=0)]


def test_the_higher_mean_goes_first_where_the_difference_is_sure() -> None:
    assert order(finalist(0, (100, 104)), finalist(1, (180, 184))) == [1, 0]


def test_of_what_cannot_be_told_apart_the_cheapest_goes_first() -> None:
    dear, cheap = finalist(0, (181, 184), parameters=900), finalist(1, (180, 185), parameters=100)
    finals = judge([dear, cheap], accuracy, seed=0)
    assert [final.finalist.trial.trial for final in finals] == [1, 0]
    assert [final.tied for final in finals] == [True, True]


def test_a_sure_winner_is_tied_with_nobody() -> None:
    finals = judge([finalist(0, (100, 104)), finalist(1, (180, 184))], accuracy, seed=0)
    assert [final.tied for final in finals] == [False, False]


def test_the_test_split_decides_nothing() -> None:
    """The worse on validation stays behind, however well it does on test."""
    assert order(finalist(0, (100, 104), test=(200, 200)), finalist(1, (180, 184), test=(10, 10))) == [1, 0]


def test_a_row_holds_mean_spread_interval_and_every_single_score() -> None:
    (row,) = finals_rows(judge([finalist(3, (150, 160, 170), test=(140, 150, 160))], accuracy, seed=0), "accuracy")
    assert row["val_accuracy_mean"] == pytest.approx(0.8)
    assert row["val_accuracy_std"] == pytest.approx(0.05)
    assert [row[f"val_accuracy_{place}"] for place in (1, 2, 3)] == pytest.approx([0.75, 0.8, 0.85])
    assert row["test_accuracy_low"] < row["test_accuracy_mean"] < row["test_accuracy_high"]
    assert (row["rank"], row["trial"], row["repeats"], row["seeds"]) == (1, 3, 3, "0 1 2")
    assert row["model.backbone"] == "net3"


def test_without_a_test_split_there_are_no_test_columns() -> None:
    (row,) = finals_rows(judge([finalist(0, (150,))], accuracy, seed=0), "accuracy")
    assert not [name for name in row if name.startswith("test_")]
    assert np.isnan(row["val_accuracy_std"])


def test_no_finalists_give_no_rows() -> None:
    assert finals_rows(judge([], accuracy, seed=0), "accuracy") == []
