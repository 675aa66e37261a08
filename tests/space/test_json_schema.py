"""The JSON Schema takes what `read_space` takes, and shows an editor's user the commonest slips."""

from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # its stubs are a package of their own
import pytest

from tests.space.made import SMALL, changed
from tests.space.malformed_spaces import GOOD
from tune_cnn.space.json_schema import space_json_schema
from tune_cnn.space.schema import read_space
from tune_cnn.yaml_files import read_text, write_yaml

CHECKER = jsonschema.Draft202012Validator(space_json_schema())


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(space_json_schema())


FITTING = [
    pytest.param({}, id="small"),
    pytest.param({"training__epochs": {"range": [2, 9], "step": 3}}, id="range"),
    pytest.param({"training__optimizer__lr": {"range": [1e-5, 1e-2], "log": True, "default": 1e-3}}, id="log-range"),
    pytest.param({"training__stop_patience_epochs": {"choice": [None, 5], "default": 5}}, id="choice-with-null"),
    pytest.param({"model__head__dropout": {"choice": [0.0, {"range": [0.1, 0.5]}]}}, id="range-in-a-choice"),
    pytest.param({"model__head__hidden": {"choice": [[], [64, {"range": [8, 64]}]]}}, id="range-in-a-list"),
    pytest.param(
        {"model__head": {"choice": [{"hidden": []}, {"dropout": {"range": [0.1, 0.5]}}]}}, id="choice-of-sections"
    ),
    pytest.param({"training__schedule": {"choice": [{"kind": "plateau"}, {"kind": "cosine"}]}}, id="choice-of-kinds"),
    pytest.param({"training__optimizer__kind": {"choice": ["adam", "sgd"]}}, id="searched-kind"),
    pytest.param({"augment": {"choice": ["none", [{"transform": "HorizontalFlip"}]]}}, id="choice-of-policies"),
    pytest.param({"augment": [{"transform": "Rotate", "arguments": {"limit": {"range": [5, 90]}}}]}, id="arguments"),
    pytest.param(
        {
            "model": {
                "backbone": {
                    "kind": "custom",
                    "layers": [
                        {"conv": {"range": [8, 64], "log": True}, "padding": {"choice": ["same", 1]}, "pool": None},
                        {"conv": 32, "repeat": {"range": [1, 3]}, "dropout": {"range": [0.0, 0.3]}},
                    ],
                }
            }
        },
        id="custom-backbone",
    ),
    pytest.param(
        {"model__backbone": {"kind": "custom", "layers": {"choice": [[{"conv": 8}], [{"conv": 8}, {"conv": 9}]]}}},
        id="choice-of-layers",
    ),
    pytest.param(
        {"model": {"choice": [{"backbone": "resnet18"}, {"backbone": {"kind": "custom", "layers": [{"conv": 8}]}}]}},
        id="choice-of-models",
    ),
    pytest.param(
        {"model": {"choice": {"a": {"backbone": "resnet18"}, "b": {"backbone": "resnet50"}}, "default": "b"}},
        id="named-options",
    ),
    pytest.param({"model__head": {"kind": "svm", "c": {"range": [0.01, 10.0], "log": True}}}, id="svm"),
    pytest.param({"training__warm_up": {"epochs": 3, "lr": 1e-4, "stop_patience_epochs": 1}}, id="warm-up"),
    pytest.param({"data__splits": {"val": 0.2, "test": 0.1, "seed": 3}}, id="fractions"),
    pytest.param({"data__splits": {"val": 0.2, "group": {"pattern": "v([0-9]+)"}}}, id="groups"),
    pytest.param({"search__asha": None, "search__hours": 1.5}, id="search"),
]


@pytest.mark.parametrize("change", FITTING)
def test_what_read_space_takes_fits_the_schema(change: dict[str, Any], tmp_path: Path) -> None:
    write_yaml(tmp_path / "space.yaml", changed(**change))
    read_space(tmp_path / "space.yaml")
    assert [error.message for error in CHECKER.iter_errors(changed(**change))] == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"training__epohs": 5}, id="unknown-name"),
        pytest.param({"training__optimizer__momentum": 0.9}, id="name-of-another-kind"),
        pytest.param({"training__epochs": 0}, id="out-of-bounds"),
        pytest.param({"training__epochs": "5"}, id="text-for-a-number"),
        pytest.param({"training__epochs": {"choice": []}}, id="empty-choice"),
        pytest.param({"training__epochs": {"choice": [5, "x"]}}, id="wrong-value-in-a-choice"),
        pytest.param({"training__epochs": {"choice": [5], "defualt": 5}}, id="unknown-part-of-a-choice"),
        pytest.param({"training__epochs": {"range": [5]}}, id="range-of-one-end"),
        pytest.param({"model__backbone": {"range": [1, 2]}}, id="range-of-texts"),
        pytest.param({"data__root": {"choice": ["a", "b"]}}, id="searched-data"),
        pytest.param({"search__trials": {"range": [1, 9]}}, id="searched-budget"),
        pytest.param({"seed": 3}, id="seed"),
        pytest.param({"model__weights_file": "x"}, id="weights-file"),
        pytest.param({"augment": "lite"}, id="unknown-policy"),
        pytest.param({"model__backbone": {"kind": "custom", "layers": [{"kernel": 3}]}}, id="layer-without-channels"),
        pytest.param({"model__backbone": {"kind": "custom", "layers": [{"conv": 8, "pad": 1}]}}, id="name-in-a-layer"),
    ],
)
def test_the_commonest_slips_do_not_fit_the_schema(change: dict[str, Any]) -> None:
    assert not CHECKER.is_valid(changed(**change))


def test_a_missing_section_does_not_fit_the_schema() -> None:
    assert not CHECKER.is_valid({name: value for name, value in SMALL.items() if name != "data"})


def test_the_space_of_the_malformed_ones_fits_the_schema() -> None:
    assert CHECKER.is_valid(read_text(GOOD, str)[0])


def test_names_are_described_by_the_docstrings_of_the_config() -> None:
    schema = space_json_schema()
    assert schema["$defs"]["Plateau"]["description"].startswith("Cut the learning rate when what is watched")
    assert schema["$defs"]["ModelConfig"]["properties"]["weights"]["description"].startswith("`imagenet`, `none`, or")
    assert "hours" in schema["$defs"]["SearchConfig"]["properties"]
