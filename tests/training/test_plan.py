from math import nan

import pytest

from tune_cnn.sections.training import Adam, Cosine, TrainingConfig, WarmUp
from tune_cnn.training.plan import EarlyStopping, Phase, phase_at, plan_phases, train_phase


@pytest.mark.parametrize(
    ("scores", "stops_at"),
    [
        pytest.param([0.5, 0.6, 0.7], None, id="keeps-rising"),
        pytest.param([0.5, 0.5, 0.5], 3, id="a-tie-is-not-a-gain"),
        pytest.param([0.5, nan, nan], 3, id="nan-is-not-a-gain"),
        pytest.param([0.5, 0.4, 0.6, 0.5, 0.5], 5, id="a-gain-in-between-starts-anew"),
        pytest.param([nan, nan], 2, id="never-anything-but-nan"),
    ],
)
def test_training_stops_after_two_epochs_without_gain(scores: list[float], stops_at: int | None) -> None:
    stopping = EarlyStopping(2)
    stops = []
    for epoch, score in enumerate(scores, start=1):
        stopping.update(epoch, score)
        stops += [epoch] if stopping.exhausted else []
    assert (stops[0] if stops else None) == stops_at


def test_the_best_epoch_is_remembered_past_worse_ones() -> None:
    stopping = EarlyStopping(None)
    assert [stopping.update(epoch, score) for epoch, score in enumerate([0.2, 0.9, 0.3], start=1)] == [
        True,
        True,
        False,
    ]
    assert (stopping.best_epoch, stopping.best_score, stopping.exhausted) == (2, 0.9, False)


@pytest.mark.parametrize(
    "scores", [pytest.param([], id="before-the-first-epoch"), pytest.param([0.5, 0.4], id="waiting")]
)
def test_stopping_goes_on_where_its_state_was_taken(scores: list[float]) -> None:
    first, second = EarlyStopping(2), EarlyStopping(2)
    for epoch, score in enumerate(scores, start=1):
        first.update(epoch, score)
    second.restore(first.state())
    for stopping in (first, second):
        stopping.update(9, 0.3)
    assert first.state() == second.state()
    assert first.exhausted == second.exhausted


def test_without_a_warm_up_there_is_one_phase() -> None:
    cosine = Cosine(kind="cosine")
    training = TrainingConfig(epochs=7, optimizer=Adam(kind="adam", lr=0.2), schedule=cosine, stop_patience_epochs=3)
    assert plan_phases(training) == (Phase("train", 1, 7, False, 0.2, cosine, 3),)


def test_a_warm_up_takes_its_epochs_from_the_whole() -> None:
    warm, main = plan_phases(TrainingConfig(epochs=7, warm_up=WarmUp(epochs=2)))
    assert (warm.first_epoch, warm.last_epoch, warm.backbone_frozen) == (1, 2, True)
    assert (main.first_epoch, main.last_epoch, main.backbone_frozen) == (3, 7, False)


def test_a_warm_up_has_a_rate_and_a_patience_of_its_own() -> None:
    warm_up = WarmUp(epochs=4, lr=0.5, stop_patience_epochs=1)
    schedule = Cosine(kind="cosine")
    training = TrainingConfig(epochs=7, schedule=schedule, stop_patience_epochs=3, warm_up=warm_up)
    warm, main = plan_phases(training)
    assert (warm.lr, warm.schedule.kind, warm.stop_patience_epochs) == (0.5, "constant", 1)
    assert (main.lr, main.schedule.kind, main.stop_patience_epochs) == (1e-3, "cosine", 3)


def test_the_epochs_that_a_warm_up_leaves_go_to_the_training_proper() -> None:
    training = TrainingConfig(epochs=7, warm_up=WarmUp(epochs=4))
    early = train_phase(training, 3)
    assert (early.epochs, early.last_epoch) == (5, 7)
    assert phase_at(training, "train", 3) == early
    assert phase_at(training, "warm_up", 1) == plan_phases(training)[0]
