from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.pictures import put
from tests.data.test_malformed_data import SECTION
from tune_cnn.data.cache import Cache
from tune_cnn.data.dataset import open_data, summary
from tune_cnn.errors import InputError
from tune_cnn.sample import OBJECTS, SAMPLES, Part, draw_picture, write_sample
from tune_cnn.sections.image import ImageConfig

FEW: dict[Part, int] = {"train": 4, "valid": 2, "test": 2}
SPLITS = {"train": "train", "val": "valid", "test": "test"}
SECTIONS: dict[str, dict[str, Any]] = {
    "shapes": {"kind": "folders", "splits": SPLITS},
    "boxes": {"kind": "boxes_csv", "splits": SPLITS},
    "lists": {
        "kind": "lists",
        "splits": {"train": "train.txt", "val": 0.34, "test": "test.txt"},
        "classes": "classes.txt",
    },
}


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("name", SECTIONS)
def test_a_sample_opens_without_a_warning_and_with_all_its_images(name: str, tmp_path: Path) -> None:
    write_sample(name, tmp_path / "set", images_per_class=FEW)
    section = SECTION.validate_python(SECTIONS[name] | {"root": str(tmp_path / "set")})
    data = open_data(section, ImageConfig(px=32), cache=Cache(tmp_path / "cache"))
    assert data.classes == tuple(OBJECTS)
    assert [(row.train, row.val, row.test) for row in summary(data)] == [(4, 2, 2)] * len(OBJECTS)
    assert (data.skipped, data.warnings) == ((), ())


def test_a_sample_of_masks_opens_with_a_class_per_object(tmp_path: Path) -> None:
    write_sample("masks", tmp_path / "set", images_per_class=FEW)
    values = {0: "background", **dict(enumerate(OBJECTS, start=1))}
    section = {
        "kind": "masks", "images": "images", "masks": "masks", "pairs": "pairs.csv", "values": values,
        "splits": {"val": 0.25, "test": 0.25}, "root": str(tmp_path / "set"),
    }  # fmt: skip
    data = open_data(SECTION.validate_python(section), ImageConfig(px=32), cache=Cache(tmp_path / "cache"))
    assert data.classes == ("background", *OBJECTS)
    assert {split: len(part.paths) for split, part in data.splits.items()} == {"train": 20, "val": 10, "test": 10}
    assert data.skipped == ()
    assert all(row.train > 100 for row in summary(data))


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_the_same_for_the_same_seed(name: str, tmp_path: Path) -> None:
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_sample(name, tmp_path / folder, images_per_class=FEW, seed=seed)
    assert contents(tmp_path / "a") == contents(tmp_path / "b") != contents(tmp_path / "c")


def test_the_images_of_a_sample_are_all_different(tmp_path: Path) -> None:
    write_sample("shapes", tmp_path / "set", images_per_class=FEW)
    digests = contents(tmp_path / "set")
    assert len(set(digests.values())) == len(digests) == 40


@pytest.mark.parametrize("name", OBJECTS)
def test_the_box_of_an_object_lies_in_its_picture_and_holds_a_good_part_of_it(name: str) -> None:
    random = np.random.default_rng(3)
    for _ in range(20):
        picture = draw_picture(name, random)
        left, top, right, bottom = picture.box
        assert 0 <= left < right <= picture.image.width
        assert 0 <= top < bottom <= picture.image.height
        assert min(right - left, bottom - top) >= 0.2 * min(picture.image.size)


def test_sample_images_are_of_different_sizes() -> None:
    random = np.random.default_rng(0)
    assert len({draw_picture("ring", random).image.size for _ in range(20)}) > 15


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    mine = put(tmp_path / "set" / "mine.txt", b"precious")
    with pytest.raises(InputError, match="holds something already; write a new or empty folder"):
        write_sample("shapes", tmp_path / "set", images_per_class=FEW)
    assert contents(tmp_path) == {"set/mine.txt": sha256(mine.read_bytes()).hexdigest()}


def test_a_file_in_the_place_of_the_folder_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds something already"):
        write_sample("shapes", put(tmp_path / "set", b"x"), images_per_class=FEW)


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    write_sample("lists", tmp_path / "set", images_per_class=FEW)
    assert (tmp_path / "set" / "classes.txt").read_text() == "0 crescent\n1 flower\n2 polygon\n3 ring\n4 star\n"


def test_an_unknown_sample_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no sample data set 'shape'; write one of shapes, boxes, lists, masks"):
        write_sample("shape", tmp_path / "set")


def test_a_sample_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="negative"):
        write_sample("shapes", tmp_path / "set", images_per_class=FEW, seed=-1)
    assert list(tmp_path.iterdir()) == []
