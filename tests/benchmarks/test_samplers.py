from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from benchmarks.curve_table import Curve
from benchmarks.replay import Ended, run_screening, run_search
from benchmarks.samplers import best, cost_to_reach, grid
from benchmarks.suggestion import begin, copy
from benchmarks.surrogate import Answer
from tests.search.driving import made_space
from tune_cnn.results.records import Scalar
from tune_cnn.search.study import Study
from tune_cnn.sections.search import AshaConfig
from tune_cnn.space.schema import Space

EPOCHS = 4


@pytest.fixture
def space(tmp_path: Path) -> Space:
    return made_space(tmp_path, overrides=["search.asha=null", "search.sampler=random"])


def train(values: Mapping[str, Scalar]) -> Answer:
    """Four epochs of ten seconds; deeper is better from the first epoch on, and everyone rises."""
    depth = values["model.freeze.depth"]
    assert isinstance(depth, float)
    scores = tuple(depth + epoch / 100 for epoch in range(1, EPOCHS + 1))
    return Answer(Curve(values, 0, scores, (10.0,) * EPOCHS), depth)


def searched(space: Space, *, workers: int = 2, device_seconds: float = 400.0, grace: int | None = None) -> list[Ended]:
    asha = None if grace is None else AshaConfig(grace_epochs=grace, reduction=2)
    search = space.search.model_copy(update={"asha": asha})
    return run_search(space, search, train, workers=workers, device_seconds=device_seconds)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_search_gets_the_same_device_seconds(space: Space, workers: int) -> None:
    ended = searched(space, workers=workers)
    assert len(ended) == 10
    assert ended[-1].device_seconds == 400.0


def test_a_trial_that_is_stopped_frees_its_worker_and_has_no_final_score(space: Space) -> None:
    whole, stopping = searched(space, device_seconds=1200.0), searched(space, device_seconds=1200.0, grace=1)
    assert len(stopping) < len(whole)
    assert max(one.score for one in stopping) >= max(one.score for one in whole)


def test_a_simulated_search_can_be_repeated(space: Space) -> None:
    assert searched(space, grace=1) == searched(space, grace=1)


def test_screening_brings_the_best_of_the_first_epochs_to_their_end(space: Space) -> None:
    ended = run_screening(space, space.search, train, workers=2, device_seconds=400.0)
    # 200 device-seconds are 20 first epochs; the other 200 are six times the three epochs that are left of each.
    first = run_search(space, space.search, train, workers=1, device_seconds=20 * 10.0 * EPOCHS)
    assert len(first) == 20
    assert sorted((one.score for one in ended), reverse=True) == sorted((one.score for one in first), reverse=True)[:6]


@pytest.mark.parametrize(
    ("until", "found"),
    [
        pytest.param(5.0, (float("nan"), float("nan")), id="nobody-yet"),
        pytest.param(10.0, (0.5, 0.6), id="one"),
        pytest.param(99.0, (0.9, 0.7), id="the-best-and-what-is-expected-of-it"),
    ],
)
def test_the_best_is_among_those_that_had_ended(until: float, found: tuple[float, float]) -> None:
    ended = [Ended(10.0, 0.5, 0.6), Ended(20.0, 0.9, 0.7), Ended(30.0, 0.7, 0.8)]
    assert best(ended, until) == pytest.approx(found, nan_ok=True)


def test_a_cost_is_where_the_median_over_seeds_gets_there() -> None:
    scores = np.full((3, len(grid())), np.nan)
    scores[0, 2:], scores[1, 5:], scores[2, 30:] = 0.9, 0.8, 0.9
    assert cost_to_reach(scores, 0.8) == grid()[5]
    assert cost_to_reach(scores, 0.85) == grid()[30]
    assert np.isnan(cost_to_reach(scores, 0.95))


def test_copied_trials_are_a_past_to_learn_from(tmp_path: Path, space: Space) -> None:
    db = tmp_path / "study.db"
    begin(db, space, 4)
    copy(db, 4, 40)
    study = Study.read(db, space.search)
    records = study.records()
    assert [record.trial for record in records] == list(range(40))
    assert [record.values for record in records[36:]] == [record.values for record in records[:4]]
    assert study.ask(space)[0] == 40
