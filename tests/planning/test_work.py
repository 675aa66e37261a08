import random
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.search.driving import made_space
from tests.space.made import space_of
from tune_cnn.planning.work import ModelKey, draws, policy_label, random_value, work_of
from tune_cnn.sections.image import Transform
from tune_cnn.space.domains import Choice, Domain, FloatRange, IntRange, Parameter


@pytest.mark.parametrize(
    ("domain", "low", "high"),
    [
        pytest.param(IntRange(2, 9), 2, 9, id="whole"),
        pytest.param(IntRange(1, 1000, log=True), 1, 1000, id="whole-log"),
        pytest.param(IntRange(10, 30, step=10), 10, 30, id="in-steps"),
        pytest.param(FloatRange(0.25, 0.75), 0.25, 0.75, id="real"),
        pytest.param(FloatRange(1e-5, 1e-1, log=True), 1e-5, 1e-1, id="real-log"),
        pytest.param(FloatRange(0.0, 0.4, step=0.2), 0.0, 0.4, id="real-in-steps"),
    ],
)
def test_a_random_value_lies_in_its_range_and_reaches_both_halves(domain: Domain, low: float, high: float) -> None:
    rng = random.Random(0)  # noqa: S311
    values = [random_value(Parameter("a", "a", domain, low), rng) for _ in range(200)]
    numbers = [value for value in values if isinstance(value, int | float)]
    assert len(numbers) == 200
    assert low <= min(numbers) <= max(numbers) <= high
    middle = (low * high) ** 0.5 if getattr(domain, "log", False) else (low + high) / 2
    assert min(numbers) < middle < max(numbers)


def test_both_ends_of_a_whole_range_are_as_likely_as_what_lies_between() -> None:
    rng = random.Random(0)  # noqa: S311
    values = [random_value(Parameter("a", "a", IntRange(1, 3), 1), rng) for _ in range(3000)]
    assert all(900 < values.count(value) < 1100 for value in (1, 2, 3))


def test_every_option_of_a_choice_is_drawn() -> None:
    rng = random.Random(0)  # noqa: S311
    drawn = {random_value(Parameter("a", "a", Choice(("x", None, 3)), "x"), rng) for _ in range(50)}
    assert drawn == {"x", None, 3}


def test_draws_begin_with_the_defaults_and_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    space = made_space(tmp_path)
    one, other, third = (list(islice(draws(space, random.Random(seed)), 20)) for seed in (1, 1, 2))  # noqa: S311
    assert one == other != third
    assert one[0] == third[0]
    assert one[0].model.backbone == "resnet18"
    assert {config.model.backbone for config in one} == {"resnet18", "tf_efficientnet_lite0"}


def test_mixtures_that_do_not_go_together_are_drawn_anew(tmp_path: Path) -> None:
    warm_up = {"epochs": {"range": [0, 9]}}
    space = space_of(tmp_path, training__warm_up=warm_up, training__epochs={"choice": [10, 20]})
    assert all(one.training.warm_up.epochs < one.training.epochs for one in islice(draws(space, random.Random(0)), 50))  # noqa: S311


@pytest.mark.parametrize(
    ("model", "key"),
    [
        pytest.param({}, "tf_efficientnet_lite0", id="a-backbone"),
        pytest.param({"head": {"hidden": [64], "dropout": 0.3}}, "tf_efficientnet_lite0", id="pooled-heads-are-alike"),
        pytest.param({"stages": 2}, "tf_efficientnet_lite0, 2 stages", id="stages"),
    ],
)
def test_a_network_is_named_by_what_decides_its_time(model: dict[str, Any], key: str, tmp_path: Path) -> None:
    space = space_of(tmp_path, model={"backbone": "tf_efficientnet_lite0", **model})
    (config,) = islice(draws(space, random.Random(0)), 1)  # noqa: S311
    assert work_of(config).model == ModelKey(key, 224)


@pytest.mark.parametrize("part", ["backbone", "head"])
def test_layers_of_ones_own_are_told_apart(part: str, tmp_path: Path) -> None:
    def named(width: int) -> str:
        layers = [{"conv": width}]
        written: dict[str, Any] = {"kind": "custom", "layers": layers}
        model: dict[str, Any] = {"backbone": "resnet18"}
        model[part] = written if part == "backbone" else {"convolutions": layers}
        (config,) = islice(draws(space_of(tmp_path, model=model), random.Random(0)), 1)  # noqa: S311
        return work_of(config).model.label

    assert named(8) == named(8) != named(16)


def test_a_list_of_transforms_is_named_by_what_it_holds() -> None:
    flips = [(Transform(transform="HorizontalFlip", arguments={"p": p}),) for p in (0.5, 0.5, 0.1)]
    one, same, other = map(policy_label, flips)
    assert one == same != other
    assert (policy_label("light"), policy_label(())) == ("light", "none")
