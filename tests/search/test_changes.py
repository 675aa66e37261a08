"""What a call finds changed since the search began."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import trial_config
from tests.space.made import space_of
from tune_cnn.data.cache import Cache
from tune_cnn.data.dataset import ImageData, open_data
from tune_cnn.errors import RunFolderError
from tune_cnn.results.records import RunFolder
from tune_cnn.search.changes import (
    Asked,
    check_images,
    check_versions,
    image_counts,
    is_same_space,
    refuse_space,
    space_differences,
)
from tune_cnn.search.run_facts import FORMAT, RunFacts
from tune_cnn.yaml_files import write_yaml

NOW = {"python": "3.11.9", "tune-cnn": "0.1.0", "optuna": "5.0.0", "torch": "2.15.0", "timm": "1.0.31"}


def facts(**changed: Any) -> RunFacts:
    given = {"command": "", "weights": {}, "space_digest": "s", "data": "d" * 64, "seed": 0, "versions": NOW, **changed}
    return RunFacts.model_validate(given)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        pytest.param({}, [], id="nothing"),
        pytest.param(
            {"search__trials": 3, "search__hours": 2.0, "search__finals": {"top": 2}, "data__root": "x"},
            [],
            id="budget",
        ),
        pytest.param({"training__epochs": 8}, ["training.epochs: 20 then, 8 now"], id="value"),
        pytest.param(
            {"training__epochs": {"range": [5, 8]}},
            ["training.epochs: 20 then, {range: [5, 8], default: 7} now"],
            id="searched",
        ),
        pytest.param(
            {"training__batch_size": 8, "name": "other"},
            ["name: shapes then, other now", "training.batch_size: not written then, 8 now"],
            id="two-things",
        ),
        pytest.param({"search__asha": None}, ["search.asha.grace_epochs: 3 then, not written now"], id="section-gone"),
        pytest.param({"search__keep": 2}, ["search.keep: 5 then, 2 now"], id="setting"),
    ],
)
def test_each_difference_of_two_spaces_is_named_with_both_values(
    tmp_path: Path, changed: dict[str, Any], said: list[str]
) -> None:
    found = space_differences(space_of(tmp_path).canonical(), space_of(tmp_path, **changed).canonical())
    assert found[: len(said)] == said
    assert bool(found) is bool(said)


def test_another_space_is_refused_with_the_commands_that_go_on(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    before = space_of(tmp_path)
    write_yaml(run.space, before.canonical())
    space = space_of(tmp_path, training__epochs=8)
    assert not is_same_space(run, facts(space_digest=before.digest()), space, version="0.1.0")
    lines = refuse_space(run, space, Asked(words=("--space", "new.yaml", "--set=training.epochs=8"))).faults
    assert lines == (
        f"{run.path}: holds another search, its space differs from this one:",
        "  training.epochs: 20 then, 8 now",
        f"to go on with the space it has: tune-cnn resume {run.path}",
        f"to add trials of this one: tune-cnn extend {run.path} --trials 80 --space new.yaml --set=training.epochs=8",
        "for a run of its own: write --name OTHER",
    )


@pytest.mark.parametrize(("version", "same"), [("0.2.0", True), ("0.1.0", False)], ids=["another", "the-same"])
def test_a_space_that_only_another_version_wrote_otherwise_is_the_same(
    tmp_path: Path, version: str, same: bool
) -> None:
    run = RunFolder(tmp_path / "run")
    space = space_of(tmp_path)
    write_yaml(run.space, space.canonical())
    before = facts(space_digest="of a version that knew fewer settings")
    assert is_same_space(run, before, space, version=version) is same


def test_a_space_that_was_changed_in_the_run_folder_is_refused(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    space = space_of(tmp_path, training__epochs=8)
    write_yaml(run.space, space.canonical())
    assert refuse_space(run, space, Asked()).faults == (
        f"{run.space}: was changed since the last call; bring it back from a copy",
    )


@pytest.fixture(scope="module")
def data(shapes: Path, cache: Cache) -> ImageData:
    config = trial_config(shapes)
    return open_data(config.data, config.image, cache=cache)


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        pytest.param({"images": {"train": 31}}, "  train: 31 images then, 30 now", id="fewer-images"),
        pytest.param({"classes": ("blob",)}, "  class blob: is gone", id="a-class-less"),
        pytest.param({}, "  as many images of the same classes, but some have another content", id="same-counts"),
    ],
)
def test_other_images_are_refused_with_what_is_known_of_the_difference(
    data: ImageData, tmp_path: Path, seen: dict[str, Any], said: str
) -> None:
    known = {
        "images": image_counts(data) | seen.get("images", {}),
        "classes": (*data.classes, *seen.get("classes", ())),
    }
    with pytest.raises(RunFolderError) as refused:
        check_images(RunFolder(tmp_path), facts(**known), data)
    assert "was searched on other images (fingerprint dddddddddddd, now " in refused.value.faults[0]
    assert any(line.startswith(said) for line in refused.value.faults), refused.value.faults
    check_images(RunFolder(tmp_path), facts(data=data.fingerprint), data)


@pytest.mark.parametrize(
    ("then", "told"),
    [
        pytest.param({}, "", id="the-same"),
        pytest.param({"timm": "1.0.30"}, "since the last call: timm 1.0.30 then, 1.0.31 now; scores may", id="smaller"),
        pytest.param(
            {"torch": "2.14.1"}, "since the last call: torch 2.14.1 then, 2.15.0 now; scores", id="torch-minor"
        ),
    ],
)
def test_other_versions_are_told(tmp_path: Path, then: dict[str, str], told: str) -> None:
    said = check_versions(RunFolder(tmp_path), facts(versions={**NOW, **then}), NOW)
    assert said.startswith(told)
    assert bool(said) is bool(told)


@pytest.mark.parametrize(
    ("then", "says"),
    [
        pytest.param(
            {"versions": {**NOW, "torch": "1.13.1"}}, r"torch 1\.13\.1 then.*pip install torch==1\.13\.1", id="torch"
        ),
        pytest.param({"versions": {**NOW, "optuna": "4.5.0"}}, r"optuna 4\.5\.0 then, 5\.0\.0 now", id="optuna"),
        pytest.param(
            {"format": FORMAT + 1}, f"in format {FORMAT + 1}, and this one, 0.1.0, reads {FORMAT}", id="format"
        ),
    ],
)
def test_versions_that_cannot_go_on_with_each_others_work_are_refused(
    tmp_path: Path, then: dict[str, Any], says: str
) -> None:
    with pytest.raises(RunFolderError, match=says):
        check_versions(RunFolder(tmp_path), facts(**then), NOW)
