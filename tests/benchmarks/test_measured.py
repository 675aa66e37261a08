"""Which epochs count as warm, and what they come to."""

from typing import Any

import pytest

from benchmarks.measured import Searched, Trained, warm_epochs, warm_seconds


def trial(backbone: str = "a", frozen: int = 5, *, epochs: int = 6, seconds: Any = None) -> Trained:
    each = tuple(seconds or [1.0] * epochs)
    return Trained(backbone, frozen, 1e-3, 0.0, scores=(0.5,) * len(each), epoch_seconds=each)


@pytest.mark.parametrize(
    ("trials", "warm"),
    [
        pytest.param([trial()], {0: (5, 6)}, id="past-its-views-a-trial-sees-what-it-has-seen"),
        pytest.param([trial(epochs=4)], {}, id="a-trial-that-sees-each-view-once-has-no-warm-epoch"),
        pytest.param([trial(), trial()], {0: (5, 6), 1: (5, 6)}, id="two-that-run-side-by-side-build-together"),
        pytest.param(
            [trial(epochs=2), trial(epochs=2), trial(epochs=2)],
            {2: (1, 2)},
            id="of-two-before-it-one-has-ended",
        ),
        pytest.param(
            [trial(epochs=2), trial("b", epochs=2), trial(frozen=4, epochs=2)], {}, id="another-prefix-shares-nothing"
        ),
        pytest.param(
            [trial("a", 0, epochs=2), trial("b", 0, epochs=2), trial("b", 0, epochs=2)],
            {2: (1, 2)},
            id="without-a-prefix-only-views-are-shared-and-by-all",
        ),
    ],
)
def test_an_epoch_is_warm_if_all_it_sees_was_made_before(trials: list[Trained], warm: dict[int, Any]) -> None:
    assert warm_epochs(trials, views=4, concurrent=2) == warm


def test_a_disturbed_epoch_does_not_count_and_each_trial_counts_once() -> None:
    trials = [trial(seconds=[9, 1, 1, 1, 50]), trial(seconds=[9, 3, 3])]
    assert warm_seconds(trials, {0: (2, 3, 4, 5), 1: (2, 3)}) == 2


def test_a_profile_says_what_was_before_and_after_the_trials_and_how_full_their_slots_were() -> None:
    searched = Searched("ours", 20.0, (trial(epochs=6), trial(epochs=6)), startup_seconds=5.0, training_seconds=8.0)
    assert searched.profile(slots=2) == (
        "5.0 s before the first trial, 8.0 s of trials (epochs take 75% of their slots), 7.0 s after the last"
    )
    assert Searched("plain", 20.0, ()).profile(slots=2) == ""
