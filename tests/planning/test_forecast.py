import statistics
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from tests.results.made import epoch, trial
from tests.search.driving import begin, epoch_of, facts_of, keep_weights, made_space, open_session
from tests.space.made import space_of as written
from tune_cnn.config import TrialConfig
from tune_cnn.planning.cost import Costs, Images
from tune_cnn.planning.forecast import Forecast, Moment
from tune_cnn.planning.work import ModelKey, draws
from tune_cnn.results.records import RunFolder, TrialRecord
from tune_cnn.search.session import SearchSession
from tune_cnn.sections.model import ModelConfig
from tune_cnn.space.schema import Space
from tune_cnn.training.times import ImageTimes, ModelTimes

Seconds = Callable[[TrialConfig], float]
EPOCHS = 3
COUNTS = Images(100, 20)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def space_of(folder: Path, *overrides: str) -> Space:
    always = ("search.asha=null", f"training.epochs={EPOCHS}", "search.random_trials=100")
    return made_space(folder, overrides=(*always, *overrides))


def flat(_config: TrialConfig) -> float:
    return 2.0


def by_depth(config: TrialConfig) -> float:
    """A trial of which all trains takes five times as long as one of which only the head does."""
    return 5.0 - 4.0 * (config.model.freeze.depth or 0.0)


def measured(seconds_of_an_epoch: float) -> Costs:
    """What a plan may have measured: every epoch of 100 + 20 images takes so long, whatever stands still."""
    each = seconds_of_an_epoch / (3 * 100 + 20)
    keys = [ModelKey(name, 224) for name in ("resnet18", "tf_efficientnet_lite0")]
    models = {key: ModelTimes((0.0,) * 40, each, (1,) * 40) for key in keys}
    return Costs(models, {224: ImageTimes(0.0, 0.0, {})}, COUNTS)


def after(
    space: Space, trials: int, seconds: Seconds, *, besides: float = 0.0, budget: float = float("inf")
) -> tuple[Forecast, Clock]:
    """Give a forecast that was told of so many whole trials, drawn at random."""
    clock = Clock()
    forecast = Forecast(space, COUNTS, slots=1, clock=clock)
    records: list[TrialRecord] = []
    for number, config in enumerate(islice(draws(space, Random(7)), trials)):  # noqa: S311
        epochs = tuple(replace(epoch(each, 0.5), seconds=seconds(config)) for each in range(1, EPOCHS + 1))
        for each in epochs:
            forecast.on_epoch(number, config, each)
            clock.now += each.seconds
        forecast.on_end(besides)
        clock.now += besides
        records.append(trial(number, epochs=epochs))
    forecast.update(lambda: Moment(records, {}, budget), force=True)
    return forecast, clock


def left(forecast: Forecast) -> float:
    found = forecast.seconds_left
    assert found is not None
    return found


def test_before_the_first_epoch_there_is_nothing_to_go_by(tmp_path: Path) -> None:
    forecast, _ = after(space_of(tmp_path), 0, flat)
    assert forecast.seconds_left is None


@pytest.mark.parametrize("besides", [0.0, 3.0])
def test_the_time_left_is_what_trials_have_taken_so_far(tmp_path: Path, besides: float) -> None:
    forecast, _ = after(space_of(tmp_path, "search.trials=20"), 8, flat, besides=besides)
    assert left(forecast) == pytest.approx(12 * (EPOCHS * 2.0 + besides), rel=0.1)


def test_between_forecasts_the_time_left_runs_down(tmp_path: Path) -> None:
    forecast, clock = after(space_of(tmp_path), 4, flat)
    before = left(forecast)
    clock.now += 5.0
    assert left(forecast) == pytest.approx(before - 5.0)
    clock.now += 1e6
    assert left(forecast) == 0.0


def test_a_forecast_is_not_made_anew_all_the_time(tmp_path: Path) -> None:
    forecast, clock = after(space_of(tmp_path), 4, flat)
    before = left(forecast)
    forecast.update(lambda: Moment([], {}, 0.0))
    assert left(forecast) == before
    clock.now += 60
    forecast.update(lambda: Moment([], {}, 0.0))
    assert left(forecast) == 0.0


def test_a_network_that_no_draw_came_to_is_priced_by_another_with_fewer_units(tmp_path: Path) -> None:
    space = written(tmp_path, model={"backbone": {"kind": "custom", "layers": [{"conv": 4}]}})
    config = next(draws(space, Random(0)))  # noqa: S311
    deep = ModelConfig.model_validate({"backbone": {"kind": "custom", "layers": [{"conv": 4}] * 5}})
    forecast = Forecast(space, COUNTS, slots=1)
    forecast.on_epoch(0, config.model_copy(update={"model": deep}), replace(epoch(1, 0.5), seconds=2.0))
    forecast.update(lambda: Moment([], {}, float("inf")), force=True)
    assert left(forecast) > 0


def test_trials_to_come_are_priced_by_their_own_depth(tmp_path: Path) -> None:
    space = space_of(tmp_path, "search.trials=60")
    forecast, _ = after(space, 15, by_depth)
    each = statistics.fmean(by_depth(config) for config in islice(draws(space, Random(1)), 300))  # noqa: S311
    assert left(forecast) == pytest.approx(45 * EPOCHS * each, rel=0.1)


def test_running_trials_have_less_before_them(tmp_path: Path) -> None:
    space = space_of(tmp_path, "search.trials=4")
    forecast, _ = after(space, 4, flat)
    (config,) = islice(draws(space, Random(0)), 1)  # noqa: S311
    records = [trial(number, epochs=(epoch(1, 0.5),)) for number in range(4)]
    forecast.update(lambda: Moment(records, {3: config}, float("inf")), force=True)
    assert left(forecast) == pytest.approx((EPOCHS - 1) * 2.0, rel=0.1)


def test_finals_are_part_of_the_time_left(tmp_path: Path) -> None:
    space = space_of(tmp_path, "search.finals={top: 2, repeats: 3}")
    forecast, _ = after(space, 12, flat)
    assert left(forecast) == pytest.approx(2 * 3 * EPOCHS * 2.0, rel=0.1)
    (config,) = islice(draws(space, Random(0)), 1)  # noqa: S311
    both = forecast.finals_seconds_left([config, config], [(config, 1)])
    assert both == pytest.approx((3 + 3 + 2) * 2.0, rel=0.1)


def test_the_time_left_is_never_more_than_the_budget(tmp_path: Path) -> None:
    forecast, _ = after(space_of(tmp_path), 2, flat, budget=30.0)
    assert 28.0 <= left(forecast) <= 30.0 + 3.0


# --- within a session -------------------------------------------------------------------------------------------------


def searched(folder: Path, clock: Clock, *overrides: str, costs: Costs | None = None, slots: int = 1) -> SearchSession:
    space = space_of(folder, "search.trials=4", *overrides)
    session = open_session(space, RunFolder(folder / "run"), clock=clock)
    session.begin_forecast(Forecast(space, COUNTS, slots=slots, measured=costs, clock=clock))
    return session


def run(session: SearchSession, clock: Clock, seconds: float, *, most: int) -> None:
    """Run trials one after the other, in epochs of so many seconds."""
    for _ in range(most):
        job = session.propose()
        assert job is not None
        begin(session, job)
        for number in range(1, EPOCHS + 1):
            clock.now += seconds
            keep_weights(session, job.number, number)
            session.on_epoch(job.number, replace(epoch_of(number, 0.5), seconds=seconds), facts_of(job), None)
        session.on_end(job.number, None)


def test_with_the_measurements_of_a_plan_the_first_estimate_comes_before_the_first_epoch(tmp_path: Path) -> None:
    clock = Clock()
    session = searched(tmp_path, clock, costs=measured(4.0))
    assert session.seconds_left == pytest.approx(4 * EPOCHS * 4.0)
    run(session, clock, 2.0, most=4)
    said = "0:48 in all, said at 0:00 by the measurements of `tune-cnn plan`"
    assert session.estimate_text() == f"{said}; it took 0:24, 50% less"


def test_what_was_said_first_outlives_its_driver(tmp_path: Path) -> None:
    clock = Clock()
    run(searched(tmp_path, clock, costs=measured(2.0)), clock, 2.0, most=1)
    session = searched(tmp_path, clock)
    assert session.estimate_text() == ""
    run(session, clock, 4.0, most=3)
    said = "0:24 in all, said at 0:00 by the measurements of `tune-cnn plan`"
    assert session.estimate_text() == f"{said}; it took 0:42, 75% more"


def test_a_larger_budget_gets_an_estimate_of_its_own(tmp_path: Path) -> None:
    clock = Clock()
    run(searched(tmp_path, clock), clock, 2.0, most=4)
    session = searched(tmp_path, clock, "search.trials=5")
    run(session, clock, 2.0, most=1)
    assert "in all, said at 0:24 by the first epochs; it took 0:30" in session.estimate_text()


def test_several_slots_have_to_tell_before_there_is_an_estimate(tmp_path: Path) -> None:
    session = searched(tmp_path, Clock(), slots=2)
    for job in [job for job in (session.propose(), session.propose()) if job]:
        assert session.seconds_left is None
        begin(session, job)
        session.on_epoch(job.number, epoch_of(1, 0.5), facts_of(job), None)
    assert session.seconds_left is not None
