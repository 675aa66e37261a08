"""What the audit says about data sets with something wrong, and that it is quiet about a sound one."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.data.pictures import class_folders, jpeg, put
from tests.data.test_dataset import SMALL, open_folders
from tests.data.test_malformed_data import SECTION
from tests.data.test_twins import next_frame, scene
from tests.real_data import shared
from tune_cnn.data.audit import audit_data
from tune_cnn.data.audit_masks import audit_masks
from tune_cnn.data.audit_names import audit_series, series_of
from tune_cnn.data.cache import Cache
from tune_cnn.data.checks import alike_classes
from tune_cnn.data.dataset import open_data
from tune_cnn.data.findings import Audit
from tune_cnn.data.table import Row, Split
from tune_cnn.sections.image import ImageConfig


def audit_of(root: Path, cache: Path) -> Audit:
    return audit_data(open_folders(root, cache, train="train", val="val", test="test"))


def warnings_of(audit: Audit, name: str) -> list[str]:
    return [text for found, text in audit.warnings if found == name]


def rows_of(audit: Audit, *kinds: str) -> list[tuple[str, str, str]]:
    return [(one.kind, one.path, one.other_path) for one in audit.findings if not kinds or one.kind in kinds]


def test_a_sound_data_set_has_facts_and_nothing_to_warn_of(tmp_path: Path) -> None:
    audit = audit_of(class_folders(tmp_path / "set", images=10), tmp_path / "cache")
    assert audit.facts == (
        "train: 20 images of 2 classes",
        "val: 20 images; one is worth 5 points of accuracy, one of 'cat' (10 images) 5 points of balanced accuracy",
        "test: 20 images; one is worth 5 points of accuracy, one of 'cat' (10 images) 5 points of balanced accuracy",
        "largest class to smallest in train: 10 'cat' to 10 'dog', 1.0 to 1",
    )
    assert (audit.warnings, audit.findings) == ((), ())


def test_copies_across_splits_and_labels_are_found_whatever_they_show(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "set")
    shutil.copy(root / "train/cat/1.jpg", root / "val/cat/copy.jpg")
    shutil.copy(root / "val/cat/2.jpg", root / "test/cat/copy.jpg")
    shutil.copy(root / "train/cat/2.jpg", root / "train/dog/copy.jpg")
    shutil.copy(root / "val/dog/2.jpg", root / "val/dog/copy.jpg")  # harmless
    audit = audit_of(root, tmp_path / "cache")
    assert rows_of(audit)[2:] == [
        ("copy_across_splits", "val/cat/copy.jpg", "train/cat/1.jpg"),
        ("copy_across_splits", "test/cat/copy.jpg", "val/cat/2.jpg"),
        ("copy_of_other_label", "train/dog/copy.jpg", "train/cat/2.jpg"),
    ]
    [in_val, in_test] = warnings_of(audit, "near-twins")
    assert in_val.startswith("1 of 8 val images have a near twin in train (1 of them an exact copy), such as 'val/cat/")
    assert "1 of 7 test images have a near twin in val" in in_test
    assert "independent" in in_test
    assert "1 pairs of near twins have two labels (1 of them an exact copy)" in warnings_of(audit, "labels")[0]


def test_near_twins_across_splits_and_labels_are_found(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "set")
    for name, image in (("train/cat/a", scene(1)), ("test/cat/b", next_frame(scene(1))), ("train/dog/c", scene(2))):
        image.save(root / f"{name}.jpg")
    next_frame(scene(2)).save(root / "train/cat/d.png")
    audit = audit_of(root, tmp_path / "cache")
    near = rows_of(audit, "near_twin_across_splits", "near_twin_of_other_label")
    assert near == [
        ("near_twin_across_splits", "test/cat/b.jpg", "train/cat/a.jpg"),
        ("near_twin_of_other_label", "train/dog/c.jpg", "train/cat/d.png"),
    ]
    clash = audit.findings[-1]
    assert (clash.label, clash.other_label, clash.distance is not None and clash.distance > 0) == ("dog", "cat", True)


def test_the_look_of_images_does_not_depend_on_the_size_they_are_trained_at(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "set")
    section = SECTION.validate_python(
        {"kind": "folders", "root": str(root), "splits": {"train": "train", "val": "val"}}
    )
    small, large = (
        open_data(section, image, cache=Cache(tmp_path / "cache")).sketches
        for image in (SMALL, ImageConfig(px=40, fit="crop"))
    )
    assert np.array_equal(small, large)
    assert len(np.unique(small, axis=0)) == 12


def test_strong_imbalance_and_classes_of_few_images_are_warned_about(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "set")
    for number in range(20):
        put(root / f"train/ape/{number}.jpg", jpeg(number))
    (root / "train/dog/1.jpg").unlink()
    audit = audit_of(root, tmp_path / "cache")
    assert warnings_of(audit, "imbalance")[0].startswith(
        "largest class to smallest in train: 20 'ape' to 2 'dog', 10.0 to 1"
    )
    assert warnings_of(audit, "few-images") == ["2 classes have fewer than 10 training images: 'cat' (3), 'dog' (2)"]
    assert [one.label for one in audit.findings if one.kind == "few_images"] == ["cat", "dog"]


@pytest.mark.parametrize(
    ("classes", "alike"),
    [
        pytest.param(["cat", "Cat", "dog"], [["cat", "Cat"]], id="case"),
        pytest.param(["sea lion", "sea_lion", "sea-lion "], [["sea lion", "sea_lion", "sea-lion "]], id="spaces"),
        pytest.param(["cat", "cats", "dogs"], [["cat", "cats"]], id="plural"),
        pytest.param(["box", "boxes", "Berry", "berries"], [["box", "boxes"], ["Berry", "berries"]], id="es-and-ies"),
        pytest.param(["glass", "grass", "bus", "fish", "starfish"], [], id="only-alike-to-a-careless-eye"),
        pytest.param(["1", "10", "11"], [], id="numbers"),
        pytest.param([], [], id="none"),
    ],
)
def test_class_names_that_may_be_one_class(classes: list[str], alike: list[list[str]]) -> None:
    assert alike_classes(classes) == alike


@pytest.mark.parametrize(
    ("path", "series"),
    [
        pytest.param("train/IMG_8497_MOV-0_jpg.rf.5c59bd1b.jpg", "IMG_8497_MOV-", id="frame-of-a-video"),
        pytest.param("a/video12_frame003.png", "video12_frame", id="video-and-frame"),
        pytest.param("IMG_2274_jpeg_jpg.rf.2f319e94.jpg", None, id="photograph-of-a-camera"),
        pytest.param("cat.12.jpg", None, id="one-number"),
        pytest.param("tom.jpg", None, id="no-number"),
        pytest.param("v1/tom3.jpg", None, id="numbers-of-folders-do-not-count"),
    ],
)
def test_a_series_is_what_names_share_before_their_last_number(path: str, series: str | None) -> None:
    assert series_of(path) == series


def series_rows(split_of_frame: dict[int, Split], *, others: int = 30, group: str | None = None) -> list[Row]:
    frames = [Row(f"{split}/v1_f{n}.jpg", 0, split, group) for n, split in split_of_frame.items()]
    return frames + [Row(f"train/{n}.jpg", 0, "train") for n in range(others)]


def test_frames_of_a_video_in_several_splits_are_found_by_their_names() -> None:
    audit = audit_series(series_rows({0: "test", 1: "train", 2: "val"}))
    assert rows_of(audit) == [
        ("series_across_splits", "test/v1_f0.jpg", "train/v1_f1.jpg"),
        ("series_across_splits", "val/v1_f2.jpg", "train/v1_f1.jpg"),
    ]
    assert "1 val images and 1 test images are of series" in warnings_of(audit, "series")[0]


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(series_rows({0: "train", 1: "train"}), id="all-in-one-split"),
        pytest.param(series_rows({n: "test" if n % 2 else "train" for n in range(9)}), id="a-year-in-every-name"),
        pytest.param(series_rows({0: "train", 1: "test"}, group="v"), id="groups-are-known"),
        pytest.param([], id="no-images"),
    ],
)
def test_names_that_tell_of_no_leak(rows: list[Row]) -> None:
    assert audit_series(rows) == Audit()


def test_masks_that_say_nothing_and_rare_classes_are_found() -> None:
    rows = [Row("a.png", 0, "train"), Row("b.png", 0, "train"), Row("c.png", 0, "val"), Row("d.png", 0, "val")]
    pixels = np.array([[99_990, 10, 0], [50_000, 0, 0], [0, 0, 0], [10, 20, 10]])
    audit = audit_masks(rows, ("land", "water", "ice"), pixels)
    assert audit.facts == (
        "pixels in train: land 100.0 %, water 0.0 %, ice 0.0 %",
        "pixels in val: land 25.0 %, water 50.0 %, ice 25.0 %",
        "1 of 4 masks are of one class only",
    )
    assert warnings_of(audit, "masks") == [
        "1 masks hold no pixel that counts, such as 'c.png'",
        "train has no pixel of 'ice'",
        "only 0.0067 % of the training pixels are 'water'; Dice or weights help",
    ]
    assert [(one.kind, one.path, one.label) for one in audit.findings] == [
        ("empty_mask", "c.png", ""),
        ("mask_of_one_class", "b.png", "land"),
    ]


# --- real data


def test_the_real_aquarium_leaks_by_near_twins_and_by_frames_of_videos(tmp_path: Path) -> None:
    splits = {"train": "train", "val": "valid", "test": "test"}
    section = {"kind": "boxes_csv", "root": str(shared("data", "aquarium")), "splits": splits}
    audit = audit_data(open_data(SECTION.validate_python(section), ImageConfig(px=64), cache=Cache(tmp_path)))
    counts = Counter((one.kind, one.split) for one in audit.findings)
    assert counts["near_twin_across_splits", "test"] == 7
    assert counts["near_twin_across_splits", "val"] == 4
    assert (counts["series_across_splits", "test"], counts["series_across_splits", "val"]) == (10, 21)
    assert len(warnings_of(audit, "labels")) == 1
