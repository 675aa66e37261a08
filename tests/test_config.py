"""What a config refuses, whatever file it comes from, and what it is when nothing is written."""

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from tune_cnn.config import TrialConfig
from tune_cnn.config_faults import faults_of, listing, shown
from tune_cnn.config_shape import dotted, names_below, nearest
from tune_cnn.sections.data import Splits
from tune_cnn.sections.model import Freeze
from tune_cnn.sections.search import SearchConfig
from tune_cnn.sections.training import Adam, Constant, Sgd, TrainingConfig

MINIMAL: dict[str, Any] = {
    "name": "a",
    "data": {"kind": "folders", "root": "images", "splits": {"val": 0.2}},
    "model": {"backbone": "resnet50"},
}


def test_a_minimal_config_trains_all_of_an_imagenet_backbone_at_a_constant_rate() -> None:
    config = TrialConfig.model_validate(MINIMAL)
    assert config.model.weights == "imagenet"
    assert config.model.freeze == Freeze()
    assert config.training.optimizer == Adam(kind="adam", lr=1e-3)
    assert config.training.schedule == Constant(kind="constant")
    assert config.augment == "none"


def test_a_config_never_changes() -> None:
    config = TrialConfig.model_validate(MINIMAL)
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("model", "tree", "says"),
    [
        pytest.param(Splits, {"val": 0.5, "test": 0.5}, "val and test take 1 of the images", id="nothing-left"),
        pytest.param(Freeze, {"depth": 0.5, "stride": 8}, "depth and stride are both written", id="two-ways"),
        pytest.param(
            Sgd, {"kind": "sgd", "momentum": 0.0, "nesterov": True}, "nesterov needs a momentum", id="nesterov"
        ),
        pytest.param(
            TrainingConfig, {"epochs": 3, "warm_up": {"epochs": 3}}, "write warm_up: {epochs: 2}", id="warm-up"
        ),
        pytest.param(TrainingConfig, {"epochs": "3"}, "drop the quotes: 3", id="text-for-a-number"),
        pytest.param(TrainingConfig, {"label_smoothing": float("nan")}, "write one", id="nan"),
        pytest.param(SearchConfig, {"hours": float("inf")}, "inf is not a finite number", id="infinite"),
        pytest.param(
            SearchConfig, {"asha": {"reduction": 1}}, "1 is too small; write 2 or more", id="reduction-of-one"
        ),
    ],
)
def test_a_section_refuses_what_cannot_be_trained(model: type[BaseModel], tree: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(tree)
    (fault,) = faults_of(caught.value, model, tree)
    assert says in fault.text


@pytest.mark.parametrize(
    ("model", "tree"),
    [
        pytest.param(Splits, {"val": 0.5, "test": 0.4}, id="something-left"),
        pytest.param(Sgd, {"kind": "sgd", "nesterov": True}, id="nesterov-with-the-usual-momentum"),
        pytest.param(TrainingConfig, {"epochs": 3, "warm_up": {"epochs": 2}}, id="warm-up"),
        pytest.param(SearchConfig, {"asha": None}, id="no-asha"),
    ],
)
def test_following_the_advice_is_accepted(model: type[BaseModel], tree: dict[str, Any]) -> None:
    assert model.model_validate(tree)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(None, "null", id="null"),
        pytest.param(True, "true", id="true"),
        pytest.param(1e-5, "1e-05", id="number"),
        pytest.param("a\x1b[31m\n", r"'a\x1b[31m\n'", id="control-characters"),
        pytest.param("x" * 100, "'" + "x" * 58 + "…", id="long"),
        pytest.param({"a": 1}, "a section", id="mapping"),
        pytest.param([1], "a list", id="list"),
    ],
)
def test_a_value_is_shown_as_one_would_write_it(value: Any, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        pytest.param("epohs", "epochs", id="a-letter-missing"),
        pytest.param("Epochs", "epochs", id="a-capital"),
        pytest.param("grace", "grace_epochs", id="the-beginning"),
        pytest.param("zoo", None, id="near-nothing"),
    ],
)
def test_the_nearest_name_is_found(word: str, meant: str | None) -> None:
    assert nearest(word, ["epochs", "grace_epochs", "trials"]) == meant


def test_every_branch_of_the_config_has_names() -> None:
    names = {dotted(location) for location in names_below(TrialConfig)}
    assert {"training.schedule.factor", "training.schedule.rise", "data.annotations", "model.head.dropout"} <= names


@pytest.mark.parametrize(
    ("words", "text"), [pytest.param(["a"], "a", id="one"), pytest.param(["a", "b", "c"], "a, b or c", id="three")]
)
def test_words_are_listed_as_in_a_sentence(words: list[str], text: str) -> None:
    assert listing(words) == text
