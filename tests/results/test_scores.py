import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics

from tune_cnn.results.scores import class_scores, segmentation_scores, split_scores


def confusion_of(true: list[int], predicted: list[int], classes: int) -> np.ndarray:
    counts: np.ndarray = metrics.confusion_matrix(true, predicted, labels=range(classes)).astype(np.int64)
    return counts


@pytest.mark.parametrize("seed", range(20))
def test_scores_are_those_of_scikit_learn(seed: int) -> None:
    draw = np.random.default_rng(seed)
    classes = int(draw.integers(2, 8))
    true, predicted = draw.integers(0, classes, (2, int(draw.integers(1, 60))))
    scores = split_scores(confusion_of(true, predicted, classes))
    assert scores["accuracy"] == pytest.approx(metrics.accuracy_score(true, predicted))
    recalls = metrics.recall_score(true, predicted, labels=np.unique(true), average="macro")
    assert scores["balanced_accuracy"] == pytest.approx(recalls)
    assert scores["macro_f1"] == pytest.approx(metrics.f1_score(true, predicted, average="macro"))


@pytest.mark.parametrize("seed", range(10))
def test_class_scores_are_those_of_scikit_learn(seed: int) -> None:
    draw = np.random.default_rng(seed)
    true, predicted = draw.integers(0, 4, (2, 200))
    found = class_scores(confusion_of(true, predicted, 4), ("a", "b", "c", "d"))
    precision, recall, _, support = metrics.precision_recall_fscore_support(true, predicted)
    assert [one.precision for one in found] == pytest.approx(list(precision))
    assert [one.sensitivity for one in found] == pytest.approx(list(recall))
    assert [one.support for one in found] == list(support)
    rest = [metrics.recall_score(true != number, predicted != number) for number in range(4)]
    assert [one.specificity for one in found] == pytest.approx(rest)


def test_nothing_counted_gives_nan_not_zero() -> None:
    assert all(np.isnan(value) for value in split_scores(np.zeros((3, 3), np.int64)).values())


def test_a_class_that_never_occurs_has_no_sensitivity() -> None:
    absent = class_scores(np.array([[3, 1], [0, 0]]), ("here", "absent"))[1]
    assert np.isnan(absent.sensitivity)
    assert absent.precision == 0


@given(arrays(np.int64, (3, 3), elements=st.integers(0, 50)))
def test_counts_of_two_batches_add_up(confusion: np.ndarray) -> None:
    if confusion.sum():
        twice = split_scores(confusion + confusion)
        assert twice == pytest.approx(split_scores(confusion))


@pytest.mark.parametrize("seed", range(20))
def test_segmentation_scores_are_those_of_scikit_learn(seed: int) -> None:
    draw = np.random.default_rng(seed)
    classes = int(draw.integers(2, 8))  # with few pixels, some classes neither occur nor are predicted
    true, predicted = draw.integers(0, classes, (2, int(draw.integers(1, 30))))
    confusion = confusion_of(true, predicted, classes)
    scores = segmentation_scores(confusion)
    seen = np.union1d(true, predicted)
    assert scores["miou"] == pytest.approx(metrics.jaccard_score(true, predicted, labels=seen, average="macro"))
    assert scores["dice"] == pytest.approx(metrics.f1_score(true, predicted, labels=seen, average="macro"))
    assert scores["pixel_accuracy"] == pytest.approx(metrics.accuracy_score(true, predicted))
    found = class_scores(confusion, tuple("abcdefgh"[:classes]))
    iou = metrics.jaccard_score(true, predicted, labels=seen, average=None)
    dice = metrics.f1_score(true, predicted, labels=seen, average=None)
    assert [found[number].iou for number in seen] == pytest.approx(list(iou))
    assert [found[number].dice for number in seen] == pytest.approx(list(dice))


def test_a_mean_over_classes_that_never_occur_is_not_made_up() -> None:
    assert segmentation_scores(np.array([[4, 0, 0], [0, 4, 0], [0, 0, 0]])) == {
        "miou": 1.0,
        "dice": 1.0,
        "pixel_accuracy": 1.0,
    }
    assert all(np.isnan(value) for value in segmentation_scores(np.zeros((3, 3), np.int64)).values())
