"""Trials of one space in another."""

from pathlib import Path
from typing import Any

import pytest

from tests.space.made import space_of
from tune_cnn.space.placing import place_in

Values = dict[str, Any]
LR = {"range": [1e-4, 1e-2], "log": True}
PLATEAU, ONE_CYCLE = {"kind": "plateau", "factor": {"choice": [0.1, 0.3]}}, {"kind": "one_cycle"}


@pytest.mark.parametrize(
    ("old", "drawn", "new", "found"),
    [
        pytest.param({"training__batch_size": {"choice": [8, 16]}}, {"training.batch_size": 16},
                     {"training__batch_size": {"choice": [4, 8, 16]}}, {"training.batch_size": 16}, id="wider-choice"),
        pytest.param({"training__batch_size": {"choice": [8, 16]}}, {"training.batch_size": 16},
                     {"training__batch_size": {"choice": [4, 8]}}, None, id="label-gone"),
        pytest.param({"training__optimizer__lr": LR}, {"training.optimizer.lr": 5e-3},
                     {"training__optimizer__lr": {"range": [1e-5, 1e-1], "log": True}}, {"training.optimizer.lr": 5e-3},
                     id="wider-range"),
        pytest.param({"training__optimizer__lr": LR}, {"training.optimizer.lr": 5e-3},
                     {"training__optimizer__lr": {"range": [1e-4, 4e-3], "log": True}}, None, id="beyond-the-range"),
        pytest.param({"training__optimizer__lr": LR}, {"training.optimizer.lr": 1e-2},
                     {"training__optimizer__lr": {"choice": [1e-3, 1e-2]}}, {"training.optimizer.lr": 1e-2},
                     id="choice-for-a-range"),
        pytest.param({"training__epochs": {"range": [5, 20]}}, {"training.epochs": 12},
                     {"training__epochs": {"range": [4, 20], "step": 4}}, {"training.epochs": 12}, id="on-the-grid"),
        pytest.param({"training__epochs": {"range": [5, 20]}}, {"training.epochs": 11},
                     {"training__epochs": {"range": [4, 20], "step": 4}}, None, id="off-the-grid"),
        pytest.param({}, {}, {"training__epochs": {"range": [5, 30]}}, {"training.epochs": 20},
                     id="searched-was-fixed"),
        pytest.param({}, {}, {"training__epochs": {"range": [5, 15]}}, None, id="searched-but-not-what-was-fixed"),
        pytest.param({}, {}, {"training__batch_size": {"choice": [16, 32]}}, {"training.batch_size": 32},
                     id="new-was-a-default-not-written"),
        pytest.param({}, {}, {"training__batch_size": {"choice": [8, 16]}}, None, id="new-without-the-default"),
        pytest.param({"training__batch_size": {"choice": [8, 16]}}, {"training.batch_size": 16},
                     {"training__batch_size": 16}, {}, id="fixed-at-its-value"),
        pytest.param({"training__batch_size": {"choice": [8, 16]}}, {"training.batch_size": 8},
                     {"training__batch_size": 16}, None, id="fixed-at-another"),
        pytest.param({}, {}, {"training__epochs": 21}, None, id="another-fixed-value"),
        pytest.param({}, {}, {"training__batch_size": 32}, {}, id="the-default-written-out"),
        pytest.param({}, {}, {"name": "renamed", "data__root": "elsewhere", "search__trials": 3}, {},
                     id="what-changes-no-score"),
        pytest.param({"training__schedule": {"choice": [PLATEAU, ONE_CYCLE]}},
                     {"training.schedule": "plateau", "training.schedule[plateau].factor": 0.3},
                     {"training__schedule": {"choice": [ONE_CYCLE, PLATEAU, {"kind": "constant"}]}},
                     {"training.schedule": "plateau", "training.schedule[plateau].factor": 0.3}, id="sections"),
        pytest.param({"training__schedule": PLATEAU}, {"training.schedule.factor": 0.3},
                     {"training__schedule": {"choice": [ONE_CYCLE, PLATEAU]}},
                     {"training.schedule": "plateau", "training.schedule[plateau].factor": 0.3},
                     id="a-section-becomes-one-of-several"),
        pytest.param({"training__schedule": {"choice": {"a": PLATEAU, "b": ONE_CYCLE}}}, {"training.schedule": "b"},
                     {"training__schedule": {"choice": {"a": ONE_CYCLE, "b": PLATEAU}}}, {"training.schedule": "a"},
                     id="labels-exchanged"),
        pytest.param({"model__freeze": {"depth": 1}}, {}, {"model__freeze": {"depth": {"range": [0.0, 1.0]}}},
                     {"model.freeze.depth": 1.0}, id="a-whole-number-for-a-fraction"),
    ],
)  # fmt: skip
def test_a_trial_is_found_in_another_space_if_it_trains_as_a_point_of_that_would(
    tmp_path: Path, old: Values, drawn: Values, new: Values, found: Values | None
) -> None:
    before = space_of(tmp_path, **old)
    config = before.config(before.tree_of(drawn).tree, seed=1, cpu_threads=2, weights_file=None)
    placed = place_in(space_of(tmp_path, **new), config, drawn)
    assert (placed and placed.values) == found


def test_a_label_that_means_another_thing_by_now_is_not_taken_at_its_word(tmp_path: Path) -> None:
    sections = {"few": [{"conv": 8}], "many": [{"conv": 8, "repeat": 2}]}
    other = {"few": [{"conv": 16}], "many": [{"conv": 8, "repeat": 2}]}
    key = "model.backbone.layers"
    spaces = [
        space_of(tmp_path, model__backbone={"kind": "custom", "layers": {"choice": layers}})
        for layers in (sections, other)
    ]
    for label, found in (("few", None), ("many", {key: "many"})):
        config = spaces[0].config(spaces[0].tree_of({key: label}).tree, seed=0, cpu_threads=1, weights_file=None)
        placed = place_in(spaces[1], config, {key: label})
        assert (placed and placed.values) == found
