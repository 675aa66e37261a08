from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.results.made import epoch, trial
from tune_cnn.results.finals import Finalist, Repeat, finals_rows, judge
from tune_cnn.results.intervals import ImageAnswers, ImageCounts
from tune_cnn.results.outcome_files import read_outcomes, write_outcomes
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


def test_a_configuration_with_a_failed_repeat_stands_behind_the_whole_ones() -> None:
    finals = judge([replace(finalist(0, (190, 190)), failed=1), finalist(1, (100, 100))], accuracy, seed=0)
    assert [(row["trial"], row["failed"]) for row in finals_rows(finals, "accuracy")] == [(1, 0), (0, 1)]


def test_test_differences_are_to_the_winner_on_validation() -> None:
    better_on_test = finalist(0, (100, 104), test=(200, 200))
    first, second = judge([better_on_test, finalist(1, (180, 184), test=(100, 100))], accuracy, seed=0)
    assert first.test
    assert second.test
    assert (first.test.to_best.low, first.test.to_best.high) == (0, 0)
    assert second.test.to_best.low > 0


def test_a_row_tells_what_repeats_cost() -> None:
    made = finalist(0, (100, 100))
    costs = ((1.0, 50.0, 3.0), (2.0, 60.0, 2.0))
    repeats = tuple(Repeat(one.seed, one.val, None, *cost) for one, cost in zip(made.repeats, costs, strict=True))
    (row,) = finals_rows(judge([replace(made, repeats=repeats)], accuracy, seed=0), "accuracy")
    assert (row["seconds"], row["peak_memory_mb"], row["ms_per_image"]) == (1.5, 60.0, 2.0)


def test_repeats_on_other_images_are_not_compared() -> None:
    repeats = tuple(Repeat(seed, replace(answers(100), images=name), None) for seed, name in enumerate("ab"))
    with pytest.raises(ValueError, match="other images"):
        judge([replace(finalist(0, (100,)), repeats=repeats)], accuracy, seed=0)


def test_outcomes_come_back_as_they_were_kept(tmp_path: Path) -> None:
    each = ImageCounts(np.arange(8).reshape(2, 2, 2), "cd")
    write_outcomes(tmp_path / "outcomes.npz", {"val": replace(answers(5), images="ab"), "test": each})
    found = read_outcomes(tmp_path / "outcomes.npz")
    assert found
    assert [found[split].images for split in ("val", "test")] == ["ab", "cd"]
    assert accuracy(found["val"].counts(np.arange(IMAGES))) == 5 / IMAGES
    assert (found["test"].counts(np.arange(2)) == each.counts(np.arange(2))).all()


@pytest.mark.parametrize("text", [pytest.param(None, id="missing"), pytest.param(b"PK\x03\x04cut", id="cut-short")])
def test_damaged_outcomes_are_no_outcomes(text: bytes | None, tmp_path: Path) -> None:
    if text:
        (tmp_path / "outcomes.npz").write_bytes(text)
    assert read_outcomes(tmp_path / "outcomes.npz") is None


def test_outcomes_with_one_byte_flipped_are_as_they_were_or_none(tmp_path: Path) -> None:
    file, kept = tmp_path / "outcomes.npz", replace(answers(5), images="ab")
    write_outcomes(file, {"val": kept})
    data, none = file.read_bytes(), 0
    for place in range(len(data)):
        file.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        found = read_outcomes(file)
        none += found is None
        if found:
            np.testing.assert_array_equal(found["val"].counts(np.arange(IMAGES)), kept.counts(np.arange(IMAGES)))
    assert none > len(data) / 2


FOREIGN = {
    "other-lengths": {"true": [0, 1], "predicted": [0]},
    "beyond-the-classes": {"true": [0, 1], "predicted": [0, 2]},
    "below-zero": {"true": [0, 1], "predicted": [0, -1]},
    "fractions": {"true": [0, 1], "predicted": [0.5, 1]},
    "table": {"true": [[0, 1]], "predicted": [[0, 1]]},
    "endless-classes": {"true": [0, 1], "predicted": [0, 1], "classes": float("inf")},
    "flat-counts": {"each": [1, 2, 3, 4]},
    "counts-of-no-square": {"each": [[[1, 2]]]},
}


@pytest.mark.parametrize("arrays", FOREIGN.values(), ids=list(FOREIGN))
def test_outcomes_that_nobody_can_have_written_are_none(arrays: dict[str, list[float]], tmp_path: Path) -> None:
    whole: dict[str, Any] = {"images": "ab", "classes": 2, **arrays}
    np.savez(tmp_path / "outcomes.npz", allow_pickle=False, **{f"val.{name}": value for name, value in whole.items()})
    assert read_outcomes(tmp_path / "outcomes.npz") is None


def test_no_finalists_give_no_rows() -> None:
    assert finals_rows(judge([], accuracy, seed=0), "accuracy") == []
