import json
from dataclasses import replace

import pytest

from tune_cnn.training.times import BACKWARD_FACTOR, ImageTimes, ModelTimes, SaveTime, StepTime

# Four units of 1, 2, 3 and 4 s and a head of 2 s: of 12 s, 12, 9, 6 and 2 train at depths 0, 2, 3 and 4.
UNITS = ModelTimes(unit_seconds=(1.0, 2.0, 3.0, 4.0), top_seconds=2.0, map_bytes=(8, 4, 2, 1))


def steps(*points: tuple[int, int, float]) -> ModelTimes:
    return replace(UNITS, steps=tuple(StepTime(frozen, batch, 0.0, rest) for frozen, batch, rest in points))


@pytest.mark.parametrize(
    ("frozen", "prefix", "live"),
    [
        pytest.param(0, 0.0, 12.0, id="all-trains"),
        pytest.param(2, 3.0, 9.0, id="some-units-stand-still"),
        pytest.param(4, 10.0, 2.0, id="the-head-alone"),
    ],
)
def test_the_forward_pass_is_split_at_the_freeze_depth(frozen: int, prefix: float, live: float) -> None:
    assert (UNITS.prefix_seconds(frozen), UNITS.live_seconds(frozen)) == (prefix, live)


@pytest.mark.parametrize(
    ("times", "frozen", "batch", "rest"),
    [
        pytest.param(UNITS, 2, 8, BACKWARD_FACTOR * 9, id="without-a-measured-step-three-forward-passes"),
        pytest.param(steps((0, 8, 40.0), (4, 8, 5.0)), 0, 8, 40.0, id="as-measured"),
        pytest.param(steps((0, 8, 40.0), (4, 8, 5.0)), 3, 8, 5 + 35 * 4 / 10, id="between-by-what-trains"),
        pytest.param(steps((2, 8, 18.0), (4, 8, 5.0)), 0, 8, 18 * 12 / 9, id="more-trains-than-measured"),
        pytest.param(steps((0, 8, 40.0), (2, 8, 30.0)), 4, 8, 30.0, id="less-trains-than-measured"),
        pytest.param(steps((4, 8, 2.0), (4, 2, 5.0)), 4, 4, 3.0, id="a-step-has-a-part-of-its-own"),
        pytest.param(steps((4, 8, 2.0), (4, 16, 3.0)), 4, 16, 2.0, id="a-larger-batch-is-never-dearer-per-image"),
    ],
)
def test_a_step_at_any_depth_and_batch_size(times: ModelTimes, frozen: int, batch: int, rest: float) -> None:
    assert times.rest_seconds(frozen, batch) == pytest.approx(rest)
    assert times.step_seconds(frozen, batch) == pytest.approx(times.prefix_seconds(frozen) + rest)


def test_how_far_off_the_interpolation_is_shows_where_a_depth_lies_between_others() -> None:
    assert steps((0, 8, 40.0), (3, 8, 38.0), (4, 8, 5.0)).left_out_errors() == {3: pytest.approx(19 / 38 - 1)}
    assert UNITS.left_out_errors() == steps((0, 8, 40.0), (4, 8, 5.0)).left_out_errors() == {}


def test_times_are_read_back_as_they_were_written() -> None:
    times = replace(steps((0, 8, 40.0), (4, 8, 5.0)), saves=(SaveTime(1, 4.0, 8.0),))
    images = ImageTimes(0.5, 0.25, {"light": 1.0})
    assert ModelTimes.from_json(json.loads(json.dumps(times.as_json()))) == times
    assert ImageTimes(**json.loads(json.dumps(images.as_json()))) == images


@pytest.mark.parametrize(
    ("frozen", "seconds", "synced"), [(0, 4.0, 8.0), (1, 4.0, 8.0), (2, 3.0, 6.0), (3, 2.0, 4.0), (4, 2.0, 4.0)]
)
def test_saving_takes_longer_the_more_trains(frozen: int, seconds: float, synced: float) -> None:
    times = replace(UNITS, saves=(SaveTime(3, 2.0, 4.0), SaveTime(1, 4.0, 8.0)))
    assert times.save_time(frozen) == SaveTime(frozen, seconds, synced)
    assert UNITS.save_time(frozen) == SaveTime(frozen, 0.0, 0.0)


def test_a_machine_at_half_the_speed_takes_twice_as_long() -> None:
    slow = steps((0, 8, 40.0), (4, 8, 5.0)).scaled(2.0)
    assert (slow.forward_seconds, slow.rest_seconds(0, 8)) == (24.0, 80.0)
    assert ImageTimes(0.5, 0.25, {"light": 1.0}).scaled(2.0) == ImageTimes(1.0, 0.5, {"light": 2.0})
