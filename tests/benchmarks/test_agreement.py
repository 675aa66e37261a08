"""When two programs' scores agree."""

import pytest

from benchmarks.agreement import agreement

SCORES = [0.50, 0.55, 0.60, 0.62, 0.66, 0.70]


def moved(by: list[float]) -> list[float]:
    return [score + each for score, each in zip(SCORES, by, strict=True)]


@pytest.mark.parametrize(
    ("theirs", "agrees"),
    [
        pytest.param(SCORES, True, id="equal"),
        pytest.param(moved([0.02, -0.02, 0.01, -0.01, 0.03, -0.02]), True, id="noise-about-zero"),
        pytest.param(moved([0.08, 0.09, 0.08, 0.07, 0.08, 0.09]), False, id="always-better-by-about-as-much"),
        pytest.param(moved([0.3, -0.4, 0.3, -0.4, 0.3, -0.3]), False, id="so-wide-that-no-mean-could-be-seen"),
    ],
)
def test_scores_agree_if_they_differ_by_noise_alone(theirs: list[float], agrees: bool) -> None:
    found = agreement(SCORES, theirs, images=64)
    assert found.agrees is agrees
    assert found.text.startswith("agree" if agrees else "DIFFER")


def test_one_trial_says_nothing_of_noise() -> None:
    with pytest.raises(ValueError, match="compare two or more"):
        agreement([0.5], [0.5], images=64)
