"""The spaces in `spaces/`: good, without doubts, and known to editors."""

import json
from pathlib import Path

import pytest

from tests.real_data import shared
from tune_cnn.models.catalogue import model_faults
from tune_cnn.space.json_schema import space_json_schema
from tune_cnn.space.lint import lint
from tune_cnn.space.schema import read_space

SPACES = Path(__file__).resolve().parents[2] / "spaces"
SHIPPED = sorted(SPACES.glob("*.yaml"))


def test_the_spaces_that_the_readme_speaks_of_are_there() -> None:
    assert {"quickstart", "aquarium", "flood"} <= {path.stem for path in SHIPPED}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_space_is_good_and_raises_no_doubt(path: Path) -> None:
    space = read_space(path, backbone_check=model_faults)
    assert space.name == path.stem
    assert lint(space) == []


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
    assert (space.task, space.search.metric) == ("segmentation", "val_miou")
