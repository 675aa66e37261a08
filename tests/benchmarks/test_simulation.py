"""Stub trials on simulated slots, around the real session."""

from pathlib import Path

from benchmarks import driver
from benchmarks.memory import growth_mb
from benchmarks.simulation import Clock
from tune_cnn.results.records import RunFolder
from tune_cnn.search.study import Study
from tune_cnn.sections.search import SearchConfig


def test_every_stub_trial_is_trained_to_its_end_and_stands_in_the_study(tmp_path: Path) -> None:
    outcome = driver.measure(trials=5, slots=2, trial_seconds=5.0, folder=tmp_path)
    records = Study.read(RunFolder(tmp_path).study, SearchConfig()).records()
    assert [(trial.state, len(trial.epochs)) for trial in records] == [("complete", 5)] * 5
    assert outcome.messages == 25
    assert outcome.busy_seconds == 25
    # Three waves of five seconds at least, and what the driver did in between.
    assert 15 < outcome.simulated_seconds < 15 + outcome.driver_seconds
    assert outcome.busy_share < outcome.busy_ceiling == 5 / 6
    assert "5 stub trials on 2 simulated slots" in driver.text(driver.facts(outcome))


def test_the_clock_stands_still_while_the_driver_waits() -> None:
    clock = Clock()
    done = clock.work(7.0, lambda: None)
    assert clock() == clock() == done
    assert 7.0 < done < 8.0


def test_growth_is_that_of_the_mean_from_the_second_tenth_on() -> None:
    steady = [50.0 + 500.0 * (place < 10) for place in range(100)]
    assert growth_mb(steady) == 0
    assert growth_mb([float(place) for place in range(100)]) == 80
