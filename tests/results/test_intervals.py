import numpy as np
import pytest
from numpy.typing import NDArray

from tune_cnn.results.intervals import ImageAnswers, ImageCounts, Interval, Outcomes, interval, resampled
from tune_cnn.results.scores import Counts


def accuracy(counts: Counts) -> float:
    return float(np.trace(counts) / counts.sum())


def answers(*right: bool) -> ImageAnswers:
    return ImageAnswers(np.zeros(len(right), np.int64), np.array([0 if one else 1 for one in right]), classes=2)


def test_answers_and_counts_of_the_same_images_sum_up_alike() -> None:
    rng = np.random.default_rng(0)
    true, predicted = rng.integers(0, 3, 20), rng.integers(0, 3, 20)
    each = np.zeros((20, 3, 3), np.int64)
    each[np.arange(20), true, predicted] = 1
    chosen = rng.integers(0, 20, 50)
    expected = np.zeros((3, 3), np.int64)
    np.add.at(expected, (true[chosen], predicted[chosen]), 1)
    assert np.array_equal(ImageAnswers(true, predicted, 3).counts(chosen), expected)
    assert np.array_equal(ImageCounts(each).counts(chosen), expected)


def test_the_interval_of_an_accuracy_is_as_wide_as_the_binomial_says() -> None:
    images, share = 400, 0.8
    outcomes = answers(*(place < share * images for place in range(images)))
    found = interval(resampled({0: [outcomes]}, accuracy, seed=0)[0])
    half = 1.96 * np.sqrt(share * (1 - share) / images)
    assert found.low == pytest.approx(share - half, abs=0.01)
    assert found.high == pytest.approx(share + half, abs=0.01)


def test_differences_are_paired_by_image() -> None:
    """Two models that err on the same images differ by nothing, however uncertain each of them is."""
    outcomes = answers(True, False, True, False)
    drawn = resampled({0: [outcomes], 1: [outcomes]}, accuracy, seed=0)
    assert interval(drawn[0]).low < interval(drawn[0]).high
    assert interval(drawn[0] - drawn[1]) == Interval(0.0, 0.0)


def test_repeats_that_disagree_widen_the_interval() -> None:
    same, good, bad = answers(*[True, False] * 50), answers(*[True] * 100), answers(*[False] * 100)
    agreed = interval(resampled({0: [same, same, same]}, accuracy, seed=0)[0])
    torn = interval(resampled({0: [good, bad, same]}, accuracy, seed=0)[0])
    assert torn.high - torn.low > 2 * (agreed.high - agreed.low)


def test_the_same_seed_gives_the_same_interval() -> None:
    repeats: dict[int, list[Outcomes]] = {0: [answers(*[True, False, True] * 5)]}
    first, again, other = (resampled(repeats, accuracy, seed=seed, resamples=50)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    "sizes",
    [pytest.param([3, 4], id="different-images"), pytest.param([0], id="no-images"), pytest.param([], id="nothing")],
)
def test_what_cannot_be_paired_is_refused(sizes: list[int]) -> None:
    with pytest.raises(ValueError, match="images"):
        resampled({place: [answers(*[True] * size)] for place, size in enumerate(sizes)}, accuracy, seed=0)


def test_nothing_known_gives_no_interval() -> None:
    unknown: NDArray[np.float64] = np.full(3, np.nan)
    assert np.isnan([interval(unknown).low, interval(unknown).high]).all()
