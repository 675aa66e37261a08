from pathlib import Path

import pytest

from tests.search.driving import made_space
from tune_cnn.results.records import Scalar, State
from tune_cnn.search.history import History
from tune_cnn.search.sampler import propose
from tune_cnn.space.schema import Space

LR = "training.optimizer.lr"
LEARNING = ["tpe", "bohb"]


def space_with(folder: Path, sampler: str, **search: int) -> Space:
    overrides = [f"search.{name}={value}" for name, value in {"sampler": sampler, **search}.items()]
    return made_space(folder, overrides=overrides)


def good(values: dict[str, Scalar]) -> float:
    """Best where the rate is high."""
    rate = values[LR]
    assert isinstance(rate, float)
    return rate


def drawn(space: Space, trials: int, *, state: State = "complete") -> list[dict[str, Scalar]]:
    """Draw trials one after the other; each has one epoch."""
    history, values = History(space.search), []
    for number in range(trials):
        values.append(propose(space, space.search, history).values)
        history.begin(number, values[-1])
        history.report(number, 1, good(values[-1]))
        history.finish(number, state)
    return values


@pytest.mark.parametrize("sampler", ["random", *LEARNING])
def test_the_same_seed_and_history_give_the_same_draws_and_others_others(tmp_path: Path, sampler: str) -> None:
    one, same, other = (drawn(space_with(tmp_path, sampler, seed=seed), 12) for seed in (1, 1, 2))
    assert one == same
    assert one[0] == other[0]  # the defaults
    assert all(mine != theirs for mine, theirs in zip(one[1:], other[1:], strict=True))


@pytest.mark.parametrize("sampler", LEARNING)
def test_it_is_random_until_there_is_enough_to_learn_from(tmp_path: Path, sampler: str) -> None:
    learning, chance = (drawn(space_with(tmp_path, name, random_trials=6), 20) for name in (sampler, "random"))
    assert learning[:6] == chance[:6]
    assert sum(mine != theirs for mine, theirs in zip(learning[6:], chance[6:], strict=True)) > 7


def test_of_bohb_about_a_third_stays_random(tmp_path: Path) -> None:
    learning, chance = (drawn(space_with(tmp_path, name, random_trials=2), 62) for name in ("bohb", "random"))
    alike = sum(mine == theirs for mine, theirs in zip(learning[2:], chance[2:], strict=True))
    assert 10 <= alike <= 30


@pytest.mark.parametrize("state", ["complete", "stopped"])
@pytest.mark.parametrize("sampler", LEARNING)
def test_it_draws_more_often_where_scores_were_good(tmp_path: Path, sampler: str, state: State) -> None:
    later = drawn(space_with(tmp_path, sampler, random_trials=4), 40, state=state)[20:]
    high = sum(good(values) > 1e-3 for values in later)  # the middle of the range is 1e-3
    assert high >= 14


@pytest.mark.parametrize("sampler", LEARNING)
def test_only_parameters_of_the_branches_taken_are_drawn(tmp_path: Path, sampler: str) -> None:
    for values in drawn(space_with(tmp_path, sampler, random_trials=4), 24):
        branch = values["training.schedule"]
        assert ("training.schedule[plateau].factor" in values) == (branch == "plateau")
        assert ("training.schedule[one_cycle].rise" in values) == (branch == "one_cycle")


TWO_GOOD = """\
name: made
data: {kind: folders, root: images, splits: {train: train, val: val}}
model: {backbone: {choice: [resnet18, resnet34, resnet50]}, weights: none}
search: {random_trials: 4}
"""


@pytest.mark.parametrize("sampler", LEARNING)
def test_of_two_good_values_the_one_that_is_not_being_tried_is_drawn(tmp_path: Path, sampler: str) -> None:
    space = made_space(tmp_path, TWO_GOOD, overrides=[f"search.sampler={sampler}"])
    scores = {"resnet18": 0.9, "resnet34": 0.9, "resnet50": 0.1}
    history = History(space.search)
    for number, (backbone, score) in enumerate([*scores.items()] * 7):
        history.begin(number, {"model.backbone": backbone})
        history.report(number, 1, score)
        history.finish(number, "complete")
    for number in range(21, 51):
        history.begin(number, {"model.backbone": "resnet18"})
    found = []
    for number in range(51, 71):
        found.append(propose(space, space.search, history).values["model.backbone"])
        history.begin(number, space.defaults())
        history.finish(number, "failed")  # only so that the next draw has another seed
    assert found.count("resnet34") > 10
