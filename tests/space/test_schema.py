"""What a space file is read as: parameters, defaults, draws, configs, paths."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.space.made import changed, space_of
from tune_cnn.errors import SpaceFileError
from tune_cnn.sections.image import Policy
from tune_cnn.sections.model import ModelConfig
from tune_cnn.sections.training import Adam, OneCycle
from tune_cnn.space.schema import Choice, FloatRange, IntRange, Parameter, Space, read_space
from tune_cnn.yaml_files import read_yaml, write_yaml

BRANCHES = {
    "choice": [
        {"kind": "plateau", "factor": {"choice": [0.1, 0.3]}, "patience_epochs": {"range": [1, 5]}},
        {"kind": "one_cycle", "rise": {"range": [0.1, 0.5]}},
        {"kind": "constant"},
    ]
}


def _parameter(space: Space, name: str) -> Parameter:
    return next(parameter for parameter in space.parameters if parameter.name == name)


# --- domains --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "written", "domain"),
    [
        pytest.param("training__epochs", {"range": [2, 9]}, IntRange(2, 9), id="whole-ends-make-whole-numbers"),
        pytest.param(
            "training__epochs", {"range": [2, 9], "step": 3}, IntRange(2, 8, step=3), id="the-end-lies-on-the-steps"
        ),
        pytest.param(
            "training__batch_size", {"range": [1, 64], "log": True}, IntRange(1, 64, log=True), id="whole-and-log"
        ),
        pytest.param(
            "model__head__dropout", {"range": [0, 0.5]}, FloatRange(0.0, 0.5), id="one-fraction-makes-fractions"
        ),
        pytest.param(
            "model__head__dropout",
            {"range": [0.1, 0.4], "step": 0.1},
            FloatRange(0.1, 0.4, step=0.1),
            id="steps-of-a-tenth",
        ),
        pytest.param(
            "training__optimizer__lr", {"range": [1e-5, 1e-2], "log": True}, FloatRange(1e-5, 1e-2, log=True), id="log"
        ),
        pytest.param("training__epochs", {"choice": [5, 10]}, Choice((5, 10)), id="choice"),
        pytest.param("training__stop_patience_epochs", {"choice": [None, 4]}, Choice((None, 4)), id="choice-with-null"),
        pytest.param(
            "model__head__batch_norm", {"choice": [False, True]}, Choice((False, True)), id="choice-of-truth-values"
        ),
        pytest.param("training__epochs", {"choice": [5]}, Choice((5,)), id="choice-of-one"),
        pytest.param(
            "model__head__hidden", {"choice": [[], [256, 64]]}, Choice(("[]", "[256,64]")), id="lists-by-their-json"
        ),
        pytest.param(
            "training__schedule", BRANCHES, Choice(("plateau", "one_cycle", "constant")), id="sections-by-their-kind"
        ),
        pytest.param(
            "training__schedule",
            {"choice": [{"kind": "plateau", "factor": 0.1}, {"kind": "plateau", "factor": 0.2}]},
            Choice(('{"kind":"plateau","factor":0.1}', '{"kind":"plateau","factor":0.2}')),
            id="sections-of-one-kind-by-their-json",
        ),
        pytest.param(
            "model__freeze",
            {"choice": [{"depth": 0.5}, {"stride": 16}]},
            Choice(('{"depth":0.5}', '{"stride":16}')),
            id="sections-without-kind",
        ),
    ],
)
def test_a_searched_value_is_read_as_its_domain(name: str, written: Any, domain: Any, tmp_path: Path) -> None:
    space = space_of(tmp_path, **{name: written})
    assert space.parameters[0].domain == domain
    assert [type(label) for label in space.parameters[0].domain.corners] == [type(label) for label in domain.corners]


@pytest.mark.parametrize(
    ("name", "written", "default"),
    [
        pytest.param("training__epochs", {"range": [2, 9], "default": 4}, 4, id="written"),
        pytest.param("training__epochs", {"choice": [5, 8]}, 5, id="the-first-of-a-choice"),
        pytest.param("training__epochs", {"choice": [5, 8], "default": 8}, 8, id="written-of-a-choice"),
        pytest.param(
            "training__stop_patience_epochs", {"choice": [4, None], "default": None}, None, id="null-can-be-written"
        ),
        pytest.param("training__epochs", {"range": [2, 90]}, 20, id="the-config's-own-inside-the-range"),
        pytest.param("training__epochs", {"range": [2, 10]}, 6, id="the-middle-else"),
        pytest.param(
            "training__optimizer__lr",
            {"range": [1e-6, 1e-4], "log": True},
            pytest.approx(1e-5),
            id="the-geometric-middle",
        ),
        pytest.param(
            "training__optimizer__lr",
            {"range": [1e-5, 1e-1], "log": True},
            1e-3,
            id="the-config's-own-inside-a-log-range",
        ),
        pytest.param("model__head__dropout", {"range": [0.1, 0.5], "step": 0.1}, 0.3, id="the-middle-on-the-steps"),
        pytest.param(
            "model__head__dropout", {"range": [0.1, 0.6], "step": 0.25}, 0.35, id="steps-begin-at-the-low-end"
        ),
        pytest.param(
            "training__schedule", BRANCHES | {"default": "one_cycle"}, "one_cycle", id="a-section-by-its-label"
        ),
        pytest.param(
            "model__head__hidden", {"choice": [[], [256]], "default": [256]}, "[256]", id="a-list-by-its-value"
        ),
    ],
)
def test_a_parameter_begins_at_its_default(name: str, written: Any, default: Any, tmp_path: Path) -> None:
    space = space_of(tmp_path, **{name: written})
    assert space.parameters[0].default == default
    assert space.defaults()[space.parameters[0].key] == default


def test_the_default_of_a_range_comes_from_the_section_its_kind_names(tmp_path: Path) -> None:
    lr = {"kind": {"choice": ["sgd", "rmsprop"]}, "momentum": {"range": [0.5, 0.95]}}
    assert _parameter(space_of(tmp_path, training__optimizer=lr), "training.optimizer.momentum").default == 0.9


def test_long_labels_are_clipped_and_stay_apart(tmp_path: Path) -> None:
    lists = [[256] * 30, [256] * 31]
    labels = _parameter(space_of(tmp_path, model__head__hidden={"choice": lists}), "model.head.hidden").domain.corners
    assert len(set(labels)) == 2
    assert all(isinstance(label, str) and len(label) <= 80 for label in labels)


def test_any_value_may_be_searched_down_to_the_arguments_of_a_transform(tmp_path: Path) -> None:
    rotate = {"transform": "Rotate", "arguments": {"limit": {"range": [10, 90]}}}
    space = space_of(tmp_path, augment=[rotate], model__head__hidden=[{"choice": [128, 256]}, 64])
    assert [parameter.name for parameter in space.parameters] == ["model.head.hidden.0", "augment.0.arguments.limit"]


def test_a_space_may_be_all_fixed(tmp_path: Path) -> None:
    space = space_of(tmp_path)
    assert space.parameters == ()
    assert space.defaults() == {}
    assert space.config(space.tree_of({}).tree, seed=3, cpu_threads=1, weights_file=None).seed == 3


# --- branches -------------------------------------------------------------------------------------------------------


def test_two_branches_share_a_dotted_name_but_not_a_key(tmp_path: Path) -> None:
    branches = [{"kind": kind, "momentum": {"range": [0.0, high]}} for kind, high in (("sgd", 0.9), ("rmsprop", 0.5))]
    space = space_of(tmp_path, training__optimizer={"choice": branches})
    assert [(parameter.key, parameter.name) for parameter in space.parameters[1:]] == [
        ("training.optimizer[sgd].momentum", "training.optimizer.momentum"),
        ("training.optimizer[rmsprop].momentum", "training.optimizer.momentum"),
    ]


def test_only_the_parameters_of_the_branch_taken_are_asked_for(tmp_path: Path) -> None:
    space = space_of(tmp_path, training__schedule=BRANCHES)
    asked = []

    def take_one_cycle(parameter: Parameter) -> Any:
        asked.append(parameter.key)
        return "one_cycle" if parameter.key == "training.schedule" else 0.2

    drawn = space.draw(take_one_cycle)
    assert asked == ["training.schedule", "training.schedule[one_cycle].rise"]
    assert drawn.values == {"training.schedule": "one_cycle", "training.schedule[one_cycle].rise": 0.2}
    assert drawn.named == {"training.schedule": "one_cycle", "training.schedule.rise": 0.2}
    assert drawn.tree["training"]["schedule"] == {"kind": "one_cycle", "rise": 0.2}
    config = space.config(drawn.tree, seed=0, cpu_threads=1, weights_file=None)
    assert config.training.schedule == OneCycle(kind="one_cycle", rise=0.2)


def test_conditions_name_the_labels_a_parameter_hangs_on(tmp_path: Path) -> None:
    nested = {"choice": [{"kind": "sgd", "momentum": {"choice": [0.0, {"range": [0.5, 0.9]}]}}, {"kind": "adam"}]}
    *_, inner = space_of(tmp_path, training__optimizer=nested).parameters
    assert inner.key == 'training.optimizer[sgd].momentum[{"range":[0.5,0.9]}]'
    assert dict(inner.conditions) == {
        "training.optimizer": "sgd",
        "training.optimizer[sgd].momentum": '{"range":[0.5,0.9]}',
    }


def test_a_choice_may_offer_a_range_and_the_number_drawn_is_what_people_see(tmp_path: Path) -> None:
    space = space_of(tmp_path, model__head__dropout={"choice": [0.0, {"range": [0.2, 0.5]}]})
    outer, inner = space.parameters
    drawn = space.tree_of({outer.key: '{"range":[0.2,0.5]}', inner.key: 0.3})
    assert drawn.named == {"model.head.dropout": 0.3}
    assert drawn.tree["model"]["head"] == {"dropout": 0.3}


def test_values_drawn_before_give_the_same_config_again(tmp_path: Path) -> None:
    space = space_of(tmp_path, training__schedule=BRANCHES, augment={"choice": ["none", "light"]})
    drawn = space.tree_of(space.defaults())
    assert space.tree_of(json.loads(json.dumps(drawn.values))) == drawn


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({}, id="missing"),
        pytest.param({"augment": "strong"}, id="no-label"),
        pytest.param({"augment": True}, id="another-type"),
    ],
)
def test_values_of_another_space_are_refused(values: dict[str, Any], tmp_path: Path) -> None:
    space = space_of(tmp_path, augment={"choice": ["none", "light"]})
    with pytest.raises(SpaceFileError, match="the values of another space do not fit this one"):
        space.tree_of(values)


def test_true_is_not_taken_for_one(tmp_path: Path) -> None:
    space = space_of(tmp_path, training__batch_size={"choice": [1, 2]})
    with pytest.raises(SpaceFileError, match="true is none of its labels"):
        space.tree_of({"training.batch_size": True})


# --- configs --------------------------------------------------------------------------------------------------------


def test_the_config_of_a_draw_carries_the_seed_the_threads_and_the_weights(tmp_path: Path) -> None:
    space = space_of(tmp_path)
    config = space.config(space.tree_of({}).tree, seed=7, cpu_threads=2, weights_file="/w/lite0.safetensors")
    assert (config.seed, config.cpu_threads, config.model.weights_file) == (7, 2, "/w/lite0.safetensors")
    assert config.training.optimizer == Adam(kind="adam", lr=1e-3)


def test_values_that_only_clash_three_at_a_time_are_refused_when_drawn(tmp_path: Path) -> None:
    space = space_of(tmp_path)
    tree = {**space.tree_of({}).tree, "training": {"epochs": 3, "warm_up": {"epochs": 5}}}
    with pytest.raises(SpaceFileError, match=r"warm_up.epochs is 5, but epochs only 3"):
        space.config(tree, seed=0, cpu_threads=1, weights_file=None)


@pytest.mark.parametrize(
    ("marker", "file", "root"),
    [
        pytest.param("pyproject.toml", "deep/er/space.yaml", "images", id="a-project-file"),
        pytest.param(".git", "deep/space.yaml", "images", id="a-git-checkout"),
        pytest.param(None, "spaces/space.yaml", "images", id="a-folder-named-spaces"),
        pytest.param(None, "mine/space.yaml", "mine/images", id="the-file's-own-folder"),
    ],
)
def test_the_data_root_is_relative_to_the_project_of_the_space(
    marker: str | None, file: str, root: str, tmp_path: Path
) -> None:
    if marker is not None:
        (tmp_path / marker).touch()
    write_yaml(tmp_path / file, changed())
    space = read_space(tmp_path / file)
    assert space.data_root == str(tmp_path / root)
    config = space.config(space.tree_of({}).tree, seed=0, cpu_threads=1, weights_file=None)
    assert config.data.root == str(tmp_path / root)


def test_data_on_the_command_line_is_relative_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_yaml(tmp_path / "space.yaml", changed())
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert read_space(tmp_path / "space.yaml", data_root=Path("photos")).data_root == str(tmp_path / "here" / "photos")


def test_data_on_the_command_line_spares_the_root_in_the_file(tmp_path: Path) -> None:
    write_yaml(tmp_path / "space.yaml", changed(data={"kind": "folders", "splits": {"val": 0.2}}))
    assert read_space(tmp_path / "space.yaml", data_root=tmp_path).data_root == str(tmp_path)


def test_a_weights_file_is_relative_to_the_project_and_absolute_in_the_config(tmp_path: Path) -> None:
    (tmp_path / "mine.safetensors").touch()
    space = space_of(tmp_path, model__weights={"choice": ["imagenet", "mine.safetensors"]})
    label = str(tmp_path / "mine.safetensors")
    assert space.parameters[0].domain == Choice(("imagenet", label))
    assert space.tree_of({"model.weights": label}).tree["model"]["weights"] == label


# --- checks from outside --------------------------------------------------------------------------------------------


def test_every_combination_of_backbone_and_freeze_depth_is_checked(tmp_path: Path) -> None:
    seen = set()

    def remember(model: ModelConfig) -> list[str]:
        seen.add((model.backbone, model.weights, model.freeze.depth))
        return []

    freeze = {"depth": {"range": [0.1, 0.9]}}
    model = {"backbone": {"choice": ["a", "b"]}, "weights": {"choice": ["imagenet", "none"]}, "freeze": freeze}
    write_yaml(tmp_path / "space.yaml", changed(model=model))
    read_space(tmp_path / "space.yaml", backbone_check=remember)
    assert {(name, weights, depth) for name in "ab" for weights in ("imagenet", "none") for depth in (0.1, 0.9)} <= seen


def test_a_fault_of_a_transform_is_laid_to_its_place_in_the_list(tmp_path: Path) -> None:
    def refuse_rotations(policy: Policy) -> list[str]:
        return ["no rotations"] if policy[0].transform == "Rotate" else []  # type: ignore[union-attr]

    path = tmp_path / "space.yaml"
    write_yaml(path, changed(augment={"choice": ["none", [{"transform": "Flip"}, {"transform": "Rotate"}]]}))
    with pytest.raises(SpaceFileError) as caught:
        read_space(path, policy_check=refuse_rotations)
    line = read_yaml(path).lines["augment", "choice", 1, 1]
    assert caught.value.faults == (f"{path}:{line}: augment.1: no rotations",)


def test_too_many_combinations_of_backbones_are_refused_not_skipped(tmp_path: Path) -> None:
    names = {"choice": [f"net{number}" for number in range(200)]}
    freeze = {"depth": {"choice": [number / 200 for number in range(200)]}}
    write_yaml(tmp_path / "space.yaml", changed(model={"backbone": names, "freeze": freeze}))
    with pytest.raises(SpaceFileError, match="more than 20000 combinations of backbone, weights and freeze"):
        read_space(tmp_path / "space.yaml", backbone_check=lambda _: [])


# --- the same search again ------------------------------------------------------------------------------------------


def test_the_canonical_space_reads_back_as_the_same_search(tmp_path: Path) -> None:
    space = space_of(
        tmp_path,
        training__schedule=BRANCHES,
        model__head__hidden={"choice": [[], [256]], "default": [256]},
        model__head__dropout={"choice": [0.0, {"range": [0.1, 0.5], "step": 0.1}]},
        training__epochs={"range": [2, 40], "log": True},
        training__optimizer__kind={"choice": ["adam", "adamw"]},
    )
    write_yaml(tmp_path / "run" / "space.yaml", space.canonical())
    again = read_space(tmp_path / "run" / "space.yaml")
    assert again.digest() == space.digest()
    assert again.parameters == space.parameters
    assert again.canonical() == space.canonical()


@pytest.mark.parametrize(
    ("change", "same"),
    [
        pytest.param({"search__trials": 99}, True, id="more-trials"),
        pytest.param({"search__hours": 2.0}, True, id="another-time-limit"),
        pytest.param({"search__concurrent": 2}, True, id="another-concurrency"),
        pytest.param({"search__finals": {"top": 2}}, True, id="finals-added"),
        pytest.param({"data__root": "moved"}, True, id="moved-data"),
        pytest.param({"search__seed": 1}, False, id="another-seed"),
        pytest.param({"search__metric": "-val_loss"}, False, id="another-metric"),
        pytest.param({"training__epochs": 21}, False, id="another-fixed-value"),
        pytest.param({"training__optimizer__lr": {"range": [1e-4, 1e-2]}}, False, id="a-value-searched"),
    ],
)
def test_the_digest_tells_another_search_from_a_longer_one(change: dict[str, Any], same: bool, tmp_path: Path) -> None:
    assert (space_of(tmp_path, **change).digest() == space_of(tmp_path).digest()) is same


@pytest.mark.parametrize(
    ("folds", "all_of_them"),
    [
        pytest.param(None, (), id="none"),
        pytest.param(5, (5,), id="fixed"),
        pytest.param({"choice": [None, 5, 3]}, (3, 5), id="choice"),
        pytest.param({"range": [2, 8], "step": 3}, (2, 5, 8), id="range"),
    ],
)
def test_every_number_of_folds_is_listed(folds: Any, all_of_them: tuple[int, ...], tmp_path: Path) -> None:
    assert space_of(tmp_path, folds=folds).folds == all_of_them


def test_a_space_that_says_nothing_of_folds_has_none(tmp_path: Path) -> None:
    assert space_of(tmp_path).folds == ()


# --- options with names of their own --------------------------------------------------------------------------------

NAMED = {
    "choice": {
        "small": {"backbone": {"kind": "custom", "layers": [{"conv": {"range": [4, 8]}}]}},
        "large": {"backbone": "resnet18", "weights": "w.safetensors", "head": {"dropout": {"range": [0.0, 0.5]}}},
    },
    "default": "large",
}


def test_options_may_have_names_which_label_them(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").touch()
    space = space_of(tmp_path, model=NAMED)
    model, conv, dropout = space.parameters
    assert (model.name, model.domain, model.default) == ("model", Choice(("small", "large")), "large")
    assert (conv.key, dropout.key) == ("model[small].backbone.layers.0.conv", "model[large].head.dropout")
    assert space.tree_of({"model": "small", conv.key: 5}).tree["model"]["backbone"]["layers"] == [{"conv": 5}]
    drawn = space.tree_of({"model": "large", dropout.key: 0.1}).tree["model"]
    assert drawn["weights"] == str(tmp_path / "w.safetensors")


def test_named_options_survive_being_written(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").touch()
    space = space_of(tmp_path, model=NAMED)
    write_yaml(tmp_path / "again.yaml", space.canonical())
    again = read_space(tmp_path / "again.yaml")
    assert (again.parameters, again.digest()) == (space.parameters, space.digest())
