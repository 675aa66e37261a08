import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_cnn.asha import Asha
from tune_cnn.sections.search import AshaConfig


@pytest.mark.parametrize(
    ("grace", "reduction", "rungs"),
    [
        pytest.param(1, 3, [1, 3, 9, 27], id="from-the-first-epoch"),
        pytest.param(3, 3, [3, 9, 27], id="three-by-three"),
        pytest.param(2, 4, [2, 8, 32], id="by-fours"),
        pytest.param(6, 2, [6, 12, 24], id="grace-divisible-by-the-reduction"),
    ],
)
def test_rungs_are_grace_times_powers_of_the_reduction(grace: int, reduction: int, rungs: list[int]) -> None:
    asha = Asha(AshaConfig(grace_epochs=grace, reduction=reduction))
    assert [epoch for epoch in range(1, 33) if asha.is_rung(epoch)] == rungs


def test_nobody_is_judged_between_rungs() -> None:
    asha = Asha(AshaConfig(grace_epochs=3, reduction=3))
    assert all(asha.may_go_on(trial, 2, -trial) for trial in range(10))


def test_the_first_trials_go_on_until_there_is_something_to_judge_by() -> None:
    asha = Asha(AshaConfig(grace_epochs=1, reduction=3))
    assert [asha.may_go_on(trial, 1, score) for trial, score in enumerate([0.1, 0.0])] == [True, True]


@pytest.mark.parametrize(
    ("score", "goes_on"),
    [
        pytest.param(0.95, True, id="best"),
        pytest.param(0.8, True, id="as-good-as-the-last-promoted"),
        pytest.param(0.75, False, id="just-below"),
        pytest.param(float("-inf"), False, id="worst"),
    ],
)
def test_of_six_two_go_on(score: float, goes_on: bool) -> None:
    asha = Asha(AshaConfig(grace_epochs=1, reduction=3))
    for trial, past in enumerate([0.9, 0.8, 0.3, 0.2, 0.1]):
        asha.may_go_on(trial, 1, past)
    assert asha.may_go_on(5, 1, score) is goes_on


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(0, 29))
def test_judging_a_trial_twice_at_a_rung_changes_nothing(scores: list[float], again: int) -> None:
    asha = Asha(AshaConfig(grace_epochs=1, reduction=3))
    for trial, score in enumerate(scores):
        asha.may_go_on(trial, 1, score)
    trial = again % len(scores)
    assert asha.may_go_on(trial, 1, scores[trial]) == asha.may_go_on(trial, 1, scores[trial])


def test_a_forgotten_trial_is_no_measure_any_more() -> None:
    asha = Asha(AshaConfig(grace_epochs=1, reduction=2))
    asha.may_go_on(0, 1, 0.9)
    assert not asha.may_go_on(1, 1, 0.1)
    asha.forget(0)
    assert asha.may_go_on(1, 1, 0.1)


@given(st.lists(st.floats(0, 1), min_size=3, max_size=30, unique=True))
def test_the_best_trial_always_goes_on(scores: list[float]) -> None:
    asha = Asha(AshaConfig(grace_epochs=1, reduction=3))
    for trial, score in enumerate(sorted(scores)):
        assert asha.may_go_on(trial, 1, score)
