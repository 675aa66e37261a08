import random
from typing import Any

import pytest

from tests.planning.pricing import price, search_of, training, work
from tune_cnn.planning.cost import Build, Price
from tune_cnn.planning.simulate import Past, Simulated, simulate
from tune_cnn.sections.search import SearchConfig


def played(search: SearchConfig, each: Price, *, slots: int = 1, seed: int = 0, **more: Any) -> Simulated:
    return simulate(search, [each], slots=slots, rng=random.Random(seed), **more)  # noqa: S311


@pytest.mark.parametrize(
    ("trials", "slots", "seconds"),
    [
        pytest.param(1, 1, 10.0, id="one"),
        pytest.param(6, 1, 60.0, id="one-after-the-other"),
        pytest.param(6, 2, 30.0, id="side-by-side"),
        pytest.param(7, 2, 40.0, id="the-last-one-alone"),
        pytest.param(3, 8, 10.0, id="more-slots-than-trials"),
    ],
)
def test_without_asha_a_search_takes_what_its_epochs_take(trials: int, slots: int, seconds: float) -> None:
    found = played(search_of(trials), price(2.0, epochs=5), slots=slots)
    assert (found.seconds, found.trials, found.stopped, found.epochs) == (seconds, trials, 0, 5 * trials)


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        pytest.param({"begin_seconds": 1.0}, 2 * (1 + 5 * 2), id="before-the-first-epoch"),
        pytest.param({"save_seconds": 0.5}, 2 * 5 * 2.5, id="saving-after-each"),
        pytest.param({"work": work(training=training(5, warm_up={"epochs": 2})), "warm_up": 0.5}, 14.0, id="warm-up"),
        pytest.param({"work": work(fitted=True)}, 2 * 2.0, id="fitted-at-once"),
    ],
)
def test_every_part_of_a_trial_is_counted(changes: dict[str, Any], seconds: float) -> None:
    assert played(search_of(2), price(2.0, **changes)).seconds == pytest.approx(seconds)


def test_the_start_comes_before_all() -> None:
    assert played(search_of(2), price(2.0), start_seconds=7.0).seconds == 27.0


def test_what_is_shared_is_made_once_and_waited_for() -> None:
    views = price(2.0, builds=(Build("views", "light", 3.0, 100),))
    found = played(search_of(4), views, slots=2)
    assert [each.key for each in found.built] == [f"light/{epoch}" for epoch in range(5)]
    assert found.seconds == 2 * 5 * 2.0 + 5 * 3.0


def test_with_as_few_views_as_asked_no_more_are_made() -> None:
    views = price(2.0, builds=(Build("views", "light", 3.0, 100),), views=2)
    assert len(played(search_of(4), views).built) == 2


def test_asha_stops_more_than_half_and_saves_more_than_half_of_the_epochs() -> None:
    asha = {"asha": {"grace_epochs": 1, "reduction": 3}}
    found = [played(search_of(60, **asha), price(1.0, epochs=9), slots=2, seed=seed) for seed in range(5)]
    assert all(0.5 * 60 < one.stopped < 60 for one in found)
    assert all(one.epochs < 0.5 * 60 * 9 for one in found)


def test_a_trial_that_has_come_to_its_last_epoch_is_complete_whatever_asha_says() -> None:
    assert played(search_of(20, asha={"grace_epochs": 5, "reduction": 2}), price(1.0, epochs=5)).stopped == 0


def test_patience_ends_trials_before_their_last_epoch() -> None:
    patient = price(1.0, work=work(training=training(200, stop_patience_epochs=3)))
    found = played(search_of(10), patient)
    assert found.epochs < 10 * 200
    assert found.stopped == 0


@pytest.mark.parametrize(
    ("seconds_left", "trials"),
    [
        pytest.param(1e9, 50, id="time-enough"),
        pytest.param(100.0, 10, id="time-for-ten"),
        pytest.param(101.0, 11, id="one-more-begins-and-is-stopped"),
    ],
)
def test_hours_bound_the_trials(seconds_left: float, trials: int) -> None:
    found = played(search_of(50), price(2.0, epochs=5), seconds_left=seconds_left)
    assert found.trials == trials
    assert found.seconds <= seconds_left + 2.0


def test_finals_come_after_the_trials_and_are_never_stopped() -> None:
    finals = {"finals": {"top": 2, "repeats": 3}}
    found = played(search_of(4, **finals), price(2.0, epochs=5), slots=2)
    assert (found.finals_seconds, found.seconds) == (3 * 10.0, 2 * 10.0 + 3 * 10.0)


def test_finals_of_folds_are_single_trainings() -> None:
    folds = price(10.0, work=work(folds=5))
    assert played(search_of(1, finals={"top": 1, "repeats": 2}), folds).finals_seconds == 2 * 5 * 10.0 / 5


def test_time_for_the_finals_is_kept_back() -> None:
    finals = {"finals": {"top": 1, "repeats": 3}}
    found = played(search_of(50, **finals), price(2.0, epochs=5), seconds_left=100.0)
    assert (found.trials, found.finals_seconds) == (7, 30.0)


def test_a_simulation_goes_on_from_where_a_search_stands() -> None:
    each = price(2.0, epochs=5)
    past = [
        Past(each, 5, 0.9, running=False),
        Past(each, 3, 0.8, running=True),
        Past(each, 0, float("-inf"), running=True),
    ]
    found = played(search_of(4), each, past=past, slots=2)
    assert (found.epochs, found.trials) == (2 + 5 + 5, 4)
    assert found.seconds == (2 + 5) * 2.0


def test_past_trials_fill_the_rungs_that_later_ones_are_judged_at() -> None:
    each, asha = price(1.0, epochs=9), {"asha": {"grace_epochs": 1, "reduction": 3}}
    past = [Past(each, 1, number / 100, running=False) for number in range(60)]
    fresh = sum(played(search_of(6, **asha), each, seed=seed).epochs for seed in range(20))
    later = sum(played(search_of(66, **asha), each, seed=seed, past=past).epochs for seed in range(20))
    assert later < fresh


def test_the_same_draws_give_the_same_search() -> None:
    asha = {"asha": {"grace_epochs": 1, "reduction": 3}}
    one, other, third = (played(search_of(20, **asha), price(1.0, epochs=9), seed=seed) for seed in (1, 1, 2))
    assert one == other != third
