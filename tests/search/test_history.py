import pytest

from tune_cnn.search.history import History, Observation
from tune_cnn.sections.search import AshaConfig, SearchConfig

RUNGS = AshaConfig(grace_epochs=1, reduction=3)  # 1, 3, 9


def history_of(*curves: list[float], enough: int = 2, asha: AshaConfig | None = RUNGS) -> History:
    """Trials that are running, with a score per epoch."""
    history = History(SearchConfig(random_trials=enough, asha=asha))
    for number, curve in enumerate(curves):
        history.begin(number, {"lr": float(number)})
        for epoch, score in enumerate(curve, start=1):
            history.report(number, epoch, score)
    return history


def scored(observations: list[Observation]) -> dict[int, float]:
    return {one.number: one.score for one in observations if one.state != "running"}


def running(observations: list[Observation]) -> list[int]:
    return [one.number for one in observations if one.state == "running"]


@pytest.mark.parametrize(
    ("curves", "known"),
    [
        pytest.param([[0.5], []], {}, id="too-few-anywhere"),
        pytest.param([[0.5], [0.6, 0.7], []], {0: 0.5, 1: 0.6}, id="the-score-at-the-rung-not-after-it"),
        pytest.param([[0.5, 0.4, 0.3], [0.6, 0.7, 0.8], [0.9]], {0: 0.5, 1: 0.8}, id="the-best-until-the-highest"),
        pytest.param([[0.5, 0.4, 0.3], [0.6], [0.9]], {0: 0.5, 1: 0.6, 2: 0.9}, id="one-at-the-highest-is-too-few"),
    ],
)
def test_trials_are_compared_at_the_highest_rung_with_enough_of_them(
    curves: list[list[float]], known: dict[int, float]
) -> None:
    assert scored(history_of(*curves).at_highest_rung()) == known


def test_stopped_trials_count_at_the_rung_that_they_reached() -> None:
    history = history_of([0.5], [0.6])
    for number in range(2):
        history.finish(number, "stopped")
    assert scored(history.at_highest_rung()) == {0: 0.5, 1: 0.6}


def test_a_trial_that_ended_of_itself_counts_at_higher_rungs_as_it_ended() -> None:
    history = history_of([0.5, 0.9], [0.6, 0.6, 0.6])
    assert scored(history.at_highest_rung()) == {0: 0.5, 1: 0.6}
    history.finish(0, "complete")
    assert scored(history.at_highest_rung()) == {0: 0.9, 1: 0.6}


def test_without_rungs_only_trials_that_ended_count() -> None:
    history = history_of([0.5], [0.6], [0.7], asha=None)
    assert history.at_highest_rung() == []
    history.finish(0, "complete")
    history.finish(1, "complete")
    assert scored(history.at_highest_rung()) == {0: 0.5, 1: 0.6}


def test_trials_on_their_way_are_given_without_a_score() -> None:
    history = history_of([0.5], [0.6], [], [0.7])
    assert running(history.at_highest_rung()) == [2]
    history.finish(0, "stopped")
    history.finish(1, "complete")
    assert running(history.ended()) == [2, 3]


@pytest.mark.parametrize("state", ["failed", "stopped"])
def test_failed_trials_and_those_without_an_epoch_say_nothing(state: str) -> None:
    history = history_of([0.5], [0.6], [0.9] if state == "failed" else [])
    history.finish(2, "failed" if state == "failed" else "stopped")
    assert set(scored(history.at_highest_rung())) == {0, 1}
    history.finish(0, "stopped")
    assert history.ended() == []
    history.finish(1, "stopped")
    assert set(scored(history.ended())) == {0, 1}
    assert len(history) == 3


def test_an_epoch_told_again_replaces_its_score_at_the_rung() -> None:
    history = history_of([0.5, 0.2, 0.2], [0.6, 0.3, 0.3])
    history.report(0, 1, 0.1)
    assert scored(history.at_highest_rung()) == {0: 0.2, 1: 0.6}


def test_of_very_many_trials_the_best_and_the_latest_are_given() -> None:
    best = dict.fromkeys(range(25), 1.0)
    history = history_of(*([best.get(number, 0.5)] for number in range(1000)))
    for number in range(1000):
        history.finish(number, "complete")
    for known in (history.ended(), history.at_highest_rung()):
        assert [one.number for one in known] == [*range(25), *range(775, 1000)]


def test_a_trial_that_came_far_is_better_than_any_that_was_stopped_early() -> None:
    history = history_of(*([0.1, 0.1] if number == 0 else [0.9] for number in range(1000)))
    for number in range(1000):
        history.finish(number, "stopped")
    assert history.ended()[0].number == 0
