from typing import Any

import pytest

from tests.planning.pricing import work
from tune_cnn.planning.correction import Correction
from tune_cnn.planning.work import ModelKey


def learned(*seen: tuple[dict[str, Any], float]) -> Correction:
    correction = Correction()
    for trial, (changes, took) in enumerate(seen):
        correction.take_in(trial, "train", work(**changes), said_seconds=1.0, took_seconds=took)
    return correction


def test_before_the_first_epoch_what_was_said_holds() -> None:
    assert (Correction().factor(work()), Correction().trials) == (1.0, 0)


def test_what_one_trial_says_is_believed_for_all() -> None:
    correction = learned(({}, 3.0))
    assert correction.factor(work()) == pytest.approx(3.0, rel=1e-3)
    assert correction.factor(work(model=ModelKey("other", 64), policy="none")) == pytest.approx(3.0, rel=0.01)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param({"frozen_units": 0}, {"frozen_units": 4}, id="depths"),
        pytest.param({"model": ModelKey("a", 32)}, {"model": ModelKey("b", 32)}, id="networks"),
        pytest.param({"policy": "none"}, {"policy": "light"}, id="augmentations"),
    ],
)
def test_what_several_trials_bear_out_is_told_apart(one: dict[str, Any], other: dict[str, Any]) -> None:
    few, many = (learned(*[(one, 2.0), (other, 8.0)] * pairs) for pairs in (1, 10))
    apart = [correction.factor(work(**other)) / correction.factor(work(**one)) for correction in (few, many)]
    assert 1.5 < apart[0] < apart[1] < 4.0
    assert apart[1] == pytest.approx(4.0, rel=0.1)


def test_depths_between_are_between() -> None:
    correction = learned(*[({"frozen_units": 0}, 9.0), ({"frozen_units": 2}, 3.0), ({"frozen_units": 4}, 1.0)] * 5)
    factors = [correction.factor(work(frozen_units=units)) for units in range(5)]
    assert factors == sorted(factors, reverse=True)


def test_one_odd_epoch_of_a_trial_counts_for_nothing() -> None:
    correction = Correction()
    for took in (50.0, 2.0, 2.0):
        correction.take_in(0, "train", work(), said_seconds=1.0, took_seconds=took)
    assert correction.factor(work()) == pytest.approx(2.0, rel=1e-3)
    assert correction.trials == 1
