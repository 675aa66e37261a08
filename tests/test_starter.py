from collections.abc import Callable
from pathlib import Path

import pytest

from tune_cnn.errors import DataError, InputError
from tune_cnn.search.open_space import open_space
from tune_cnn.starter import guess_data, write_starter


def class_folders(root: Path) -> None:
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)


def split_folders(root: Path) -> None:
    for split in ("train", "val", "test"):
        class_folders(root / split)


def boxes(root: Path) -> None:
    (root / "train").mkdir()
    (root / "train" / "_annotations.csv").write_text("")


def lists(root: Path) -> None:
    for name in ("train.txt", "test.txt", "classes.txt"):
        (root / name).write_text("")


@pytest.mark.parametrize(
    ("build", "kind", "splits"),
    [
        pytest.param(class_folders, "folders", {"val": 0.15, "test": 0.15, "seed": 0}, id="class-folders"),
        pytest.param(split_folders, "folders", {"train": "train", "val": "val", "test": "test"}, id="split-folders"),
        pytest.param(boxes, "boxes_csv", {"train": "train", "val": 0.15}, id="boxes-without-validation"),
        pytest.param(lists, "lists", {"train": "train.txt", "val": 0.15, "test": "test.txt"}, id="lists"),
    ],
)
def test_the_layout_is_guessed(
    tmp_path: Path, build: Callable[[Path], None], kind: str, splits: dict[str, object]
) -> None:
    build(tmp_path)
    data = guess_data(tmp_path)
    assert (data["kind"], data["splits"]) == (kind, splits)


@pytest.mark.parametrize("name", ["birds", "my photos: 2024", 'quo"ted', "#hash"])
def test_the_starter_is_a_sound_space_whatever_the_folder_is_called(tmp_path: Path, name: str) -> None:
    class_folders(tmp_path / name)
    space = open_space(write_starter(tmp_path / name, tmp_path / "starter.yaml")).space
    assert space.data_root == (tmp_path / name).resolve()


def test_an_existing_space_is_not_overwritten(tmp_path: Path) -> None:
    class_folders(tmp_path / "pets")
    (tmp_path / "mine.yaml").write_text("precious")
    with pytest.raises(InputError, match="exists already"):
        write_starter(tmp_path / "pets", tmp_path / "mine.yaml")
    assert (tmp_path / "mine.yaml").read_text() == "precious"


def test_a_folder_of_loose_images_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(DataError, match="put the images of each class into a folder"):
        guess_data(tmp_path)
