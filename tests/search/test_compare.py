"""Runs read back and put side by side; a damaged one is named."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.search.driving import drive, made_space, open_session
from tune_cnn.errors import InputError, RunFolderError
from tune_cnn.results.records import RunFolder
from tune_cnn.search.compare import compare_runs
from tune_cnn.search.run_facts import read_facts
from tune_cnn.yaml_files import write_yaml

SHORT = ("search.trials=3", "training.epochs=2", "search.asha=null")


def made_run(folder: Path, *overrides: str, trials: int | None = None) -> Path:
    folder.mkdir()
    space = made_space(folder, overrides=(*SHORT, *overrides))
    run = RunFolder(folder / "run")
    drive(open_session(space, run), most=trials)
    write_yaml(run.space, space.canonical())
    facts = {"space_digest": space.digest(), "data": "d" * 64, "weights": {}, "seed": 3, "command": "tune-cnn search"}
    run.run.write_text(json.dumps(facts))
    return run.path


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that chose between two backbones."""
    return made_run(tmp_path_factory.mktemp("searched") / "a")


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one backbone, judged by another metric."""
    return made_run(
        tmp_path_factory.mktemp("fixed") / "b", "model.backbone=tf_efficientnet_lite0", "search.metric=-val_loss"
    )


@pytest.fixture(scope="module")
def same_metric(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one backbone, judged as the first."""
    return made_run(tmp_path_factory.mktemp("same") / "c", "model.backbone=tf_efficientnet_lite0")


@pytest.fixture
def run(searched: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    copy = tmp_path / "run"
    for file in (file for file in searched.rglob("*") if file.is_file()):
        target = copy / file.relative_to(searched)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    return copy


def test_runs_of_different_metrics_are_told_apart(searched: Path, fixed: Path) -> None:
    comparison = compare_runs([searched, fixed])
    assert comparison.warning == (
        "warning: these runs were judged by different metrics: each group is ranked by itself"
    )
    assert comparison.columns[:3] == ["run", "metric", "rank"]
    assert [(row["metric"], row["rank"]) for row in comparison.rows] == [
        *(("val_accuracy", rank) for rank in (1, 2, 3)),
        *(("-val_loss", rank) for rank in (1, 2, 3)),
    ]


def test_folders_without_a_run_are_left_out_and_named(searched: Path, same_metric: Path, tmp_path: Path) -> None:
    comparison = compare_runs([searched, tmp_path, same_metric])
    assert comparison.warning == f"left out, as they hold no run of a search: {tmp_path}"
    assert len(comparison.rows) == 6


def test_everything_that_lies_under_runs_may_be_given(searched: Path, fixed: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    (tmp_path / "photos-train-1").mkdir()
    (tmp_path / "photos-train-1" / "trial.log").touch()
    empty = made_run(tmp_path / "interrupted", trials=0).rename(tmp_path / "begun")
    (tmp_path / "interrupted" / "made.yaml").unlink()
    (tmp_path / "interrupted").rmdir()
    comparison = compare_runs([searched, *sorted(tmp_path.iterdir())])
    assert comparison.warning.splitlines() == [
        f"no trial has begun: {empty}",
        f"single trainings, which no search has judged: {tmp_path / 'photos-train-1'}",
        f"left out, as they hold no run of a search: {tmp_path / 'notes.txt'}",
    ]
    assert [row["rank"] for row in comparison.rows] == [1, 2, 3]
    assert len(compare_runs([searched, empty, fixed]).groups) == 2


def test_a_run_without_a_trial_says_so_and_has_no_rows(tmp_path: Path, tune_cnn: Any) -> None:
    empty = made_run(tmp_path / "interrupted", trials=0)
    for more in ((), ("--best-per", "model.backbone")):
        said = tune_cnn("leaderboard", empty, "--json", *more)
        assert (said.code, said.out, said.err) == (0, "[]\n", f"no trial has begun: {empty}\n")


def test_a_path_that_is_not_there_is_an_error_whatever_else_is_given(searched: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no such file"):
        compare_runs([searched, tmp_path / "serched"])


def test_folders_of_which_none_holds_a_run_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no such file"):
        compare_runs([tmp_path, tmp_path])


def test_means_over_folds_are_not_ranked_with_scores_of_one_split(
    searched: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folds = made_run(tmp_path_factory.mktemp("folds") / "d", "folds=3")
    comparison = compare_runs([searched, folds])
    assert "were scored on different folds" in comparison.warning
    assert [row["rank"] for row in comparison.rows] == [1, 2, 3, 1, 2, 3]


def test_runs_of_one_metric_on_the_same_images_are_ranked_together(searched: Path, same_metric: Path) -> None:
    comparison = compare_runs([searched, same_metric])
    assert comparison.warning == ""
    assert [row["rank"] for row in comparison.rows] == [1, 2, 3, 4, 5, 6]
    scores = [row["score"] for row in comparison.rows]
    assert scores == sorted(scores, reverse=True)


def test_one_run_has_the_columns_of_its_own_leaderboard(searched: Path) -> None:
    assert compare_runs([searched]).columns == list(pd.read_csv(searched / "leaderboard.csv").columns)


def test_the_best_trial_of_each_backbone_is_shown_with_its_costs(searched: Path, same_metric: Path) -> None:
    every = compare_runs([searched, same_metric], best_per="model.backbone")
    assert every.columns[:4] == ["run", "metric", "model.backbone", "trials"]
    alone = {row["trial"]: row for row in compare_runs([searched]).rows}
    kept = {row["model.backbone"]: row for row in every.rows}
    assert set(kept) == {"resnet18", "tf_efficientnet_lite0"}
    assert sum(row["trials"] for row in every.rows) == 6
    of_resnet = [row["score"] for row in alone.values() if row["model.backbone"] == "resnet18"]
    assert kept["resnet18"]["score"] == max(of_resnet)
    (group,) = every.groups
    costs = {"parameters", "trainable_parameters", "model_mb", "seconds", "peak_memory_mb", "score"}
    assert all(shown[cost] is not None for shown in group.shown for cost in costs)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        pytest.param("training.epochs", {2}, id="fixed-in-the-space"),
        pytest.param("training.batch_size", {32}, id="a-default-in-no-file-but-the-trial-s"),
        pytest.param("training.schedule", {"plateau", "one_cycle"}, id="a-section-by-its-kind"),
        pytest.param("training.schedule.factor", {0.1, 0.3}, id="only-where-there-is-one"),
        pytest.param("model.head.hidden", {"[]"}, id="a-list"),
        pytest.param("training.stop_patience_epochs", {None}, id="null"),
    ],
)
def test_trials_are_told_apart_by_any_value(searched: Path, name: str, values: set[Any]) -> None:
    found = {row[name] for row in compare_runs([searched], best_per=name).rows}
    assert found
    assert found <= values


@pytest.mark.parametrize(
    ("name", "says"),
    [
        pytest.param("backbone", "did you mean model.backbone?", id="the-last-part-alone"),
        pytest.param("model.bakbone", "did you mean model.backbone?", id="misspelt"),
        pytest.param("x", "write a dotted name such as model.backbone", id="nothing-like-it"),
    ],
)
def test_a_value_that_no_trial_has_is_named(searched: Path, name: str, says: str) -> None:
    with pytest.raises(InputError, match="no trial has such a value") as caught:
        compare_runs([searched], best_per=name)
    assert says in str(caught.value)


def write(name: str, text: str) -> Callable[[Path], object]:
    return lambda run: (run / name).write_text(text)


def without(name: str) -> Callable[[Path], object]:
    return lambda run: (run / name).unlink()


def without_a_fact(run: Path) -> None:
    with sqlite3.connect(run / "study.db") as db:
        db.execute("""UPDATE trial_user_attributes SET value_json = '{"parameters": 1}' WHERE key = 'facts'""")


DAMAGES = [
    pytest.param(without("study.db"), "study.db: no such file", id="no-study"),
    pytest.param(write("study.db", "rubbish"), "study.db: not a study", id="no-database"),
    pytest.param(without_a_fact, "study.db: damaged", id="a-record-cut-short"),
    pytest.param(without("space.yaml"), "space.yaml: cannot be read", id="no-space"),
    pytest.param(write("space.yaml", "name: x\n"), "search: missing", id="no-search-section"),
    pytest.param(write("space.yaml", "search: 3\n"), "space.yaml:1: search: 3 is not a section", id="a-number"),
    pytest.param(write("space.yaml", "- a\n"), "space.yaml: damaged", id="a-list"),
    pytest.param(write("space.yaml", "search: {metric: luck}\n"), "search.metric: 'luck'", id="no-such-metric"),
    pytest.param(write("space.yaml", "search: {metr"), "space.yaml:1: not YAML", id="torn"),
]


@pytest.mark.parametrize(("damage", "says"), DAMAGES)
def test_a_damaged_run_is_named(run: Path, damage: Callable[[Path], object], says: str) -> None:
    damage(run)
    with pytest.raises(RunFolderError) as caught:
        compare_runs([run])
    assert str(run) in str(caught.value)
    assert says in str(caught.value)


def test_a_damaged_config_of_a_trial_is_named_where_it_is_needed(run: Path) -> None:
    (run / "trials/0000/config.yaml").write_text("[")
    assert len(compare_runs([run], best_per="model.backbone").rows)
    with pytest.raises(RunFolderError, match=r"0000/config.yaml: is needed for --best-per training.batch_size"):
        compare_runs([run], best_per="training.batch_size")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("", "Invalid JSON", id="empty"),
        pytest.param("[]", "damaged", id="a-list"),
        pytest.param('{"seed": 3, "command": "", "weights": {}}', "space_digest: Field required", id="names-missing"),
        pytest.param(
            '{"space_digest": "a", "data": "b", "weights": {"x": 3}, "seed": 1, "command": ""}', "weights.x", id="type"
        ),
    ],
)
def test_damaged_facts_of_a_run_are_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunFolderError) as caught:
        read_facts(RunFolder(tmp_path))
    assert str(caught.value).startswith(f"{tmp_path / 'run.json'}: damaged")
    assert says in str(caught.value)
