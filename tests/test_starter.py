from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.pictures import encoded, jpeg, put
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


@pytest.mark.parametrize(
    ("masks", "guessed"),
    [
        pytest.param([[0, 255]], {"values": {"0": "background", "255": "object"}}, id="black-and-white"),
        pytest.param([[0, 2], [1, 2]], {"values": {"0": "background", "1": "class_1", "2": "class_2"}}, id="indices"),
        pytest.param(
            [list(range(0, 256, 5))],
            {"values": {"0": "background", "255": "object"}, "threshold": 128},
            id="blurred-edges",
        ),
    ],
)
def test_a_folder_of_masks_beside_images_becomes_a_segmentation_space(
    tmp_path: Path, masks: list[list[int]], guessed: dict[str, object]
) -> None:
    for number, values in enumerate(masks):
        mask = Image.fromarray(np.array([values], np.uint8))
        put(tmp_path / "set" / "Masks" / f"{number}.png", encoded(mask, "PNG"))
        put(tmp_path / "set" / "photos" / f"{number}.jpg", jpeg(number))
    data = guess_data(tmp_path / "set")
    assert {name: data.get(name) for name in ("kind", "images", "masks")} == {
        "kind": "masks",
        "images": "photos",
        "masks": "Masks",
    }
    assert guessed.items() <= data.items()
    space = open_space(write_starter(tmp_path / "set", tmp_path / "starter.yaml")).space
    assert (space.task, space.search.metric) == ("segmentation", "val_miou")


def test_split_folders_of_images_and_masks_and_their_table_are_found(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        put(tmp_path / split / "img" / "a.jpg", jpeg(1))
        put(tmp_path / split / "label" / "b.png", encoded(Image.new("RGB", (4, 4), (9, 0, 0)), "PNG"))
        put(tmp_path / split / "pairs.csv", b"image,mask\na.jpg,b.png\n")
    data = guess_data(tmp_path)
    assert data["splits"] == {"train": "train", "val": "valid", "test": 0.15, "seed": 0}
    assert (data["images"], data["masks"], data["pairs"]) == ("img", "label", "pairs.csv")


@pytest.mark.parametrize("name", ["birds", "my photos: 2024", 'quo"ted', "#hash"])
def test_the_starter_is_a_sound_space_whatever_the_folder_is_called(tmp_path: Path, name: str) -> None:
    class_folders(tmp_path / name)
    space = open_space(write_starter(tmp_path / name, tmp_path / "starter.yaml")).space
    assert space.data_root == str((tmp_path / name).resolve())


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
