"""Each doubt about a space is told where there is one, and not where there is none."""

from pathlib import Path
from typing import Any

import pytest

from tests.space.made import space_of
from tune_cnn.space.lint import lint

PLATEAU = {"kind": "plateau", "patience_epochs": 2}


def _plateau(**values: Any) -> dict[str, Any]:
    return {"training__schedule": PLATEAU | values}


HEADS = {"choice": [{"hidden": []}, {"hidden": [64], "batch_norm": {"choice": [False, True]}}]}


@pytest.mark.parametrize(
    ("doubt", "doubtful", "fine"),
    [
        pytest.param(
            "plateau-after-stop",
            {**_plateau(patience_epochs=2), "training__stop_patience_epochs": 2},
            {**_plateau(patience_epochs=2), "training__stop_patience_epochs": 3},
            id="stops-before-the-rate-falls",
        ),
        pytest.param(
            "plateau-after-stop",
            {**_plateau(), "training__stop_patience_epochs": {"range": [2, 9]}},
            {**_plateau(), "training__stop_patience_epochs": {"range": [3, 9]}},
            id="stops-before-the-rate-falls-at-one-end-of-a-range",
        ),
        pytest.param(
            "plateau-after-stop",
            {
                "training__schedule": {
                    "choice": [{"kind": "constant"}, PLATEAU | {"patience_epochs": {"range": [1, 6]}}]
                },
                "training__stop_patience_epochs": {"choice": [None, 5]},
            },
            {
                "training__schedule": {
                    "choice": [{"kind": "constant"}, PLATEAU | {"patience_epochs": {"range": [1, 4]}}]
                },
                "training__stop_patience_epochs": {"choice": [None, 5]},
            },
            id="stops-before-the-rate-falls-on-a-branch",
        ),
        pytest.param(
            "plateau-after-grace",
            _plateau(patience_epochs={"choice": [1, 3]}),
            _plateau(patience_epochs={"choice": [1, 2]}),
            id="judged-before-the-rate-falls",
        ),
        pytest.param(
            "plateau-after-grace",
            _plateau(patience_epochs=5),
            {**_plateau(patience_epochs=5), "search__asha": None},
            id="nobody-judges",
        ),
        pytest.param(
            "plateau-after-end",
            {**_plateau(), "training__epochs": {"range": [2, 20]}},
            {**_plateau(), "training__epochs": {"range": [3, 20]}},
            id="over-before-the-rate-falls",
        ),
        pytest.param(
            "plateau-floor-above-lr",
            {**_plateau(min_lr=1e-4), "training__optimizer__lr": {"range": [1e-5, 1e-2], "log": True}},
            {**_plateau(min_lr=1e-6), "training__optimizer__lr": {"range": [1e-5, 1e-2], "log": True}},
            id="the-rate-cannot-fall",
        ),
        pytest.param(
            "warm-up-after-grace",
            {"training__warm_up__epochs": {"choice": [0, 3]}},
            {"training__warm_up__epochs": {"choice": [0, 2]}},
            id="judged-while-frozen",
        ),
        pytest.param(
            "warm-up-without-thaw",
            {"training__warm_up__epochs": {"range": [0, 2]}, "model__freeze__depth": 1.0},
            {"training__warm_up__epochs": {"range": [0, 2]}, "model__freeze__depth": {"range": [0.0, 1.0]}},
            id="nothing-to-unfreeze",
        ),
        pytest.param(
            "warm-up-without-thaw",
            {"training__warm_up__epochs": {"range": [0, 2]}, "model__freeze__depth": {"choice": [0.5, 1.0]}},
            {"training__warm_up__epochs": 2, "model__freeze__depth": 1.0},
            id="nothing-to-unfreeze-but-nothing-searched",
        ),
        pytest.param(
            "plateau-after-grace",
            {**_plateau(patience_epochs=1), "training__warm_up__epochs": 2},
            {**_plateau(patience_epochs=1), "training__warm_up__epochs": 1},
            id="judged-before-the-rate-falls-after-the-warm-up",
        ),
        pytest.param(
            "plateau-after-end",
            {**_plateau(), "training__warm_up__epochs": 18},
            {**_plateau(), "training__warm_up__epochs": 17},
            id="the-warm-up-leaves-too-few-epochs",
        ),
        pytest.param(
            "stop-after-end",
            {"training__stop_patience_epochs": {"choice": [3, 9]}, "training__warm_up__epochs": 11},
            {"training__stop_patience_epochs": {"choice": [3, 9]}, "training__warm_up__epochs": 10},
            id="never-stops-after-the-warm-up",
        ),
        pytest.param(
            "warm-up-never-ends-early",
            {"training__warm_up": {"epochs": 2, "stop_patience_epochs": {"choice": [1, 2]}}},
            {"training__warm_up": {"epochs": 2, "stop_patience_epochs": 1}},
            id="patience-of-the-whole-warm-up",
        ),
        pytest.param(
            "values-of-no-warm-up",
            {"training__warm_up": {"epochs": {"range": [0, 2]}, "lr": {"range": [1e-4, 1e-3]}}},
            {"training__warm_up": {"choice": [{"epochs": 0}, {"epochs": 2, "lr": {"range": [1e-4, 1e-3]}}]}},
            id="rate-of-no-warm-up",
        ),
        pytest.param(
            "layer-decay-without-units",
            {"training__optimizer__layer_decay": {"range": [0.5, 1.0]}, "model__freeze__depth": {"choice": [0.5, 1.0]}},
            {"training__optimizer__layer_decay": {"range": [0.5, 1.0]}, "model__freeze__depth": 0.5},
            id="nothing-but-the-head-to-decay",
        ),
        pytest.param(
            "values-of-no-training",
            {
                "model__head": {"choice": [{"hidden": [8]}, {"kind": "svm"}]},
                "training__optimizer__lr": {"range": [1e-4, 1e-3]},
            },
            {"model__head": {"choice": [{"kind": "logistic"}, {"kind": "svm", "c": {"range": [0.1, 1.0]}}]}},
            id="a-rate-for-the-svm",
        ),
        pytest.param(
            "frozen-random-weights",
            {"model__weights": "none", "model__head__kind": "svm"},
            {"model__weights": "imagenet", "model__head__kind": "svm"},
            id="svm-on-noise",
        ),
        pytest.param("asha-after-end", {"training__epochs": 3}, {"training__epochs": 4}, id="never-judged"),
        pytest.param(
            "stop-after-end",
            {"training__stop_patience_epochs": {"choice": [3, 20]}},
            {"training__stop_patience_epochs": {"choice": [3, 19]}},
            id="never-stops",
        ),
        pytest.param(
            "batch-norm-without-hidden",
            {"model__head": {"hidden": {"choice": [[], [64]]}, "batch_norm": {"choice": [False, True]}}},
            {"model__head": HEADS},
            id="nothing-to-normalise",
        ),
        pytest.param(
            "frozen-random-weights",
            {"model__weights": {"choice": ["imagenet", "none"]}, "model__freeze__depth": {"range": [0.0, 1.0]}},
            {"model__weights": {"choice": ["imagenet", "none"]}, "model__freeze__depth": 0.0},
            id="frozen-noise",
        ),
        pytest.param(
            "precision-on-cpus",
            {"training__precision": {"choice": ["auto", "float32"]}, "search__per_trial__gpus": 0},
            {"training__precision": {"choice": ["auto", "float32"]}, "search__per_trial__gpus": 1},
            id="nothing-to-choose-on-a-cpu",
        ),
        pytest.param(
            "views-never-seen",
            {"training__views": 5, "training__epochs": {"range": [4, 8]}, "augment": "light"},
            {"training__views": 4, "training__epochs": {"range": [4, 8]}, "augment": "light"},
            id="more-views-than-epochs",
        ),
        pytest.param(
            "views-without-augmentation",
            {"training__views": 4, "augment": "none"},
            {"training__views": 4, "augment": {"choice": ["none", "light"]}},
            id="views-of-nothing",
        ),
        pytest.param(
            "views-without-augmentation",
            {"training__views": {"choice": [2, 4]}, "augment": {"choice": ["none", "light"]}},
            {"training__views": {"choice": [2, 4]}, "augment": {"choice": ["light", "strong"]}},
            id="views-searched-for-nothing",
        ),
        pytest.param(
            "lr-linear",
            {"training__optimizer__lr": {"range": [1e-4, 1e-2]}},
            {"training__optimizer__lr": {"range": [1e-4, 1e-2], "log": True}},
            id="linear-over-decades",
        ),
        pytest.param(
            "lr-linear",
            {"training__optimizer__lr": {"range": [1e-4, 1.1e-3]}},
            {"training__optimizer__lr": {"range": [1e-4, 1e-3]}},
            id="linear-within-a-decade",
        ),
        pytest.param(
            "whole-numbers-only",
            {"model__freeze__depth": {"range": [0, 1]}},
            {"model__freeze__depth": {"range": [0.0, 1.0]}},
            id="whole-ends-of-a-fraction",
        ),
        pytest.param(
            "whole-numbers-only",
            {"training__optimizer__weight_decay": {"range": [0, 1]}},
            {"training__epochs": {"range": [4, 9]}},
            id="whole-ends-of-a-whole-number",
        ),
        pytest.param(
            "sampler-never-learns",
            {"augment": {"choice": ["none", "light"]}, "search__sampler": "tpe", "search__trials": 10},
            {"augment": {"choice": ["none", "light"]}, "search__sampler": "tpe", "search__trials": 11},
            id="all-drawn-at-random",
        ),
        pytest.param(
            "sampler-never-learns",
            {"augment": {"choice": ["none", "light"]}, "search__trials": 5, "search__sampler": "bohb"},
            {"augment": {"choice": ["none", "light"]}, "search__trials": 5, "search__sampler": "random"},
            id="meant-to-be-random",
        ),
        pytest.param(
            "sampler-never-learns",
            {"augment": {"choice": ["none", "light"]}, "search__trials": 5, "search__sampler": "bohb"},
            {"augment": {"choice": ["none", "light"]}, "search__trials": 11, "search__sampler": "bohb"},
            id="too-few-for-bohb",
        ),
    ],
)
def test_a_doubt_is_told_where_there_is_one(
    doubt: str, doubtful: dict[str, Any], fine: dict[str, Any], tmp_path: Path
) -> None:
    assert doubt in {warning.id for warning in lint(space_of(tmp_path, **doubtful))}
    assert doubt not in {warning.id for warning in lint(space_of(tmp_path, **fine))}


@pytest.mark.parametrize(
    ("train_images", "doubts"),
    [pytest.param(63, ["batch-larger-than-train"], id="too-few"), pytest.param(64, [], id="just-enough")],
)
def test_a_batch_larger_than_the_training_set_is_doubted(train_images: int, doubts: list[str], tmp_path: Path) -> None:
    space = space_of(tmp_path, training__batch_size={"choice": [16, 64]})
    assert [warning.id for warning in lint(space, train_images=train_images)] == doubts


@pytest.mark.parametrize(
    ("val_images", "says"),
    [
        pytest.param(75, "of 75 validation images one moves the accuracy by 1.3 %", id="75"),
        pytest.param(100, None, id="100"),
    ],
)
def test_a_validation_set_where_one_image_counts_much_is_doubted(
    val_images: int, says: str | None, tmp_path: Path
) -> None:
    found = lint(space_of(tmp_path), val_images=val_images)
    assert [warning.id for warning in found] == (["tiny-validation"] if says else [])
    assert all(says is not None and says in warning.text for warning in found)


def test_of_many_doubtful_values_the_worst_is_told_once(tmp_path: Path) -> None:
    space = space_of(tmp_path, **_plateau(patience_epochs={"choice": [3, 4, 8]}))
    (warning,) = lint(space)
    assert warning.text.startswith("training.schedule.patience_epochs 8 is not below search.asha.grace_epochs 3")
    assert warning.text.endswith("write grace_epochs 9 or more")


def test_following_the_advice_ends_the_doubt(tmp_path: Path) -> None:
    space = space_of(tmp_path, **_plateau(patience_epochs={"choice": [3, 4, 8]}), search__asha__grace_epochs=9)
    assert lint(space) == []
