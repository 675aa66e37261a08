"""The spaces in `spaces/`: good, without doubts, and known to editors."""

import json
from pathlib import Path

import pytest

from tests.real_data import shared
from tune_cnn.models.trunk import model_faults, size_faults
from tune_cnn.space.json_schema import space_json_schema
from tune_cnn.space.lint import lint
from tune_cnn.space.schema import read_space

SPACES = Path(__file__).resolve().parents[2] / "spaces"
SHIPPED = sorted(SPACES.glob("*.yaml"))


def test_the_spaces_that_the_readme_speaks_of_are_there() -> None:
    named = {"quickstart", "aquarium", "aquarium_scratch", "cifar10", "cifar100", "birds", "sports", "flood"}
    assert named <= {path.stem for path in SHIPPED}


# Doubts that a space gives its reason for in a comment.
KNOWN_DOUBTS = {"birds": ["layer-decay-without-units"]}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_space_is_good_and_raises_no_doubt(path: Path) -> None:
    space = read_space(path, backbone_check=model_faults, size_check=size_faults)
    assert space.name == path.stem
    assert [warning.id for warning in lint(space)] == KNOWN_DOUBTS.get(path.stem, [])


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        pytest.param("birds", ["model.backbone=tf_efficientnet_lite0"], id="birds"),
        pytest.param("birds", ["model={backbone: resnet50, head: {kind: svm}}"], id="birds-svm"),
        pytest.param("cifar10", ["model.weights=none"], id="cifar10"),
        pytest.param("sports", ["model.backbone=tf_efficientnet_lite0"], id="sports"),
    ],
)
def test_what_a_shipped_space_says_to_set_can_be_set(name: str, overrides: list[str]) -> None:
    space = read_space(
        SPACES / f"{name}.yaml", overrides=overrides, backbone_check=model_faults, size_check=size_faults
    )
    assert space.name == name


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_space_names_the_schema_beside_it(path: Path) -> None:
    assert path.read_text().splitlines()[0] == "# yaml-language-server: $schema=schema.json"


def test_the_schema_beside_the_spaces_is_the_code_s() -> None:
    assert json.loads((SPACES / "schema.json").read_text()) == space_json_schema(), (
        "run tune-cnn schema > spaces/schema.json"
    )


def test_the_aquarium_space_searches_the_knobs_of_the_study() -> None:
    names = {parameter.name for parameter in read_space(SPACES / "aquarium.yaml").parameters}
    assert names == {
        "model.backbone",
        "model.freeze.depth",
        "model.head.dropout",
        "training.batch_size",
        "training.optimizer.lr",
        "training.schedule.factor",
        "training.schedule.patience_epochs",
        "augment",
    }


def test_the_aquarium_space_raises_no_doubt_about_its_own_images() -> None:
    images = {split: sum(1 for _ in shared("data", "aquarium", split).glob("*.jpg")) for split in ("train", "valid")}
    space = read_space(SPACES / "aquarium.yaml")
    assert lint(space, train_images=images["train"], val_images=images["valid"]) == []


def test_the_flood_space_compares_the_encoders_of_the_study() -> None:
    space = read_space(SPACES / "flood.yaml")
    (encoders,) = (each.domain for each in space.parameters if each.name == "model.backbone")
    assert encoders.corners == ("efficientnet_b2", "resnet50", "vgg19", "mobilenet_v2")
    assert (space.task, space.search.ranked_by) == ("segmentation", "val_miou")
