import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tests.data.mask_sets import SPLITS, mask_png, mask_set, section
from tests.data.pictures import encoded, jpeg, noise, put
from tests.data.test_malformed_data import SECTION, refusal
from tests.data.test_twins import next_frame, scene
from tests.real_data import shared
from tune_cnn.data.audit import audit_data
from tune_cnn.data.cache import Cache
from tune_cnn.data.dataset import ImageData, open_data, summary
from tune_cnn.data.index import read_index
from tune_cnn.data.split import draw_folds
from tune_cnn.sections.image import ImageConfig


def opened(root: Path, cache: Path, **values: object) -> ImageData:
    return open_data(SECTION.validate_python(section(root, **values)), ImageConfig(px=16), cache=Cache(cache))


def pairs_of(root: Path, **values: object) -> list[tuple[str, str | None, str]]:
    rows = read_index(SECTION.validate_python(section(root, **values))).rows
    return [(row.path, row.mask, row.split) for row in rows]


def test_images_find_their_masks_by_name(tmp_path: Path) -> None:
    found = pairs_of(mask_set(tmp_path, images=4))
    assert found == [(f"images/{n}.jpg", f"masks/{n}.png", "train") for n in range(4)]


@pytest.mark.parametrize("header", ["Image,Mask\n", "", "\ufeffimage;mask\n"], ids=["header", "none", "bom-semicolon"])
def test_a_table_pairs_images_and_masks_of_any_names(tmp_path: Path, header: str) -> None:
    for number in range(3):
        put(tmp_path / "all" / f"photo {number}.jpg", jpeg(number))
        put(tmp_path / "all" / f"m{number}.png", mask_png(number))
    mark = ";" if ";" in header else ","
    rows = "".join(f"photo {number}.jpg{mark}m{number}.png\n" for number in range(3))
    put(tmp_path / "table.csv", (header + rows).encode())
    found = pairs_of(tmp_path, images="all", masks="all", pairs="table.csv")
    assert [(image, mask) for image, mask, _ in found] == [(f"all/photo {n}.jpg", f"all/m{n}.png") for n in range(3)]


def test_splits_may_be_folders_that_each_hold_images_and_masks(tmp_path: Path) -> None:
    for folder in ("train", "valid"):
        mask_set(tmp_path, images=2, folder=folder)
    found = pairs_of(tmp_path, splits={"train": "train", "val": "valid"})
    assert [(image, split) for image, _, split in found] == [
        ("train/images/0.jpg", "train"),
        ("train/images/1.jpg", "train"),
        ("valid/images/0.jpg", "val"),
        ("valid/images/1.jpg", "val"),
    ]


def test_the_draw_is_that_of_the_seed(tmp_path: Path) -> None:
    mask_set(tmp_path / "set", images=12)
    first, again, other = (
        opened(tmp_path / "set", tmp_path / "cache", splits=SPLITS | {"seed": seed}) for seed in (1, 1, 2)
    )
    assert first.splits["val"].paths == again.splits["val"].paths != other.splits["val"].paths
    assert [len(first.splits[split].paths) for split in ("train", "val", "test")] == [6, 3, 3]
    assert first.fingerprint == again.fingerprint != other.fingerprint


def spoil(root: Path, name: str) -> None:
    match name:
        case "other-size":
            put(root / "masks" / "1.png", mask_png(1, (20, 17)))
            put(root / "masks" / "2.png", mask_png(1, (16, 20)))
        case "no-mask":
            (root / "masks" / "1.png").unlink()
            (root / "masks" / "2.png").unlink()
        case "no-image":
            (root / "images" / "1.jpg").unlink()
            (root / "images" / "2.jpg").unlink()
        case "broken-mask":
            for number in (1, 2):
                put(root / "masks" / f"{number}.png", mask_png(1)[:60])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "other-size",
            ("20 x 16 pixels, but its mask 1.png 20 x 17", "20 x 16 pixels, but its mask 2.png 16 x 20 (sides"),
        ),
        ("no-mask", ("1.jpg: no mask of its name in masks", "2.jpg: no mask of its name in masks")),
        ("no-image", ("1.png: no image of its name in images", "2.png: no image of its name in images")),
        ("broken-mask", ("its mask 1.png: damaged or truncated PNG", "its mask 2.png: damaged or truncated PNG")),
    ],
)
def test_bad_pairs_are_listed_all_at_once_or_skipped_and_counted(
    tmp_path: Path, name: str, says: tuple[str, str]
) -> None:
    root = mask_set(tmp_path / "set")
    spoil(root, name)
    faults = refusal(section(root), tmp_path / "cache").faults
    assert len(faults) == 2
    assert all(piece in fault for piece, fault in zip(says, faults, strict=True)), faults
    assert all("data.on_bad: skip" in fault for fault in faults)
    data = opened(root, tmp_path / "cache", on_bad="skip")
    assert len(data.skipped) == 2
    assert sum(len(split.paths) for split in data.splits.values()) == 6


def test_a_mask_is_compared_with_the_upright_image(tmp_path: Path) -> None:
    root = mask_set(tmp_path / "set")
    turned = noise(7, (16, 20))
    exif = turned.getexif()
    exif[0x0112] = 6  # stored 16 x 20, shown 20 x 16
    put(root / "images" / "0.jpg", encoded(turned, "JPEG", exif=exif))
    data = opened(root, tmp_path / "cache")
    assert data.skipped == ()


def test_a_value_of_no_class_is_an_error_even_where_bad_images_are_skipped(tmp_path: Path) -> None:
    root = mask_set(tmp_path / "set")
    put(root / "masks" / "3.png", mask_png(3, values=(0, 255, 128, 7)))
    (fault,) = refusal(section(root, on_bad="skip"), tmp_path / "cache").faults
    assert "images/3.jpg: its mask 3.png holds the values" in fault
    assert "128 (" in fault
    assert "7 (" in fault
    assert "write data.threshold: 128" in fault
    data = opened(root, tmp_path / "cache", threshold=128)
    assert data.skipped == ()


def test_many_masks_with_unknown_values_do_not_flood_the_screen(tmp_path: Path) -> None:
    root = mask_set(tmp_path / "set")
    faults = refusal(section(root, values={0: "land", 9: "water"}), tmp_path / "cache").faults
    assert len(faults) == 6
    assert faults[-1].endswith("3 more masks hold such values")


def test_pixels_are_counted_by_class_and_those_that_do_not_count_are_not(tmp_path: Path) -> None:
    root = mask_set(tmp_path / "set")
    for number in range(8):
        put(root / "masks" / f"{number}.png", mask_png(number, (16, 16), (0, 1, 2, 3)))
        put(root / "images" / f"{number}.jpg", jpeg(number, (16, 16)))
    data = opened(root, tmp_path / "cache", values={0: "land", 1: "water", 2: "water", 3: None})
    assert data.classes == ("land", "water")
    ids = data.splits["train"].masks
    assert ids is not None
    counts = summary(data)
    assert [row.train for row in counts] == [int(np.sum(ids[:] == number)) for number in (0, 1)]
    assert sum(row.train for row in counts) < 4 * 16 * 16
    assert set(np.unique(ids[:])) == {0, 1, 255}


def test_training_masks_of_one_class_are_refused(tmp_path: Path) -> None:
    root = mask_set(tmp_path / "set")
    for number in range(8):
        put(root / "masks" / f"{number}.png", mask_png(number, values=(0,)))
    (fault,) = refusal(section(root), tmp_path / "cache").faults
    assert fault.endswith("only pixels of class 'land'; there is nothing to tell apart; look at data.values")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"images": "image"}, "data.images: no folder 'image'; did you mean 'images'?"),
        ({"masks": "../masks"}, "data.masks: the path '../masks' leaves its folder"),
        ({"masks": "images"}, "data.images and data.masks are one folder; write pairs"),
        ({"pairs": "pairs.csv"}, "data.pairs: no file 'pairs.csv'; did you mean 'pair.csv'?"),
        ({"pairs": "pair.csv"}, "pair.csv:3: '0.jpg' has a mask in"),
        ({"pairs": "one.csv"}, "one.csv:2: no pair; write an image's file name and its mask's"),
        ({"pairs": "lost.csv"}, "lost.csv:1: mask: no such image: 'x.png'"),
        ({"pairs": "away.csv"}, "away.csv:1: the path '/etc/0.jpg' is absolute; write it relative"),
        ({"pairs": "away.csv", "on_bad": "skip"}, "away.csv:1: the path '/etc/0.jpg' is absolute; write it relative"),
        ({"pairs": "up.csv", "on_bad": "skip"}, "up.csv:1: mask: the path '../0.png' leaves its folder"),
        ({"splits": {"val": "valid"}}, "splits.val: no folder 'valid'"),
    ],
    ids=lambda case: str(case)[:30],
)
def test_a_wrong_layout_says_what_is_there_instead(tmp_path: Path, values: dict[str, object], says: str) -> None:
    root = mask_set(tmp_path / "set")
    put(root / "pair.csv", b"image,mask\n0.jpg,0.png\n0.jpg,1.png\n")
    put(root / "one.csv", b"image,mask\n0.jpg\n")
    put(root / "lost.csv", b"0.jpg,x.png\n")
    put(root / "away.csv", b"/etc/0.jpg,0.png\n")
    put(root / "up.csv", b"0.jpg,../0.png\n")
    error = refusal(section(root, **values), tmp_path / "cache")
    assert any(says in fault for fault in error.faults), error.faults


def test_images_that_the_table_does_not_name_are_told(tmp_path: Path) -> None:
    root = mask_set(tmp_path / "set")
    put(root / "pair.csv", "".join(f"{n}.jpg,{n}.png\n" for n in range(6)).encode())
    data = opened(root, tmp_path / "cache", pairs="pair.csv")
    assert any("2 images that pair.csv does not name, such as '6.jpg'" in text for text in data.warnings)


def grouped_set(root: Path, header: str = "image,mask,Site", sites: int = 4) -> Path:
    mask_set(root, images=12)
    rows = "".join(f"{n}.jpg,{n}.png,{n % sites}\n" for n in range(12))
    put(root / "pair.csv", f"{header}\n{rows}".encode())
    return root


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"pairs": "pair.csv", "group": {"column": "site"}}, id="column-of-the-pairs"),
        pytest.param({"group": {"pattern": r"(\d)\.jpg$"}}, id="pattern-on-the-image"),
    ],
)
def test_images_of_one_group_stay_in_one_split_and_one_fold(tmp_path: Path, values: dict[str, Any]) -> None:
    group = values.pop("group")
    root = grouped_set(tmp_path / "set")
    data = opened(root, tmp_path / "cache", splits=SPLITS | {"group": group}, **values)
    folds = draw_folds(data.rows, 3, seed=0)
    assert len(data.rows) == 12
    for sides in ([row.split for row in data.rows], folds):
        by_group: dict[str | None, set[object]] = {}
        for row, side in zip(data.rows, sides, strict=True):
            by_group.setdefault(row.group, set()).add(side)
        assert len(by_group) > 3
        assert all(len(found) == 1 for found in by_group.values())


def test_folds_of_masks_without_groups_are_of_one_size(tmp_path: Path) -> None:
    data = opened(mask_set(tmp_path / "set", images=12), tmp_path / "cache")
    assert Counter(draw_folds(data.rows, 4, seed=1)) == {0: 3, 1: 3, 2: 3, 3: 3}


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("image,mask\n0.jpg,0.png\n", "pair.csv:1: splits.group.column: 0 columns are called 'site', not one; the"),
        ("image,mask,site,Site\n", "pair.csv:1: splits.group.column: 2 columns are called 'site'"),
        ("0.jpg,0.png,1\n", "pair.csv:1: splits.group.column: 0 columns are called 'site'"),
        ("image,mask,site\n0.jpg,0.png,\n", "pair.csv:2: the column of splits.group is empty; write"),
        ("image,mask,site\n0.jpg,0.png\n", "pair.csv:2: the column of splits.group is empty; write"),
    ],
    ids=["missing", "twice", "no-header", "empty", "short-line"],
)
def test_a_doubtful_column_of_groups_is_refused(tmp_path: Path, table: str, says: str) -> None:
    root = mask_set(tmp_path / "set")
    put(root / "pair.csv", table.encode())
    splits = SPLITS | {"group": {"column": "site"}}
    faults = refusal(section(root, pairs="pair.csv", splits=splits), tmp_path / "cache").faults
    assert any(says in fault for fault in faults), faults


def test_a_column_of_groups_without_a_table_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"'site', but there is no table .* write pairs: FILE.csv"):
        SECTION.validate_python(section(Path("set"), splits=SPLITS | {"group": {"column": "site"}}))


def test_the_audit_of_masks_finds_leaks_and_masks_of_one_class(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for folder in ("train", "valid"):
        mask_set(root, images=3, folder=folder)
    scene(1).save(root / "train/images/0.jpg")
    next_frame(scene(1)).save(root / "valid/images/0.jpg")
    for folder in ("train", "valid"):
        size = scene(1).size
        put(root / folder / "masks" / "0.png", mask_png(0, size, values=(0,) if folder == "valid" else (0, 255)))
    shutil.copy(root / "train/images/1.jpg", root / "valid/images/1.jpg")
    data = opened(root, tmp_path / "cache", splits={"train": "train", "val": "valid"})
    audit = audit_data(data)
    assert audit.facts[:2] == ("train: 3 images", "val: 3 images")
    assert audit.facts[2].startswith("pixels in train: land ")
    assert [(one.kind, one.path, one.other_path) for one in audit.findings] == [
        ("mask_of_one_class", "valid/images/0.jpg", ""),
        ("near_twin_across_splits", "valid/images/0.jpg", "train/images/0.jpg"),
        ("copy_across_splits", "valid/images/1.jpg", "train/images/1.jpg"),
    ]


def test_cached_masks_and_sketches_are_those_held_in_memory(tmp_path: Path) -> None:
    root = mask_set(tmp_path / "set")
    put(root / "masks" / "1.png", mask_png(1, (20, 17)))
    first = opened(root, tmp_path / "cache", on_bad="skip")
    again = opened(root, tmp_path / "cache", on_bad="skip")
    held = opened(root, put(tmp_path / "a-file-not-a-folder", b""), on_bad="skip")
    for other in (again, held):
        assert np.array_equal(first.sketches, other.sketches)
        assert first.sketches.any(axis=1).all()
        ours, theirs = first.splits["train"].masks, other.splits["train"].masks
        assert ours is not None
        assert theirs is not None
        assert np.array_equal(ours[:], theirs[:])
        assert (first.sha256, first.skipped, first.fingerprint) == (other.sha256, other.skipped, other.fingerprint)


def test_the_real_flood_has_seven_pairs_of_different_size(tmp_path: Path) -> None:
    root = shared("data", "flood")
    values: dict[str, object] = {"images": "Image", "masks": "Mask", "pairs": "metadata.csv", "on_bad": "skip"}
    data = opened(root, tmp_path, **values)
    assert len(data.skipped) == 7
    assert sum(len(split.paths) for split in data.splits.values()) == 279
