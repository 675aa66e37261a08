import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.data.pictures import class_folders, jpeg, put
from tests.data.test_malformed_data import SECTION
from tests.real_data import shared
from tune_cnn.data.cache import Cache
from tune_cnn.data.dataset import ClassCount, ImageData, open_data, summary
from tune_cnn.data.decode import decode_image, fit_image
from tune_cnn.errors import DataError
from tune_cnn.sections.data import FoldersData, Splits
from tune_cnn.sections.image import ImageConfig

SMALL = ImageConfig(px=16)
WHOLE = {"train": "train", "val": "val"}


def open_folders(root: Path, cache: Path, *, on_bad: str = "error", **splits: object) -> ImageData:
    section = {
        "kind": "folders",
        "root": str(root),
        "splits": splits or WHOLE,
        "on_bad": on_bad,
    }
    return open_data(SECTION.validate_python(section), SMALL, cache=Cache(cache))


def test_each_split_holds_its_images_with_their_labels(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "set", parts=("train", "val"), images=2)
    data = open_folders(root, tmp_path / "cache")
    assert data.classes == ("cat", "dog")
    assert list(data.splits) == ["train", "val"]
    val = data.splits["val"]
    assert val.paths == ("val/cat/0.jpg", "val/cat/1.jpg", "val/dog/0.jpg", "val/dog/1.jpg")
    assert val.labels.tolist() == [0, 0, 1, 1]
    assert val.labels.dtype == np.int64
    assert val.images.shape == (4, 16, 16, 3)
    for place, path in enumerate(val.paths):
        expected = fit_image(decode_image((root / path).read_bytes(), max_megapixels=1), 16, "pad")
        assert np.array_equal(val.images[place], expected)


def test_images_are_indexed_by_arrays_like_an_array(tmp_path: Path) -> None:
    data = open_folders(class_folders(tmp_path / "set"), tmp_path / "cache")
    images = data.splits["train"].images
    everything = images[:]
    assert len(images) == 6
    assert np.array_equal(images[np.array([4, 0, 4])], everything[[4, 0, 4]])
    assert np.array_equal(images[2:4], everything[2:4])
    assert np.array_equal(images[3], everything[3])
    assert images[np.array([], np.int64)].shape == (0, 16, 16, 3)
    batch = images[np.array([1])]
    batch[:] = 0  # a copy: what a trial does to its batch stays with it
    assert images[1].any()


def test_the_key_of_rows_names_their_content_wherever_it_lies(tmp_path: Path) -> None:
    data = open_folders(class_folders(tmp_path / "set"), tmp_path / "cache")
    shutil.copytree(tmp_path / "set", tmp_path / "moved")
    moved = open_folders(tmp_path / "moved", tmp_path / "cache").splits["train"].images
    train = data.splits["train"].images
    assert train.key == moved.key
    first, last = np.arange(6) < 3, np.arange(6) >= 3
    selections = [train, data.splits["val"].images, train.picked(first), train.picked(last)]
    selections += [train.picked(first).joined(train.picked(last)), train.picked(last).joined(train.picked(first))]
    put(tmp_path / "moved" / "train/cat/1.jpg", jpeg(99))
    selections.append(open_folders(tmp_path / "moved", tmp_path / "cache").splits["train"].images)
    section = SECTION.validate_python({"kind": "folders", "root": str(tmp_path / "set"), "splits": WHOLE})
    for image in (ImageConfig(px=24), ImageConfig(px=16, fit="crop")):
        selections.append(open_data(section, image, cache=Cache(tmp_path / "cache")).splits["train"].images)
    keys = [rows.key for rows in selections]
    assert keys[4] == keys[0], "the same rows in the same order"
    assert len(set(keys)) == len(keys) - 1


def test_fractions_are_drawn_stratified_from_the_training_folder(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "set", parts=("train", "test"), images=10)
    data = open_folders(root, tmp_path / "cache", train="train", val=0.2, test="test")
    assert summary(data) == (ClassCount("cat", 8, 2, 10), ClassCount("dog", 8, 2, 10))
    assert all(path.startswith("train/") for path in data.splits["val"].paths)
    assert not set(data.splits["val"].paths) & set(data.splits["train"].paths)


def test_another_seed_draws_other_images(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "set", parts=("",), images=20)
    drawn = [open_folders(root, tmp_path / "cache", val=0.2, test=0.2, seed=seed).splits for seed in (0, 0, 1)]
    assert drawn[0]["val"].paths == drawn[1]["val"].paths != drawn[2]["val"].paths


def test_bad_images_are_skipped_and_listed_where_that_is_asked_for(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "set")
    put(root / "train/cat/1.jpg", b"")
    data = open_folders(root, tmp_path / "cache", on_bad="skip")
    assert [(one.path, one.split, one.reason) for one in data.skipped] == [("train/cat/1.jpg", "train", "empty file")]
    assert summary(data) == (ClassCount("cat", 2, 3, None), ClassCount("dog", 3, 3, None))
    assert all(image.any() for image in data.splits["train"].images[:])


def test_bad_images_are_dropped_before_the_draw(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "set", parts=("",), images=12)
    for number in range(2):
        put(root / f"cat/{number}.jpg", b"")
    data = open_folders(root, tmp_path / "cache", on_bad="skip", val=0.2)
    assert summary(data) == (ClassCount("cat", 8, 2, None), ClassCount("dog", 10, 2, None))


def test_a_class_with_no_readable_image_is_no_class(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "set")
    put(root / "train/ape/1.jpg", b"")
    data = open_folders(root, tmp_path / "cache", on_bad="skip")
    assert data.classes == ("cat", "dog")
    assert data.splits["train"].labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.warnings == (f"{root}: classes without a readable image were left out: ape",)


def test_a_class_that_validation_lacks_is_a_warning(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "set")
    shutil.rmtree(root / "val/cat")
    assert open_folders(root, tmp_path / "cache").warnings == (f"{root}: val has no image of 'cat', which train has",)


def test_many_classes_that_validation_lacks_are_one_warning(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "set")
    for number in range(12):
        put(root / f"train/c{number:02d}/1.jpg", jpeg(number))
    [warning] = open_folders(root, tmp_path / "cache").warnings
    assert warning.endswith(
        "val has no image of " + ", ".join(f"'c{n:02d}'" for n in range(10)) + ", ..., which train has"
    )


def test_classes_that_differ_in_case_only_are_a_warning(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "set")
    for seed, part in enumerate(("train", "val")):
        put(root / part / "Cat" / "1.jpg", jpeg(seed))
    assert open_folders(root, tmp_path / "cache").warnings == (
        f"{root}: classes that differ in case, spaces or a plural only: 'Cat', 'cat'; are they one?",
    )


def test_the_same_data_elsewhere_have_the_same_fingerprint(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "set")
    here = open_folders(root, tmp_path / "cache")
    shutil.copytree(root, tmp_path / "moved")
    there = open_folders(tmp_path / "moved", tmp_path / "cache")
    assert here.fingerprint == there.fingerprint == open_folders(root, tmp_path / "other").fingerprint
    assert len(here.fingerprint) == 64


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda root: put(root / "train/cat/0.jpg", jpeg(55)), id="other-pixels"),
        pytest.param(lambda root: (root / "train/cat/0.jpg").rename(root / "train/cat/9.jpg"), id="other-name"),
        pytest.param(lambda root: (root / "train/cat/0.jpg").rename(root / "train/dog/9.jpg"), id="other-class"),
        pytest.param(lambda root: (root / "train/cat/0.jpg").rename(root / "val/cat/9.jpg"), id="other-split"),
        pytest.param(lambda root: (root / "train/cat/0.jpg").unlink(), id="one-less"),
    ],
)
def test_changed_data_have_another_fingerprint(tmp_path: Path, change: object) -> None:
    root = class_folders(tmp_path / "set")
    before = open_folders(root, tmp_path / "cache").fingerprint
    change(root)  # type: ignore[operator]
    assert open_folders(root, tmp_path / "cache").fingerprint != before


def test_another_draw_has_another_fingerprint_and_the_size_in_pixels_has_none_in_it(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "set", parts=("",), images=10)
    section = FoldersData(kind="folders", root=str(root), splits=Splits(val=0.3))
    prints = [
        open_data(one, image, cache=Cache(tmp_path / "cache")).fingerprint
        for one, image in (
            (section, SMALL),
            (section, ImageConfig(px=20)),
            (section.model_copy(update={"splits": Splits(val=0.3, seed=1)}), SMALL),
        )
    ]
    assert prints[0] == prints[1] != prints[2]


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    data = open_folders(class_folders(tmp_path / "set"), put(tmp_path / "file", b""))
    assert len(data.warnings) == 1
    assert "images are in memory" in data.warnings[0]


def test_the_advice_to_skip_bad_images_works(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "set")
    put(root / "train/cat/1.jpg", b"")
    with pytest.raises(DataError, match=r"data\.on_bad: skip"):
        open_folders(root, tmp_path / "cache")
    open_folders(root, tmp_path / "cache", on_bad="skip")


# --- real data


def test_the_real_cifar_10_is_divided_by_a_fraction(tmp_path: Path) -> None:
    section = FoldersData(
        kind="folders", root=str(shared("data", "cifar10")), splits=Splits(train="train", val=0.1, test="test")
    )
    data = open_data(section, ImageConfig(px=32), cache=Cache(tmp_path))
    assert {(row.train, row.val, row.test) for row in summary(data)} == {(135, 15, 30)}
    assert data.warnings == ()
    assert (data.splits["train"].images[::100].std(axis=(1, 2, 3)) > 5).all(), "pictures, not blanks"


def test_the_real_aquarium_opens_whole(tmp_path: Path) -> None:
    section = SECTION.validate_python(
        {
            "kind": "boxes_csv",
            "root": str(shared("data", "aquarium")),
            "splits": {"train": "train", "val": "valid", "test": "test"},
        }
    )
    data = open_data(section, ImageConfig(px=64), cache=Cache(tmp_path))
    assert {split: len(part.labels) for split, part in data.splits.items()} == {"train": 447, "val": 127, "test": 63}
    assert len(data.skipped) == 1
