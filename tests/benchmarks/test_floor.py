"""The floor of a search, on a network whose units each take a millisecond."""

from benchmarks.floor import Work, floor_of
from benchmarks.measured import Trained
from tune_cnn.training.times import ModelTimes, StepTime

WORK = Work(train=100, val=10, views=4, batch_size=32, devices=2, decode_seconds=0.001)
STEPS = tuple(StepTime(frozen, 32, frozen / 1000, 3 * (10 - frozen) / 1000) for frozen in (0, 6, 10))
TIMES = ModelTimes(unit_seconds=(0.001,) * 10, top_seconds=0.0, map_bytes=(0,) * 10, steps=STEPS)


def trial(frozen: int, epochs: int) -> Trained:
    return Trained("ten", frozen, 1e-3, 0.0, scores=(0.5,) * epochs, epoch_seconds=(1.0,) * epochs)


def close(one: float, other: float) -> bool:
    return abs(one - other) < 1e-9


def test_a_shared_prefix_is_passed_once_per_view_and_the_rest_in_every_epoch() -> None:
    floor = floor_of([trial(6, 8), trial(6, 2)], {"ten": TIMES}, WORK)
    assert close(floor.prefix_seconds, (4 * 100 + 10) * 0.006)
    assert close(floor.trained_seconds, (8 + 2) * (100 * 0.012 + 10 * 0.004))
    assert close(floor.seconds, max((floor.prefix_seconds + floor.trained_seconds) / 2, floor.longest_trial_seconds))


def test_views_that_no_trial_came_to_are_not_counted() -> None:
    assert close(floor_of([trial(6, 2)], {"ten": TIMES}, WORK).prefix_seconds, (2 * 100 + 10) * 0.006)


def test_one_long_trial_cannot_be_shared_by_two_devices() -> None:
    floor = floor_of([trial(0, 10), trial(10, 1)], {"ten": TIMES}, WORK)
    assert close(floor.seconds, 10 * (100 * 0.030 + 10 * 0.010))
    assert close(floor.efficiency(2 * floor.seconds), 0.5)


def test_where_next_to_nothing_trains_decoding_is_the_floor() -> None:
    assert close(floor_of([trial(10, 1)], {"ten": TIMES}, Work(100, 10, 0, 32, 2, 0.5)).seconds, 110 * 0.5 / 2)
