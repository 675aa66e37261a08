"""`--set NAME=VALUE`: values of the command line in the place of the file's."""

from pathlib import Path
from typing import Any

import pytest

from tests.space.made import changed
from tune_cnn.errors import SpaceFileError
from tune_cnn.space.schema import Choice, read_space
from tune_cnn.yaml_files import write_yaml

SCHEDULES = {"choice": [{"kind": "plateau", "factor": {"choice": [0.1, 0.3]}}, {"kind": "constant"}]}


@pytest.mark.parametrize(
    ("text", "location", "value"),
    [
        pytest.param("training.epochs=5", ("training", "epochs"), 5, id="number"),
        pytest.param("model.backbone=resnet50", ("model", "backbone"), "resnet50", id="text"),
        pytest.param("training.optimizer.lr=1e-4", ("training", "optimizer", "lr"), 1e-4, id="number-with-exponent"),
        pytest.param("training.warm_up.epochs=1", ("training", "warm_up", "epochs"), 1, id="a-section-not-written-yet"),
        pytest.param("model.head={hidden: [64]}", ("model", "head", "hidden"), [64], id="a-whole-section"),
        pytest.param("model.head.hidden=[]", ("model", "head", "hidden"), [], id="a-list"),
        pytest.param("training.stop_patience_epochs=null", ("training", "stop_patience_epochs"), None, id="null"),
    ],
)
def test_a_value_on_the_command_line_takes_the_place_of_the_file_s(
    text: str, location: tuple[str, ...], value: Any, tmp_path: Path
) -> None:
    write_yaml(tmp_path / "space.yaml", changed(training__epochs={"choice": [5, 9]}))
    found = read_space(tmp_path / "space.yaml", overrides=[text]).draw(lambda parameter: parameter.default).tree
    for name in location:
        found = found[name]
    assert found == value


def test_a_value_on_the_command_line_may_be_searched(tmp_path: Path) -> None:
    write_yaml(tmp_path / "space.yaml", changed(augment="none"))
    space = read_space(tmp_path / "space.yaml", overrides=["augment={choice: [none, light]}"])
    assert space.parameters[0].domain == Choice(("none", "light"))


@pytest.mark.parametrize("named", [False, True], ids=["list", "named"])
def test_a_value_below_a_choice_is_set_in_the_options_that_write_it(named: bool, tmp_path: Path) -> None:
    models = {
        "scratch": {"backbone": {"kind": "custom", "layers": [{"conv": 8}]}},
        "big": {"backbone": "resnet50", "weights": "imagenet"},
        "small": {"backbone": "resnet18", "weights": "imagenet"},
    }
    write_yaml(tmp_path / "space.yaml", changed(model={"choice": models if named else list(models.values())}))
    space = read_space(tmp_path / "space.yaml", overrides=["model.weights=none"])
    (model,) = space.parameters
    drawn = [space.tree_of({"model": label}).tree["model"] for label in model.domain.corners]
    assert [one.get("weights") for one in drawn] == [None, "none", "none"]


def test_the_last_value_on_the_command_line_wins(tmp_path: Path) -> None:
    write_yaml(tmp_path / "space.yaml", changed())
    space = read_space(tmp_path / "space.yaml", overrides=["search.trials=3", "search={trials: 4}", "search.trials=5"])
    assert space.search.trials == 5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("training.epohs=5", "training.epohs: unknown name; did you mean 'epochs'?", id="unknown-name"),
        pytest.param("training.epochs=0", "training.epochs: 0 is too small; write 1 or more", id="out-of-bounds"),
        pytest.param("training.epochs", "not NAME=VALUE; write e.g. --set training.epochs=5", id="no-value"),
        pytest.param("training.epochs=", "no value after the =", id="empty-value"),
        pytest.param("training..epochs=3", "not NAME=VALUE", id="empty-name"),
        pytest.param("augment={choice: [none", "close the bracket", id="torn-yaml"),
        pytest.param("augment={choice: [none, lite]}", "augment: 'lite' cannot stand here", id="wrong-choice"),
        pytest.param(
            "training.schedule.rise=0.1",
            "training.schedule is searched, and none of its options writes rise; replace the whole with --set",
            id="below-a-choice-that-does-not-write-it",
        ),
        pytest.param(
            "training.schedule.factor=7", "training.schedule.factor: 7 is too large", id="wrong-value-below-a-choice"
        ),
        pytest.param("training.epochs.x=1", "training.epochs is 20, not a section", id="below-a-number"),
        pytest.param("seed=3", "seed: does not stand in a space file", id="seed"),
        pytest.param(
            "model.freeze={choice: [{depth: 0.5, last_units: 3}, {depth: 0.6, last_units: 3}]}",
            "model.freeze.depth: depth and last_units are both written; keep one of them",
            id="both-labels-alike",
        ),
        pytest.param(
            "training.optimizer={choice: [{kind: adam}, {kind: sgd, nesterov: true, momentum: 0.0}]}",
            "nesterov needs a momentum above 0; write momentum: 0.9 (when training.optimizer is",
            id="one-label-of-two",
        ),
        pytest.param("search.trials=!!int 3", "the tag '!!int'", id="tag"),
    ],
)
def test_a_fault_on_the_command_line_is_told_with_its_words(text: str, says: str, tmp_path: Path) -> None:
    write_yaml(tmp_path / "space.yaml", changed(training__schedule=SCHEDULES))
    with pytest.raises(SpaceFileError) as caught:
        read_space(tmp_path / "space.yaml", overrides=[text])
    (fault,) = caught.value.faults
    assert fault.startswith(f"--set {text}: ")
    assert says in fault


def test_all_faults_of_the_command_line_are_told_at_once(tmp_path: Path) -> None:
    write_yaml(tmp_path / "space.yaml", changed())
    with pytest.raises(SpaceFileError) as caught:
        read_space(tmp_path / "space.yaml", overrides=["training.epochs=0", "image.px=1", "training.epohs=3"])
    assert len(caught.value.faults) == 3
